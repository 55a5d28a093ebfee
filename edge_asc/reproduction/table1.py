"""The paper's Table 1: accuracy of every backbone with every head, over whole clips and random crops of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edge_asc.errors import EdgeAscError
from edge_asc.models.layers import Form
from edge_asc.reproduction.grid import VARIANTS, Grid, Unit

KIND = "table1"
# 1: first version.
SCHEMA_VERSION = 1
BACKBONES = ("resnet", "bcresnet", "fuse")
PARTS = ("whole", "crop")

# What the paper prints for TAU Urban Acoustic Scenes 2019, %: 10 s and a random 1 s, in the order of VARIANTS.
PAPER: dict[str, tuple[tuple[float, float], ...]] = {
    "resnet": ((70.56, 52.28), (66.49, 44.22), (74.75, 60.50), (67.51, 59.68), (74.82, 62.33)),
    "bcresnet": ((75.34, 53.79), (69.10, 52.24), (76.91, 64.18), (72.68, 61.22), (76.80, 66.37)),
    "fuse": ((74.38, 49.35), (72.74, 52.76), (76.10, 64.58), (74.82, 63.09), (77.76, 66.88)),
}


def units(
    subset: Iterable[str] = (), form: Form = "windowed", folds: Sequence[int] = (1,), seeds: Sequence[int] = range(5)
) -> list[Unit]:
    """The trainings of the table, or of a part of it.

    Args:
        subset: "BACKBONE", or "BACKBONE:VARIANT,VARIANT"; everything if there is none.

    Raises:
        EdgeAscError: an unknown backbone or variant.
    """
    chosen: dict[tuple[str, str], None] = {}
    for part in tuple(subset) or BACKBONES:
        backbone, _, names = part.partition(":")
        variants = names.split(",") if names else list(VARIANTS)
        if backbone not in BACKBONES or not set(variants) <= set(VARIANTS):
            raise EdgeAscError(
                f"{part!r} is no part of the table; expected BACKBONE or BACKBONE:VARIANT,VARIANT with "
                f"{', '.join(BACKBONES)} and {', '.join(VARIANTS)}"
            )
        chosen |= dict.fromkeys((backbone, variant) for variant in variants)
    # Every system with one seed comes before any with two: a table that is not done yet already says something.
    return [
        Unit(backbone, variant, form, fold, seed) for seed in seeds for fold in folds for backbone, variant in chosen
    ]


def table(
    grid: Grid, results: Mapping[Unit, Mapping[str, Any]], data: str, failures: Mapping[Unit, str]
) -> dict[str, Any]:
    """The table as JSON: a row for each system, accuracies over seeds, and what the auxiliary stream changed.

    Folds are pooled, so a seed has one accuracy; `deviation` is the sample standard deviation over seeds, None for one.
    A seed of which a fold is missing is left out.
    """
    folds = sorted({unit.fold for unit in (*results, *failures)})
    form = next((unit.form for unit in (*results, *failures)), "windowed")
    by_system: dict[tuple[str, str], dict[int, dict[int, Mapping[str, Any]]]] = {}
    for unit in sorted(results, key=lambda u: (BACKBONES.index(u.backbone), list(VARIANTS).index(u.variant), u.seed)):
        seeds = by_system.setdefault((unit.backbone, unit.variant), {})
        seeds.setdefault(unit.seed, {})[unit.fold] = results[unit]
    rows = []
    for (backbone, variant), found in by_system.items():
        complete = {seed: list(parts.values()) for seed, parts in found.items() if sorted(parts) == folds}
        if not complete:
            continue
        printed = PAPER[backbone][list(VARIANTS).index(variant)]
        rows.append(
            {
                "backbone": backbone,
                "variant": variant,
                "parameters": next(iter(complete.values()))[0]["parameters"],
                "seeds": list(complete),
                **{part: _over_seeds([_pooled(runs, part) for runs in complete.values()]) for part in PARTS},
                "paper": dict(zip(PARTS, printed, strict=True)) if data == "tau2019" and form == "windowed" else None,
            }
        )
    first: Mapping[str, Any] = next(iter(results.values()), {})
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "data": data,
        "folds": folds,
        "form": form,
        "clips": {str(fold): len(r["clips"]) for fold in folds for u, r in results.items() if u.fold == fold},
        "seconds": {part: first[part]["seconds"] for part in PARTS} if first else None,
        "recipe": {
            **grid.recipe.to_json(),
            **grid.recipe.to_json()["stages"][0],
            "dropout": grid.dropout,
            "licences": list(grid.licences),
        },
        "computed_with": sorted({r["training"]["computed_with"] for r in results.values()}),
        "rows": rows,
        "auxiliary": _effects(rows),
        "failures": {str(unit.path): reason for unit, reason in failures.items()},
    }


def _pooled(runs: Sequence[Mapping[str, Any]], part: str) -> float:
    share: float = sum(run[part]["right"] for run in runs) / sum(run[part]["count"] for run in runs)
    return share


def _over_seeds(shares: Sequence[float]) -> dict[str, Any]:
    return {"accuracies": list(shares), **_moments(shares)}


def _moments(values: Sequence[float]) -> dict[str, float | None]:
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": math.fsum(values) / len(values), "deviation": deviation}


def _effects(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What the auxiliary stream adds to the accuracy of a system, over the seeds that both were trained with."""
    known = {(row["backbone"], row["variant"]): row for row in rows}
    effects = []
    for (backbone, variant), row in known.items():
        twin = known.get((backbone, f"{variant}-aux"))
        seeds = [seed for seed in row["seeds"] if twin and seed in twin["seeds"]]
        if twin is None or not seeds:
            continue
        found = {}
        for part in PARTS:
            with_it, without = (dict(zip(r["seeds"], r[part]["accuracies"], strict=True)) for r in (twin, row))
            gains = [with_it[seed] - without[seed] for seed in seeds]
            found[part] = {"gains": gains, **_moments(gains), "better": sum(gain > 0 for gain in gains)}
        effects.append({"backbone": backbone, "variant": variant, "seeds": seeds, **found})
    return effects
