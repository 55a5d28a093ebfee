"""Players for the clips of a page: links to the sound files, or their audio inside the page."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from edge_asc import audio
from edge_asc.data.dataset import find_file
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.predictions import Prediction

# Audio inside a page: Hz, seconds of a clip, and bytes of all clips together, as text in the page.
RATE, LONGEST, MOST_BYTES = 16_000, 10.0, 20_000_000


@dataclass(frozen=True)
class Player:
    """The sound of one clip.

    Attributes:
        link: of the file, relative to the page; "" where there is no such file.
        source: of the player: the link, at the clip's piece of the file, or the audio itself.
        is_embedded: whether the source is the audio itself.
    """

    link: str = ""
    source: str = ""
    is_embedded: bool = False


class Players:
    """Makes the players of a page.

    Args:
        page: file of the page; None where it has no place: links are absolute.
        data: folder of the recordings; None for the one that each document names.
        embed: put audio inside the page: mono at 16 kHz, as the model gets it, LONGEST seconds of each clip at most.
            Once MOST_BYTES are in the page, further files are linked.
    """

    def __init__(self, page: Path | None = None, data: Path | None = None, *, embed: bool = False) -> None:
        self._page, self._data, self._embed = page, data, embed
        self._left = MOST_BYTES
        self.missing = 0  # clips whose file was not there

    @property
    def embeds(self) -> bool:
        """Whether audio is put inside the page."""
        return self._embed

    def find_folder(self, folder: str) -> Path | None:
        """Return the folder of the recordings, where a document names `folder`; None where it names none."""
        return self._data or (Path(folder) if folder else None)

    def make(self, folder: str, clip: Prediction) -> Player:
        """Return the player of a clip of the recordings that a document names."""
        root = self.find_folder(folder)
        path = None if root is None else _find_file(root, clip.file)
        if path is None:
            self.missing += 1
            return Player()
        link = self._link(path)
        if self._embed and (source := self._encode(path, clip.start, clip.end)):
            return Player(link, source, is_embedded=True)
        piece = "" if clip.end is None and not clip.start else f"#t={clip.start:g}"
        return Player(link, link + piece + ("" if clip.end is None else f",{clip.end:g}"))

    def find_recording(self, source: str) -> Path | None:
        """Return the file of a recording that a document names, from here or in the folder of the recordings."""
        name = Path(source)
        places = [name] if self._data is None else [self._data / source, self._data / name.name]
        try:
            return next((path for path in places if path.is_file()), None)
        except (OSError, ValueError):  # a name that no file can have
            return None

    def make_recording(self, path: Path) -> Player:
        """Return the player of a whole file."""
        link = self._link(path)
        source = self._encode(path, 0.0, None) if self._embed else ""
        return Player(link, source or link, is_embedded=bool(source))

    def _link(self, path: Path) -> str:
        if self._page is None:
            return path.resolve().as_uri()
        try:
            relative = Path(os.path.relpath(path.resolve(), self._page.absolute().parent.resolve()))
        except ValueError:  # another drive of Windows
            return path.resolve().as_uri()
        return quote(os.fsencode(relative.as_posix()))

    def _encode(self, path: Path, start: float, end: float | None) -> str:
        """Return a piece of a file as a data URI of a WAV file; "" where there is no room, or it cannot be read."""
        import soundfile

        if self._left <= 0:
            return ""
        try:
            samples = _read_piece(path, start, end)
        except (EdgeAscError, OSError):
            return ""
        file = io.BytesIO()
        soundfile.write(file, samples, RATE, format="WAV", subtype="PCM_16")
        source = "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()
        if len(source) > self._left:
            self._left = 0
            return ""
        self._left -= len(source)
        return source


def _find_file(root: Path, name: str) -> Path | None:
    """Return a sound file of the recordings, or None where it is not there."""
    try:
        path = find_file(root, name)
        return path if path.is_file() else None
    except (OSError, ValueError):  # a name that no file can have
        return None


def _read_piece(path: Path, start: float, end: float | None) -> np.typing.NDArray[np.float32]:
    """Return the samples of a piece of a file, (n,), mono at RATE, LONGEST seconds at most."""
    seconds = LONGEST if end is None else min(LONGEST, end - start)
    first = round(start * RATE)
    last = first + round(seconds * RATE)
    blocks, count = [], 0
    for block in audio.stream(path, RATE):
        blocks.append(block[max(0, first - count) : max(0, last - count)])
        count += len(block)
        if count >= last:
            break
    return np.concatenate(blocks)
