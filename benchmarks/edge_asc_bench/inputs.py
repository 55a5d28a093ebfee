"""The inputs of a benchmark: models and clips, from what a user names on a command line."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from edge_asc.contract import StreamContract
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.recordings import Recordings
from edge_asc.data.scenes import VERSION, generate_scene
from edge_asc.engine import find_engine, open_runtime
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.evaluation.logits import choose_inputs
from edge_asc.evaluation.models import name_models
from edge_asc.files import sha256
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.manifest import Manifest, has_manifest
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import is_checkpoint
from edge_asc.zoo import locate_model

# Generated scenes of each label, and their length, s.
SCENES, SCENE_SECONDS = 2, 10


@dataclass(frozen=True)
class Clips:
    """The clips that accuracy, or agreement with the reference, is measured on.

    Attributes:
        name: of the data set.
        features: raw log-mel of each clip, (frames, mels).
        labels: of the data; empty for unlabelled clips: then only agreement is measured.
        targets: index into `labels` of each clip.
        digest: SHA-256 over the clips; two results with the same digest are about the same audio.
        samples: of each clip, (n,), for models that take these; None where there are features alone.
    """

    name: str
    features: Sequence[Array] = field(repr=False)
    labels: tuple[str, ...]
    targets: tuple[int, ...]
    digest: str
    samples: Sequence[Array] | None = field(default=None, repr=False)

    def inputs(self, contract: StreamContract) -> Sequence[Array]:
        """Return the clips as a model takes them: raw log-mel or samples.

        Raises:
            EdgeAscError: it takes samples, and there are none.
        """
        return choose_inputs(contract, self.features, self.samples)


@dataclass(frozen=True)
class Model:
    """A model to measure, opened on this machine.

    Attributes:
        name: unique in the result.
        path: checkpoint folder or artefact.
        runtime: it, opened.
        engine: name of its engine, as registered.
    """

    name: str
    path: Path
    runtime: Runtime
    engine: str

    @classmethod
    def open(cls, name: str, path: Path, threads: int = 1) -> Self:
        """Open a model.

        Raises:
            ContractError: nothing there that an engine runs, or a damaged file.
            MissingExtraError: its engine is not installed.
        """
        path, engine = find_engine(path)
        return cls(name, path, open_runtime(path, threads=threads), engine.name)

    @property
    def contract(self) -> StreamContract:
        """The model's contract."""
        return self.runtime.contract

    @property
    def is_checkpoint(self) -> bool:
        """Whether it is float PyTorch, not an artefact."""
        return is_checkpoint(self.path)

    def windows(self, lengths: Sequence[int]) -> tuple[int | None, ...]:
        """Return the forms to measure: None for the step of a causal model, else windows of these lengths, s.

        Raises:
            EdgeAscError: the model has none of these windows.
        """
        if self.contract.form == "causal":
            return (None,)
        windows = tuple(seconds for seconds in self.contract.windows if seconds in lengths)
        if not windows:
            offered = ", ".join(map(str, self.contract.windows))
            raise EdgeAscError(f"{self.name}: has windows of {offered} s; name one of them with --lengths")
        return windows


def models_from(model: str) -> list[tuple[str, Path]]:
    """Return name and path of what a user names: one model, or every artefact of a bundle.

    Raises:
        ContractError: nothing there, or a damaged manifest.
    """
    path = locate_model(model)
    if path is None:
        raise ContractError(
            f"{model}: no model there; expected a checkpoint, an artefact, a bundle or the name of a pretrained model"
        )
    if has_manifest(path) and not is_checkpoint(path):
        return [(name, path / name) for name in sorted(Manifest.read(path).files)]
    return [(path.name, path)]


def all_models_from(models: Iterable[str]) -> list[tuple[str, Path]]:
    """Return a unique name for each of the models that a user names, and its path.

    Raises:
        ContractError: as `models_from`, or the same model twice.
    """
    entries = [entry for model in models for entry in models_from(model)]
    names, paths = zip(*entries, strict=True)
    unique = [(name, Path(path)) for name, path in name_models(list(map(str, paths)), names)]
    if twice := [name for name, count in Counter(name for name, _ in unique).items() if count > 1]:
        raise ContractError(f"two models have the same name: {', '.join(twice)}; leave one out")
    return unique


def clips_from(model: Path, data: Path | None, fold: int | None, progress: Progress = SILENT) -> Clips:
    """Return labelled clips of a data set, or generated scenes, as features of a model's front end.

    Args:
        model: a model of the benchmark.
        data: folder of the data set; None for generated scenes.
        fold: only its held-out clips; None for all.
        progress: receives a phase for the check of the data set, and one for its features.

    Raises:
        DatasetError: something is wrong with the data set, or it has no such fold.
    """
    front_end = open_runtime(model).contract.front_end
    if data is None:
        return _generate(front_end)
    recordings = Recordings.open(data, fold, progress)
    return _load(recordings, recordings.features(front_end, progress), recordings.samples(front_end.sample_rate))


def _generate(front_end: FrontEnd) -> Clips:
    raw = LogMel(front_end.raw)
    scenes = [generate_scene(label, seed, SCENE_SECONDS) for label in TAU_LABELS for seed in range(SCENES)]
    # The digest is over the scenes' parameters: their samples differ in the last bit from one processor to another.
    digest = hashlib.sha256(repr((VERSION, TAU_LABELS, SCENES)).encode()).hexdigest()
    return Clips("generated", [raw(scene) for scene in scenes], (), (), digest, scenes)


def _load(recordings: Recordings, features: Sequence[Array], samples: Sequence[Array]) -> Clips:
    dataset = recordings.dataset
    listed = "".join(f"{sha256(dataset.path(clip))} {clip.label}\n" for clip in recordings.clips)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return Clips(dataset.name, features, dataset.labels, tuple(recordings.targets), digest, samples)
