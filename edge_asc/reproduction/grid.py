"""A grid of trainings: each one resumable, run one after another, in local processes or on a Ray cluster."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import Crop
from edge_asc.data.dataset import Clip
from edge_asc.errors import EdgeAscError, require
from edge_asc.evaluation.accuracy import LengthResult
from edge_asc.evaluation.whole import last_logits
from edge_asc.files import write_json
from edge_asc.frontend import FrontEnd
from edge_asc.models import ModelConfig
from edge_asc.models.layers import Form
from edge_asc.training.checkpoint import METADATA, read_metadata
from edge_asc.training.compute import Precision, launched
from edge_asc.training.loop import LOG
from edge_asc.training.recipe import Recipe
from edge_asc.training.run import Listener, Run, fit

Engine = Literal["local", "ray"]

# The paper's systems: name, and what they are made of.
VARIANTS: dict[str, dict[str, Any]] = {
    "cnn": {"head": "gap", "auxiliary": False},
    "single": {"output": "single", "auxiliary": False},
    "single-aux": {"output": "single", "auxiliary": True},
    "multi": {"output": "multi", "auxiliary": False},
    "multi-aux": {"output": "multi", "auxiliary": True},
}
RESULT = "result.json"
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

    def config(self, classes: int) -> ModelConfig:
        """The model that is trained."""
        return ModelConfig(backbone=self.backbone, form=self.form, classes=classes, **VARIANTS[self.variant])


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
        device, precision, loaders: as `edge_asc.training.compute.launched` takes them.
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
    loaders: int | None = None
    threads: int = 1

    def epochs_done(self, unit: Unit) -> int:
        """How many epochs of a training are on disk."""
        folder = self.output / unit.path
        if (folder / METADATA).exists():
            return self.recipe.epochs
        try:
            return len((folder / LOG).read_text().splitlines()) - 1
        except OSError:
            return 0


class Watcher(Protocol):
    """Hears how a grid goes."""

    def progressed(self, epochs: int, running: int) -> None:
        """`epochs` of all trainings are done; `running` trainings have begun and not ended."""

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
    config = ModelConfig(**{**asdict(unit.config(len(dataset.labels))), "dropout": grid.dropout})
    recipe = grid.recipe.override({"seed": unit.seed})
    name = f"{unit.system}-{unit.seed}"
    run = Run(dataset, config, recipe, folder, grid.licences, fold=unit.fold, decision="last", name=name)
    cache = FeatureCache(grid.cache, FrontEnd())
    with _alone(folder), launched(grid.device, grid.precision, grid.loaders) as compute:
        checkpoint = fit(run, cache, Listener(), resume=True, compute=compute)
        weights = read_metadata(folder)["weights_sha256"]
        clips = run.held_out()
        known = _read(folder / RESULT)
        told = {
            "schema_version": SCHEMA_VERSION,
            "weights_sha256": weights,
            "crop_seconds": grid.crop_seconds,
            "clips": [clip.filename for clip in clips],
            "clips_sha256": cache.features(dataset, clips, progress=False).digest(clip.label for clip in clips),
        }
        if known and {name: known.get(name) for name in told} == told:
            return known
        parts = {}
        for part, crop in (("whole", None), ("crop", Crop(grid.crop_seconds, unit.seed))):
            features = cache.features(dataset, clips, progress=False, crop=crop)
            decided = last_logits(checkpoint, features, compute.device).argmax(1).tolist()
            seconds = max(map(len, features)) * cache.front_end.hop / cache.front_end.sample_rate
            parts[part] = _counted(decided, clips, dataset.labels, crop.seconds if crop else seconds)
        result = {
            **told,
            "unit": asdict(unit),
            "parameters": sum(p.numel() for p in checkpoint.model.parameters()),
            "training": {name: checkpoint.training[name] for name in TOLD},
            **parts,
        }
        write_json(folder / RESULT, result)
        return result


def _counted(decided: Sequence[int], clips: Sequence[Clip], labels: Sequence[str], seconds: float) -> dict[str, Any]:
    right = [labels[index] == clip.label for index, clip in zip(decided, clips, strict=True)]
    count = Counter(clip.label for clip in clips)
    found = Counter(clip.label for hit, clip in zip(right, clips, strict=True) if hit)
    by_class = {label: found[label] for label in labels}
    return LengthResult(
        seconds=seconds,
        decision="last",
        count_by_class={label: count[label] for label in labels},
        right_by_class={"last": by_class, "mean": by_class},
        right_clips=tuple(right),
    ).to_json()


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
            watcher.progressed(sum(map(grid.epochs_done, units)), len(pending))
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
    share = gpus if gpus is not None else float(ray.cluster_resources().get("GPU", 0) >= 1 and grid.device != "cpu")
    there = ray.cluster_resources()
    for name, wanted in (("CPU", grid.threads), ("GPU", share)):
        if wanted > there.get(name, 0):
            ray.shutdown()
            raise EdgeAscError(
                f"a training asks for {wanted:g} {name} and the Ray cluster has {there.get(name, 0):g}; "
                "lower --threads or --gpus, or add machines"
            )
    remote = ray.remote(num_cpus=grid.threads, num_gpus=share, max_retries=0)
    tasks = []

    def submit(function: Callable[..., Any], *arguments: Any) -> Future[dict[str, Any]]:
        tasks.append(remote(function).remote(*arguments))
        future: Future[dict[str, Any]] = tasks[-1].future()
        return future

    try:
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


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder that another process may be training in; wait until it is free."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
