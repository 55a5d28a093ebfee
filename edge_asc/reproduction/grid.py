"""A grid of trainings, each of which can be resumed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edge_asc.contract import Form
from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import Crop
from edge_asc.errors import require
from edge_asc.evaluation.accuracy import LengthResult
from edge_asc.evaluation.whole import last_logits
from edge_asc.files import locked, write_json
from edge_asc.frontend import FrontEnd
from edge_asc.jsonobject import JsonObject
from edge_asc.models import ModelConfig
from edge_asc.progress import SILENT, Progress
from edge_asc.reproduction.executor import Executor, LocalExecutor, describe_error
from edge_asc.rule import CLIP_RULES
from edge_asc.training.checkpoint import is_checkpoint, read_metadata
from edge_asc.training.compute import Precision, launched
from edge_asc.training.listener import Listener
from edge_asc.training.log import LOG
from edge_asc.training.recipe import Recipe
from edge_asc.training.run import Run, fit

# The paper's systems: name, and settings of the model.
VARIANTS = {
    "cnn": ModelConfig(head="gap", auxiliary=False),
    "single": ModelConfig(output="single", auxiliary=False),
    "single-aux": ModelConfig(output="single", auxiliary=True),
    "multi": ModelConfig(output="multi", auxiliary=False),
    "multi-aux": ModelConfig(output="multi", auxiliary=True),
}
RESULT, LOCK = "result.json", ".lock"
# The facts about a training in its result.
TRAINING_FACTS = ("clips", "final_loss", "final_accuracy", "computed_with")
# 1: first version.
SCHEMA_VERSION = 1
POLL_SECONDS = 1.0
# Longest wait for another process that does the same training, s.
TRAINING_TIMEOUT = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Unit:
    """One training of a grid.

    Attributes:
        backbone: of the model.
        variant: one of VARIANTS.
        form: "windowed" (the paper's) or "causal".
        fold: that is held out.
        seed: of everything random.
    """

    backbone: str
    variant: str
    form: Form
    fold: int
    seed: int

    @property
    def system(self) -> str:
        """Name of the system: backbone, form and variant."""
        return f"{self.backbone}-{self.form}-{self.variant}"

    @property
    def path(self) -> Path:
        """Folder of the training, relative to the grid's."""
        return Path(self.system, f"fold{self.fold}", f"seed{self.seed}")

    def config(self, classes: int, dropout: float = 0.0) -> ModelConfig:
        """Return the configuration of the model."""
        config = VARIANTS[self.variant]
        return replace(config, backbone=self.backbone, form=self.form, classes=classes, dropout=dropout)


@dataclass(frozen=True)
class Grid:
    """The common settings of all trainings of a grid.

    Attributes:
        data: folder of the data set.
        output: folder of the checkpoints; every process must see it under this name.
        cache: folder of the feature cache.
        recipe: of each training, but for its seed.
        dropout: of the embeddings.
        licences: only clips of these licences are trained on; all if empty.
        crop_seconds: length of the random crop of each held-out clip, which is classified besides the whole clip.
        device, precision, num_workers: as `edge_asc.training.compute.launched` takes them.
        threads: of a training on the CPU.
    """

    data: Path
    output: Path
    cache: Path
    recipe: Recipe
    dropout: float = 0.0
    licences: tuple[str, ...] = ()
    crop_seconds: float = 1.0
    device: str = "auto"
    precision: Precision | Literal["auto"] = "auto"
    num_workers: int | None = None
    threads: int = 1

    def epochs_done(self, unit: Unit) -> int:
        """Return the number of epochs of a training that are on disk."""
        folder = self.output / unit.path
        if is_checkpoint(folder):
            return self.recipe.epochs
        try:
            return len((folder / LOG).read_text().splitlines()) - 1
        except OSError:
            return 0


@dataclass(frozen=True)
class UnitResult:
    """The result of a training.

    Attributes:
        parameters: of the model.
        clips: file names of the held-out clips.
        whole, crop: accuracy on whole clips, and on a random crop of each.
        computed_with: description of the device.
    """

    parameters: int
    clips: tuple[str, ...]
    whole: LengthResult
    crop: LengthResult
    computed_with: str


def run_unit(grid: Grid, unit: Unit) -> UnitResult:
    """Train one model, or resume its training, and classify its held-out clips: whole, and a random crop of each.

    Waits while another process does this training, for a week at most. The result is also left beside the checkpoint;
    the next call reads it.
    """
    torch = require("torch", "train")
    torch.set_num_threads(grid.threads)
    folder = grid.output / unit.path
    dataset = Dataset.open(grid.data)
    run = Run(
        dataset,
        unit.config(len(dataset.labels), grid.dropout),
        grid.recipe.override({"seed": unit.seed}),
        folder,
        grid.licences,
        fold=unit.fold,
        decision="last",
        name=f"{unit.system}-{unit.seed}",
    )
    cache = FeatureCache(grid.cache, FrontEnd())
    with locked(folder / LOCK, TRAINING_TIMEOUT), launched(grid.device, grid.precision, grid.num_workers) as compute:
        checkpoint = fit(run, cache, Listener(), resume=True, compute=compute)
        clips = run.held_out()
        features = cache.features(dataset, clips)
        identity = {
            "schema_version": SCHEMA_VERSION,
            "weights_sha256": read_metadata(folder)["weights_sha256"],
            "crop_seconds": grid.crop_seconds,
            "clips": [clip.filename for clip in clips],
            "clips_sha256": features.digest(clip.label for clip in clips),
        }
        if known := read_result(folder / RESULT, identity):
            return known
        crops = cache.features(dataset, clips, crop=Crop(grid.crop_seconds, unit.seed))
        longest = max(map(len, features)) * cache.front_end.hop / cache.front_end.sample_rate
        targets = np.array([dataset.labels.index(clip.label) for clip in clips], np.intp)
        whole, crop = (
            LengthResult.of(seconds, last_logits(checkpoint, part, compute.device).argmax(1), targets, dataset.labels)
            for part, seconds in ((features, longest), (crops, grid.crop_seconds))
        )
        training = {name: checkpoint.training[name] for name in TRAINING_FACTS}
        parameters = sum(p.numel() for p in checkpoint.model.parameters())
        names = tuple(clip.filename for clip in clips)
        result = UnitResult(parameters, names, whole, crop, computed_with=str(training["computed_with"]))
        parts = {"whole": whole.to_json(), "crop": crop.to_json()}
        facts = {"unit": asdict(unit), "parameters": parameters, "training": training}
        write_json(folder / RESULT, {**identity, **facts, **parts})
        return result


def run(
    grid: Grid, units: Sequence[Unit], executor: Executor | None = None, progress: Progress = SILENT
) -> tuple[dict[Unit, UnitResult], dict[Unit, str]]:
    """Run trainings; return the results of those that succeeded, and the reasons why the others failed.

    After an interruption, the same call resumes each training from its last whole epoch.

    Args:
        grid: of the trainings.
        units: the trainings.
        executor: runs them; by default, one process on this machine.
        progress: receives a phase over the epochs of all trainings, and a note at the end of each training.

    Raises:
        MissingExtraError: Ray is asked for and not installed.
    """
    results: dict[Unit, UnitResult] = {}
    failures: dict[Unit, str] = {}
    executor = executor or LocalExecutor()
    with (
        executor.start(grid.threads, gpu=grid.device != "cpu") as submit,
        progress.phase(f"{len(units)} trainings", len(units) * grid.recipe.epochs) as phase,
    ):
        pending = {submit(run_unit, grid, unit): unit for unit in units}
        while pending:
            done, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                unit = pending.pop(future)
                ended = f"{len(units) - len(pending)}/{len(units)} {unit.path}"
                try:
                    results[unit] = future.result()
                    progress.note(f"{ended}: {_describe(results[unit])}")
                except Exception as error:
                    failures[unit] = describe_error(error)
                    progress.note(f"{ended}: failed: {failures[unit]}")
            epochs = sum(map(grid.epochs_done, units))
            phase.update(epochs, title=f"{len(units) - len(pending)} of {len(units)} trainings, epoch {epochs}")
    return results, failures


def _describe(result: UnitResult) -> str:
    return ", ".join(f"{part.seconds:g} s {part.accuracy:.1%}" for part in (result.whole, result.crop))


def read_result(path: Path, identity: Mapping[str, object]) -> UnitResult | None:
    """Return the result in a file if it is of the same clips and weights; None if it is not, or is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        value = JsonObject(document, "result")
        if {name: document.get(name) for name in identity} != identity:
            return None
        return UnitResult(
            parameters=value.integer("parameters"),
            clips=value.texts("clips"),
            whole=_read_part(value.child("whole")),
            crop=_read_part(value.child("crop")),
            computed_with=value.child("training").text("computed_with"),
        )
    except (OSError, ValueError):
        return None


def _read_part(value: JsonObject) -> LengthResult:
    right = value.child("right_by_class")
    return LengthResult(
        seconds=value.number("seconds"),
        decision=value.choice("decision", CLIP_RULES),
        count_by_class=value.child("count_by_class").integer_items(),
        right_by_class={rule: right.child(rule).integer_items() for rule in CLIP_RULES},
        right_clips=tuple(digit == "1" for digit in value.text("right_clips")),
    )
