"""Log-mel features on disk: computed once for each audio file and front end."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from edge_asc import audio
from edge_asc.cachefolder import default_cache as default_cache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import AudioError, DatasetError, EdgeAscError, list_problems
from edge_asc.files import atomic_path, sha256, write_json
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.progress import SILENT, Progress

# Part of the key: raise it when the reader or the front end computes other numbers from the same file.
VERSION = 3
# Bytes of the SHA-256 at the end of a stored file, of all bytes before it.
CHECKSUM = 32
# From this age on, ns, a later change of a file has another time of change.
SETTLED_NS = 2_000_000_000


class UnreadableClipsError(DatasetError):
    """Clips that cannot be read; `problems` has a sentence for each file, by its name."""

    def __init__(self, root: str, problems: Mapping[str, str]) -> None:
        self.problems = problems
        advice = "Repair or remove these clips."
        super().__init__(list_problems(f"{root}: clips that cannot be read", [*problems.values()], advice))


class Features(Sequence[Array]):
    """Raw log-mel of clips, each (frames, mels) float32, read-only and memory-mapped on access.

    A mapping lives as long as the array that was handed out: a mapped file needs a descriptor, and a data set
    has more files than a process may have descriptors. A clip that is a piece of a file is a slice of its frames.

    Args:
        files: of each clip.
        pieces: the frames of each clip; None for all.
    """

    def __init__(self, files: Sequence[Path], pieces: Sequence[slice | None]) -> None:
        self._files, self._pieces = files, pieces

    def __len__(self) -> int:
        return len(self._files)

    @property
    def digests(self) -> list[str]:
        """The SHA-256 of each clip's file."""
        return [file.stem for file in self._files]

    def digest(self, labels: Iterable[str] = ()) -> str:
        """Return a hash of the audio of all clips, from the hashes of their files, and of their labels."""
        names = (
            digest if piece is None else f"{digest} {piece.start} {piece.stop}"
            for digest, piece in zip(self.digests, self._pieces, strict=True)
        )
        listed = "\n".join([*names, *labels])
        return hashlib.sha256(listed.encode()).hexdigest()

    @overload
    def __getitem__(self, index: int) -> Array: ...
    @overload
    def __getitem__(self, index: slice) -> Features: ...
    def __getitem__(self, index: int | slice) -> Array | Features:
        if isinstance(index, slice):
            return Features(self._files[index], self._pieces[index])
        frames, piece = _load(self._files[index]), self._pieces[index]
        return frames if piece is None else frames[piece]


@dataclass(frozen=True)
class Crop:
    """A random crop of each recording; its position follows from `seed` and the recording.

    Attributes:
        seconds: length of the crop; a shorter recording is taken whole.
        seed: seed of the positions, at least 0.
    """

    seconds: float
    seed: int

    def span(self, count: int, sample_rate: int, digest: str) -> tuple[int, int]:
        """Return the first sample and the end of the crop of a recording of `count` samples with this SHA-256."""
        size = round(self.seconds * sample_rate)
        generator = np.random.default_rng([self.seed, int(digest[:16], 16)])
        begin = int(generator.integers(max(0, count - size) + 1))
        return begin, min(begin + size, count)


