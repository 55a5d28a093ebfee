"""A grid of trainings: each one resumable, run one after another, in local processes or on a Ray cluster."""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import Crop
from edge_asc.errors import EdgeAscError, require
from edge_asc.evaluation.accuracy import LengthResult
from edge_asc.evaluation.whole import last_logits
from edge_asc.files import locked, write_json
from edge_asc.frontend import FrontEnd
from edge_asc.models import ModelConfig
from edge_asc.models.layers import Form
from edge_asc.training.checkpoint import is_checkpoint, read_metadata
from edge_asc.training.compute import Precision, launched
from edge_asc.training.recipe import Recipe
from edge_asc.training.run import Listener, Run, fit
from edge_asc.training.state import LOG

Engine = Literal["local", "ray"]

# The paper's systems: name, and what they are made of.
VARIANTS: dict[str, dict[str, Any]] = {
    "cnn": {"head": "gap", "auxiliary": False},
    "single": {"output": "single", "auxiliary": False},
    "single-aux": {"output": "single", "auxiliary": True},
    "multi": {"output": "multi", "auxiliary": False},
    "multi-aux": {"output": "multi", "auxiliary": True},
}
RESULT, LOCK = "result.json", ".lock"
# What a result says of its training.
TOLD = ("clips", "final_loss", "final_accuracy", "computed_with")
# 1: first version.
SCHEMA_VERSION = 1
POLL_SECONDS = 1.0


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
        """What is trained: backbone, form and variant."""
        return f"{self.backbone}-{self.form}-{self.variant}"

    @property
    def path(self) -> Path:
        """Its folder below the grid's."""
        return Path(self.system, f"fold{self.fold}", f"seed{self.seed}")

    def config(self, classes: int, dropout: float = 0.0) -> ModelConfig:
        """The model that is trained."""
        made_of = VARIANTS[self.variant]
        return ModelConfig(backbone=self.backbone, form=self.form, classes=classes, dropout=dropout, **made_of)


@dataclass(frozen=True)
class Grid:
    """What all trainings of a grid have in common.

    Attributes:
        data: folder of the data set.
        output: folder of the checkpoints; every process must see it under this name.
        cache: folder of the feature cache.
        recipe: of each training, but for its seed.
        dropout: of the embeddings.
        licences: only clips of these licences are trained on; all if empty.
        crop_seconds: length of the random crop of each held-out clip that is classified beside the whole clip.
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
        """How many epochs of a training are on disk."""
        folder = self.output / unit.path
        if is_checkpoint(folder):
            return self.recipe.epochs
        try:
            return len((folder / LOG).read_text().splitlines()) - 1
        except OSError:
            return 0


class Watcher(Protocol):
    """Hears how a grid goes."""

    def progressed(self, epochs: int) -> None:
        """So many epochs of all trainings are done."""

    def ended(self, unit: Unit, result: dict[str, Any]) -> None:
        """A training is done and evaluated."""

    def failed(self, unit: Unit, reason: str) -> None:
        """A training ended with an error; the others go on."""


def run_unit(grid: Grid, unit: Unit) -> dict[str, Any]:
    """Train one model, or go on with it, and classify its held-out clips: whole, and a random crop of each.

    A training that another process is at is waited for. The result, which is also left beside the checkpoint, is found
    again by the next call.
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
    with locked(folder / LOCK), launched(grid.device, grid.precision, grid.num_workers) as compute:
        checkpoint = fit(run, cache, Listener(), resume=True, compute=compute)
        clips = run.held_out()
        features = cache.features(dataset, clips, progress=False)
        known = _read(folder / RESULT)
        told = {
            "schema_version": SCHEMA_VERSION,
            "weights_sha256": read_metadata(folder)["weights_sha256"],
            "crop_seconds": grid.crop_seconds,
            "clips": [clip.filename for clip in clips],
            "clips_sha256": features.digest(clip.label for clip in clips),
        }
        if known and {name: known.get(name) for name in told} == told:
            return known
        crops = cache.features(dataset, clips, progress=False, crop=Crop(grid.crop_seconds, unit.seed))
        longest = max(map(len, features)) * cache.front_end.hop / cache.front_end.sample_rate
        targets = np.array([dataset.labels.index(clip.label) for clip in clips], np.intp)
        parts = {}
        for part, heard, seconds in (("whole", features, longest), ("crop", crops, grid.crop_seconds)):
            decided = last_logits(checkpoint, heard, compute.device).argmax(1)
            parts[part] = LengthResult.of(seconds, decided, targets, dataset.labels).to_json()
        result = {
            **told,
            "unit": asdict(unit),
            "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
            "training": {name: checkpoint.training[name] for name in TOLD},
            **parts,
        }
        write_json(folder / RESULT, result)
        return result


