"""Log-mel features on disk: computed once for each audio file and front end."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from edge_asc import audio
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import AudioError, DatasetError, list_problems
from edge_asc.files import atomic_path, sha256, write_json
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.progress import SILENT, Progress

# Part of the key: raise it when the reader or the front end computes other numbers from the same file.
VERSION = 2
# From this age on, ns, a later change of a file has another time of change.
SETTLED_NS = 2_000_000_000


def default_cache() -> Path:
    """Return $EDGE_ASC_CACHE, or edge-asc in $XDG_CACHE_HOME, or ~/.cache/edge-asc."""
    if folder := os.environ.get("EDGE_ASC_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-asc"


class Features(Sequence[Array]):
    """Raw log-mel of clips, each (frames, mels) float32, read-only and memory-mapped on access.

    A mapping lives as long as the array that was handed out: a mapped file needs a descriptor, and a data set
    has more files than a process may have descriptors.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def digest(self, labels: Iterable[str] = ()) -> str:
        """Return a hash of the audio of all clips, from the hashes of their files, and of their labels."""
        listed = "\n".join([*(file.stem for file in self._files), *labels])
        return hashlib.sha256(listed.encode()).hexdigest()

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Features: ...
    def __getitem__(self, index: int | slice) -> Array | Features:
        if isinstance(index, slice):
            return Features(self._files[index])
        return _load(self._files[index])


@dataclass(frozen=True)
class Crop:
    """A random crop of each recording; its position follows from `seed` and the recording.

    Attributes:
        seconds: length of the crop; a shorter recording is taken whole.
        seed: seed of the positions, at least 0.
    """

    seconds: float
    seed: int

    def apply(self, samples: Array, sample_rate: int, digest: str) -> Array:
        """Return the crop of a recording, (n,), whose file has this SHA-256."""
        size = round(self.seconds * sample_rate)
        generator = np.random.default_rng([self.seed, int(digest[:16], 16)])
        begin = int(generator.integers(max(0, len(samples) - size) + 1))
        return samples[begin : begin + size]


class FeatureCache:
    """Raw log-mel frames of audio files, kept as `directory`/<front end>/<SHA-256 of the file>.npy.

    Front ends that differ in normalisation alone share their files. A file is hashed again when its size or its time of
    change differs.
    """

    def __init__(self, directory: Path, front_end: FrontEnd) -> None:
        self.front_end = front_end.raw
        self.directory = directory / _key(self.front_end)
        self._digests = directory / "digests"

    def features(
        self, dataset: Dataset, clips: Iterable[Clip], progress: Progress = SILENT, crop: Crop | None = None
    ) -> Features:
        """Return the raw log-mel of `clips`, in their order; compute and store what is missing or damaged.

        With a `crop`, features are those of the crop alone: zeros stand before its first sample. An interruption loses
        one clip at most. `progress` has a phase only where something is computed.

        Raises:
            DatasetError: one error that lists every clip whose audio cannot be read.
        """
        problems: list[str] = []
        files: list[Path] = []
        missing: dict[Path, Path] = {}
        digests = _Digests(self._digests, dataset.root)
        folder = self.directory / f"crop-{crop.seconds:g}s-{crop.seed}" if crop else self.directory
        for clip in clips:
            source = dataset.path(clip)
            try:
                file = folder / f"{digests.of(clip.filename)}.npy"
            except OSError as error:
                problems.append(f"{source}: {error.strerror}")
                continue
            files.append(file)
            if file not in missing and not self._is_whole(file):
                missing[file] = source
        digests.save()
        extract = LogMel(self.front_end)
        for file, source in progress.track(missing.items(), "Computing features") if missing else ():
            try:
                frames = self._compute(extract, source, file.stem, crop)
            except AudioError as error:
                problems.append(str(error))
                continue
            with atomic_path(file) as temporary:
                np.save(temporary, frames)
        if problems:
            raise DatasetError(
                list_problems(f"{dataset.root}: clips that cannot be read", problems, "Repair or remove these clips.")
            )
        return Features(files)

    def _compute(self, extract: LogMel, source: Path, digest: str, crop: Crop | None) -> Array:
        samples = audio.read(source, self.front_end.sample_rate)
        frames = extract(crop.apply(samples, self.front_end.sample_rate, digest) if crop else samples)
        if not len(frames):
            raise AudioError(f"{source}: shorter than one frame; expected at least {self.front_end.hop} samples")
        return frames

    def _is_whole(self, file: Path) -> bool:
        try:
            frames = _load(file)
        except Exception:  # a damaged header is parsed as Python source: nearly anything may come out of it
            return False
        return frames.dtype == np.float32 and frames.ndim == 2 and frames.shape[1] == self.front_end.mels


class _Digests:
    """SHA-256 of the files of one data set, remembered with their size and time of change."""

    def __init__(self, directory: Path, root: Path) -> None:
        name = hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]
        self._root = root
        self._file = directory / f"{name}.json"
        try:
            self._known: dict[str, list[str | int]] = dict(json.loads(self._file.read_text()))
        except (OSError, ValueError, TypeError):
            self._known = {}
        self._changed = False

    def of(self, name: str) -> str:
        source = self._root / name
        status = source.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._known.get(name)
        if known and known[1:] == stamp:
            return str(known[0])
        digest = sha256(source)
        # What was changed a moment ago may change again within the resolution of a file's time.
        if time.time_ns() - status.st_mtime_ns > SETTLED_NS:
            self._known[name] = [digest, *stamp]
            self._changed = True
        return digest

    def save(self) -> None:
        if self._changed:
            write_json(self._file, self._known)


def _load(file: Path) -> Array:
    frames: Array = np.lib.format.open_memmap(file, mode="r")
    return frames


def _key(front_end: FrontEnd) -> str:
    value = front_end.to_json()
    used = {name: value[name] for name in sorted(value) if name not in ("mean", "scale", "clip")}
    return hashlib.sha256(json.dumps([VERSION, used]).encode()).hexdigest()[:16]
