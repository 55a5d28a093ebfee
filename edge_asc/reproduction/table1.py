"""The paper's Table 1: accuracy of every backbone with every head, over whole clips and random crops of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edge_asc.contract import Form
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import LengthResult
from edge_asc.reproduction.grid import VARIANTS, Grid, Unit, UnitResult

KIND: Final = "table1"
# 1: first version.
SCHEMA_VERSION: Final = 1
BACKBONES = ("resnet", "bcresnet", "fuse")

# What the paper prints for TAU Urban Acoustic Scenes 2019, %: 10 s and a random 1 s, in the order of VARIANTS.
PAPER: dict[str, tuple[tuple[float, float], ...]] = {
    "resnet": ((70.56, 52.28), (66.49, 44.22), (74.75, 60.50), (67.51, 59.68), (74.82, 62.33)),
    "bcresnet": ((75.34, 53.79), (69.10, 52.24), (76.91, 64.18), (72.68, 61.22), (76.80, 66.37)),
    "fuse": ((74.38, 49.35), (72.74, 52.76), (76.10, 64.58), (74.82, 63.09), (77.76, 66.88)),
}


def list_units(
    subset: Iterable[str] = (), form: Form = "windowed", folds: Sequence[int] = (1,), seeds: Sequence[int] = range(5)
) -> list[Unit]:
    """Return the trainings of the table, or of a part of it.

    Args:
        subset: "BACKBONE", or "BACKBONE:VARIANT,VARIANT"; everything if it is empty.
        form: of the models.
        folds: to hold out.
        seeds: of the trainings.

    Raises:
        EdgeAscError: an unknown backbone or variant.
    """
    chosen: dict[tuple[str, str], None] = {}
    for part in tuple(subset) or BACKBONES:
        backbone, _, names = part.partition(":")
        variants = names.split(",") if names else list(VARIANTS)
        if backbone not in BACKBONES or not set(variants) <= set(VARIANTS):
            raise EdgeAscError(
                f"{part!r} is not a part of the table; expected BACKBONE or BACKBONE:VARIANT,VARIANT with "
                f"{', '.join(BACKBONES)} and {', '.join(VARIANTS)}"
            )
        chosen |= dict.fromkeys((backbone, variant) for variant in variants)
    # Every system with one seed comes before any with two: an unfinished table then holds every system.
    return [
        Unit(backbone, variant, form, fold, seed) for seed in seeds for fold in folds for backbone, variant in chosen
    ]


@dataclass(frozen=True)
class Accuracies:
    """Accuracies of the seeds, their mean, and their sample standard deviation; None for one seed."""

    accuracies: tuple[float, ...]
    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Gains:
    """Gains of accuracy of the seeds, their mean and deviation, and how many are above 0."""

    gains: tuple[float, ...]
    mean: float
    deviation: float | None
    better: int


@dataclass(frozen=True)
class Lengths:
    """A value for whole clips, and one for random crops."""

    whole: float
    crop: float


@dataclass(frozen=True)
class Row:
    """One system.

    Attributes:
        backbone, variant: of the system.
        parameters: of the model.
        seeds: that all folds were trained with.
        whole, crop: accuracies over whole clips and over random crops.
        paper: accuracies that the paper prints, %; None for other data.
    """

    backbone: str
    variant: str
    parameters: int
    seeds: tuple[int, ...]
    whole: Accuracies
    crop: Accuracies
    paper: Lengths | None


@dataclass(frozen=True)
class Effect:
    """The effect of the auxiliary stream on a system, over the seeds that both were trained with."""

    backbone: str
    variant: str
    seeds: tuple[int, ...]
    whole: Gains
    crop: Gains


@dataclass(frozen=True)
class Table1:
    """The table.

    Attributes:
        data: name of the data set.
        folds: that were held out; they are pooled.
        form: of the models.
        clips: number of held-out clips by fold.
        seconds: of whole clips and of crops; None without results.
        recipe: of the trainings, as JSON.
        computed_with: descriptions of the devices.
        rows: one for each system.
        auxiliary: effects of the auxiliary stream.
        failures: reasons by the path of a training.
    """

    data: str
    folds: tuple[int, ...]
    form: str
    clips: dict[str, int]
    seconds: Lengths | None
    recipe: dict[str, object]
    computed_with: tuple[str, ...]
    rows: tuple[Row, ...]
    auxiliary: tuple[Effect, ...]
    failures: dict[str, str]
    kind: Literal["table1"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION

    @property
    def stages(self) -> tuple[object, ...]:
        """The stages of the recipe; a recipe of edge-asc 0.1 is one stage itself."""
        stages = self.recipe.get("stages")
        return tuple(stages) if isinstance(stages, list | tuple) else (self.recipe,)

    @property
    def is_printed(self) -> bool:
        """Whether the paper prints figures for these data."""
        return any(row.paper for row in self.rows)


def make_table(grid: Grid, results: Mapping[Unit, UnitResult], data: str, failures: Mapping[Unit, str]) -> Table1:
    """Return the table: a row for each system, accuracies over seeds, and the effect of the auxiliary stream.

    Folds are pooled, so a seed has one accuracy. A seed of which a fold is missing is left out.

    Args:
        grid: of the trainings.
        results: of the trainings that ended.
        data: name of the data set.
        failures: reasons of the others.
    """
    units = (*results, *failures)
    folds = sorted({unit.fold for unit in units})
    form = next((unit.form for unit in units), "windowed")
    rows = _make_rows(results, folds, printed=data == "tau2019" and form == "windowed")
    first = next(iter(results.values()), None)
    return Table1(
        data=data,
        folds=tuple(folds),
        form=form,
        clips={str(fold): len(r.clips) for fold in folds for unit, r in results.items() if unit.fold == fold},
        seconds=Lengths(first.whole.seconds, first.crop.seconds) if first else None,
        recipe={**grid.recipe.to_json(), "dropout": grid.dropout, "licences": list(grid.licences)},
        computed_with=tuple(sorted({result.computed_with for result in results.values()})),
        rows=rows,
        auxiliary=_find_effects(rows),
        failures={str(unit.path): reason for unit, reason in failures.items()},
    )


def _make_rows(results: Mapping[Unit, UnitResult], folds: Sequence[int], *, printed: bool) -> tuple[Row, ...]:
    by_system: dict[tuple[str, str], dict[int, dict[int, UnitResult]]] = {}
    for unit in sorted(results, key=lambda u: (BACKBONES.index(u.backbone), list(VARIANTS).index(u.variant), u.seed)):
        seeds = by_system.setdefault((unit.backbone, unit.variant), {})
        seeds.setdefault(unit.seed, {})[unit.fold] = results[unit]
    rows = []
    for (backbone, variant), by_seed in by_system.items():
        complete = {seed: list(parts.values()) for seed, parts in by_seed.items() if sorted(parts) == folds}
        if not complete:
            continue
        paper = PAPER[backbone][list(VARIANTS).index(variant)]
        row = Row(
            backbone=backbone,
            variant=variant,
            parameters=next(iter(complete.values()))[0].parameters,
            seeds=tuple(complete),
            whole=_over_seeds([_pool([run.whole for run in runs]) for runs in complete.values()]),
            crop=_over_seeds([_pool([run.crop for run in runs]) for runs in complete.values()]),
            paper=Lengths(*paper) if printed else None,
        )
        rows.append(row)
    return tuple(rows)


def _pool(parts: Sequence[LengthResult]) -> float:
    return sum(part.right for part in parts) / sum(part.count for part in parts)


def _over_seeds(shares: Sequence[float]) -> Accuracies:
    return Accuracies(tuple(shares), *_moments(shares))


def _moments(values: Sequence[float]) -> tuple[float, float | None]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return math.fsum(values) / len(values), deviation


def _find_effects(rows: Sequence[Row]) -> tuple[Effect, ...]:
    known = {(row.backbone, row.variant): row for row in rows}
    effects = []
    for (backbone, variant), row in known.items():
        twin = known.get((backbone, f"{variant}-aux"))
        seeds = tuple(seed for seed in row.seeds if twin and seed in twin.seeds)
        if twin is not None and seeds:
            whole = _gain(seeds, row, twin, row.whole, twin.whole)
            crop = _gain(seeds, row, twin, row.crop, twin.crop)
            effects.append(Effect(backbone, variant, seeds, whole, crop))
    return tuple(effects)


def _gain(seeds: Sequence[int], row: Row, twin: Row, before: Accuracies, after: Accuracies) -> Gains:
    without = dict(zip(row.seeds, before.accuracies, strict=True))
    with_it = dict(zip(twin.seeds, after.accuracies, strict=True))
    gains = [with_it[seed] - without[seed] for seed in seeds]
    return Gains(tuple(gains), *_moments(gains), better=sum(gain > 0 for gain in gains))