def run(
    grid: Grid,
    units: Sequence[Unit],
    watcher: Watcher,
    *,
    engine: Engine = "local",
    jobs: int = 1,
    gpus: float | None = None,
) -> tuple[dict[Unit, dict[str, Any]], dict[Unit, str]]:
    """Run the trainings; give the results of those that ended well, and why the others did not.

    Interrupted, it is gone on with by the same call: each training from its last whole epoch.

    Args:
        engine: "local", `jobs` processes here; "ray", the cluster that RAY_ADDRESS names, or one of this machine.
        gpus: share of a GPU that a training takes on Ray; by default a whole one where the cluster has any.

    Raises:
        MissingExtraError: Ray is asked for and not installed.
    """
    results: dict[Unit, dict[str, Any]] = {}
    failures: dict[Unit, str] = {}
    executor = _ray(grid, gpus) if engine == "ray" else _processes(jobs)
    with executor as submit:
        pending = {submit(run_unit, grid, unit): unit for unit in units}
        while pending:
            done, _ = wait(pending, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                unit = pending.pop(future)
                try:
                    results[unit] = future.result()
                    watcher.ended(unit, results[unit])
                except BrokenProcessPool:
                    raise EdgeAscError(
                        "a training process died, perhaps for want of memory; the same command goes on, "
                        "with fewer --jobs if it happens again"
                    ) from None
                except Exception as error:
                    failures[unit] = _reason(error)
                    watcher.failed(unit, failures[unit])
            watcher.progressed(sum(map(grid.epochs_done, units)))
    return results, failures


Submit = Callable[..., "Future[dict[str, Any]]"]


@contextmanager
def _processes(jobs: int) -> Iterator[Submit]:
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin)
    try:
        yield executor.submit
        executor.shutdown()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            process.terminate()
        raise


def _begin() -> None:
    """A worker leaves Ctrl-C to the process that started it, and ends when that one has: what it writes is whole."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=follow, args=(parent.sentinel,), daemon=True).start()


@contextmanager
def _ray(grid: Grid, gpus: float | None) -> Iterator[Submit]:
    ray = require("ray", "ray")
    own = not ray.is_initialized()
    if own:
        ray.init(include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    tasks = []

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[dict[str, Any]]:
        tasks.append(remote(function).remote(*arguments))
        future: Future[dict[str, Any]] = tasks[-1].future()
        return future

    try:
        there = ray.cluster_resources()
        share = gpus if gpus is not None else float(there.get("GPU", 0) >= 1 and grid.device != "cpu")
        for name, wanted in (("CPU", grid.threads), ("GPU", share)):
            if wanted > there.get(name, 0):
                raise EdgeAscError(
                    f"a training asks for {wanted:g} {name} and the Ray cluster has {there.get(name, 0):g}; "
                    "lower --threads or --gpus, or add machines"
                )
        remote = ray.remote(num_cpus=grid.threads, num_gpus=share, max_retries=0)
        yield submit
    except BaseException:
        for task in tasks:
            ray.cancel(task, force=True)
        raise
    finally:
        if own:
            ray.shutdown()


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", error)  # what Ray wraps
    return str(cause) if isinstance(cause, EdgeAscError) else repr(cause)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
