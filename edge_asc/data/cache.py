"""Log-mel features on disk: computed once for each audio file and front end."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track

from edge_asc import audio
from edge_asc.data.dataset import Clip, Dataset, listing
from edge_asc.errors import AudioError, DatasetError
from edge_asc.files import atomic_path, sha256
from edge_asc.frontend import FrontEnd, LogMel

Array = npt.NDArray[np.float32]

# Part of the key: to be raised when the reader or the front end computes other numbers from the same file.
VERSION = 1


def default_cache() -> Path:
    """$EDGE_ASC_CACHE, or edge-asc in $XDG_CACHE_HOME, or ~/.cache/edge-asc."""
    if own := os.environ.get("EDGE_ASC_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-asc"


class Features(Sequence[Array]):
    """Raw log-mel of clips, each (frames, mels) float32, read-only, memory-mapped when asked for.

    A mapping lives as long as the array that was handed out: a mapped file holds a descriptor, and a data set
    has more files than a process may hold descriptors.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Features: ...
    def __getitem__(self, index: int | slice) -> Array | Features:
        if isinstance(index, slice):
            return Features(self._files[index])
        return _load(self._files[index])


class FeatureCache:
    """Raw log-mel frames of audio files, kept as `directory`/<front end>/<SHA-256 of the file>.npy.

    Front ends that differ in normalisation alone share their files.
    """

    def __init__(self, directory: Path, front_end: FrontEnd) -> None:
        self.front_end = front_end.raw
        self.directory = directory / _key(self.front_end)

    def features(self, dataset: Dataset, clips: Iterable[Clip], progress: bool = True) -> Features:
        """The raw log-mel of `clips`, in their order; what is not cached, or damaged, is computed and stored.

        An interruption loses the clip in hand only. The progress bar, on stderr, appears when there is work.

        Raises:
            DatasetError: one error that lists every clip whose audio cannot be read.
        """
        problems: list[str] = []
        files: list[Path] = []
        missing: dict[Path, Path] = {}
        for clip in clips:
            source = dataset.path(clip)
            try:
                file = self.directory / f"{sha256(source)}.npy"
            except OSError as error:
                problems.append(f"{source}: {error.strerror}")
                continue
            files.append(file)
            if file not in missing and not self._is_whole(file):
                missing[file] = source
        extract = LogMel(self.front_end)
        for file, source in _tracked(missing, progress):
            try:
                frames = self._compute(extract, source)
            except AudioError as error:
                problems.append(str(error))
                continue
            with atomic_path(file) as temporary:
                np.save(temporary, frames)
        if problems:
            raise DatasetError(
                listing(f"{dataset.root}: clips that cannot be read", problems, "Repair or remove these clips.")
            )
        return Features(files)

    def _compute(self, extract: LogMel, source: Path) -> Array:
        frames = extract(audio.read(source, self.front_end.sample_rate))
        if not len(frames):
            raise AudioError(f"{source}: shorter than one frame; expected at least {self.front_end.hop} samples")
        return frames

    def _is_whole(self, file: Path) -> bool:
        try:
            frames = _load(file)
        except Exception:  # a damaged header is parsed as Python source: nearly anything may come out of it
            return False
        return frames.dtype == np.float32 and frames.ndim == 2 and frames.shape[1] == self.front_end.mels


def _load(file: Path) -> Array:
    frames: Array = np.lib.format.open_memmap(file, mode="r")
    return frames


def _key(front_end: FrontEnd) -> str:
    value = front_end.to_json()
    used = {name: value[name] for name in sorted(value) if name not in ("mean", "scale", "clip")}
    return hashlib.sha256(json.dumps([VERSION, used]).encode()).hexdigest()[:16]


def _tracked(missing: dict[Path, Path], progress: bool) -> Iterator[tuple[Path, Path]]:
    silent = not progress or not missing
    console = Console(stderr=True)
    yield from track(list(missing.items()), "Computing features", console=console, disable=silent)