class FeatureCache:
    """Raw log-mel frames of audio files, kept as `directory`/<front end>/<SHA-256 of the file>.npy.

    Front ends that differ in normalisation alone share their files. Each file ends with a checksum, which is verified
    before it is used; a damaged one is computed again. Audio is identified by its bytes alone. Its hash is remembered
    as long as size, inode, time of modification and time of change of the file stay the same, as in Git's index.
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

        A clip that is a piece of a file has the frames of the whole file's features from its start to its end.

        Raises:
            UnreadableClipsError: one error that lists every file that cannot be read.
        """
        problems: dict[str, str] = {}
        files: list[Path] = []
        pieces: list[slice | None] = []
        missing: dict[Path, tuple[str, Path]] = {}
        _make_folder(self.directory)
        digests = _Digests(self._digests, dataset.root)
        folder = self.directory / f"crop-{crop.seconds:g}s-{crop.seed}" if crop else self.directory
        for clip in clips:
            source = dataset.path(clip)
            try:
                file = folder / f"{digests.of(clip.filename, source)}.npy"
            except OSError as error:
                problems[clip.filename] = f"{source}: {error.strerror}"
                continue
            files.append(file)
            pieces.append(self._piece(clip))
            if file not in missing and not self._is_whole(file):
                missing[file] = clip.filename, source
        digests.save()
        extract = LogMel(self.front_end)
        for file, (name, source) in progress.track(missing.items(), "Computing features") if missing else ():
            try:
                frames = self._compute(extract, source, file.stem, crop)
            except AudioError as error:
                problems[name] = str(error)
                continue
            with atomic_path(file) as temporary:
                np.save(temporary, frames)
                checksum = bytes.fromhex(sha256(temporary))
                with temporary.open("ab") as stored:
                    stored.write(checksum)
        if problems:
            raise UnreadableClipsError(str(dataset.root), problems)
        return Features(files, pieces)

    def _piece(self, clip: Clip) -> slice | None:
        """Return the frames of a clip that is a piece of a file; None for a whole file."""
        if not clip.start and clip.end is None:
            return None
        rate = self.front_end.sample_rate / self.front_end.hop
        return slice(round(clip.start * rate), None if clip.end is None else round(clip.end * rate))

    def digests(self, dataset: Dataset, clips: Iterable[Clip]) -> list[str]:
        """Return the SHA-256 of the file of each clip.

        Raises:
            DatasetError: a file cannot be read.
        """
        _make_folder(self.directory)
        digests = _Digests(self._digests, dataset.root)
        try:
            found = [digests.of(clip.filename, dataset.path(clip)) for clip in clips]
        except OSError as error:
            raise DatasetError(f"{error.filename}: cannot be read ({error.strerror}); repair this clip") from error
        digests.save()
        return found

    def _compute(self, extract: LogMel, source: Path, digest: str, crop: Crop | None) -> Array:
        """Return the frames of a file, or of its crop, which needs the length first."""
        rate, span = self.front_end.sample_rate, None
        if crop:
            span = crop.span(sum(len(block) for block in audio.stream(source, rate)), rate, digest)
        extract.reset()
        frames = [extract.push(block) for block in _cut(audio.stream(source, rate), span)]
        count = sum(map(len, frames))
        if not count:
            raise AudioError(f"{source}: shorter than one frame; expected at least {self.front_end.hop} samples")
        return np.concatenate(frames)

    def _is_whole(self, file: Path) -> bool:
        try:
            content = file.read_bytes()
            if hashlib.sha256(content[:-CHECKSUM]).digest() != content[-CHECKSUM:]:
                return False
            frames = _load(file)
        except (OSError, ValueError):
            return False
        return frames.dtype == np.float32 and frames.ndim == 2 and frames.shape[1] == self.front_end.mels


def _cut(blocks: Iterable[Array], span: tuple[int, int] | None) -> Iterator[Array]:
    """Yield the samples of a span, first and end, from blocks; all samples without a span."""
    begin, end = span or (0, sys.maxsize)
    position = 0
    for block in blocks:
        yield block[max(0, begin - position) : max(0, end - position)]
        position += len(block)
        if position >= end:
            return


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeAscError(
            f"{folder}: cannot be made ({error.strerror}); expected a folder for features: set EDGE_ASC_CACHE to one "
            "that can be written"
        ) from error


class _Digests:
    """SHA-256 of the files of one data set, remembered with what changes when a file does."""

    def __init__(self, directory: Path, root: Path) -> None:
        name = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
        self._file = directory / f"{name}.json"
        self._known: dict[str, list[str | int]] = {}
        try:
            document = json.loads(self._file.read_text())
            if document["sha256"] == _digest(document["files"]):
                self._known = dict(document["files"])
        except (OSError, ValueError, TypeError, KeyError):
            pass  # all files are hashed again
        self._changed = False

    def of(self, name: str, source: Path) -> str:
        status = source.stat()
        stamp = [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]
        known = self._known.get(name)
        # On Windows no time tells that a file was changed and its time of modification set back.
        if known and known[1:] == stamp and sys.platform != "win32":
            return str(known[0])
        digest = sha256(source)
        # What was changed a moment ago may change again within the resolution of a file's time.
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED_NS:
            self._known[name] = [digest, *stamp]
            self._changed = True
        return digest

    def save(self) -> None:
        if self._changed:
            write_json(self._file, {"sha256": _digest(self._known), "files": self._known})


def _digest(files: object) -> str:
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _load(file: Path) -> Array:
    frames: Array = np.lib.format.open_memmap(file, mode="r")
    return frames


def _key(front_end: FrontEnd) -> str:
    value = front_end.to_json()
    used = {name: value[name] for name in sorted(value) if name not in ("mean", "scale", "clip")}
    return hashlib.sha256(json.dumps([VERSION, used]).encode()).hexdigest()[:16]
