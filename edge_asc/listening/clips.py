"""Clips: the seconds of audio around each event, within a limit on their size."""

from __future__ import annotations

import io
import queue
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from edge_asc.errors import OutputError
from edge_asc.files import explain_failure, write_bytes
from edge_asc.listening.listener import now
from edge_asc.listening.sink import Array, Change, Moment, Sink
from edge_asc.text import make_slug

LONGEST = 60.0  # s of an event that a clip holds
WAITING = 16  # clips that wait for the disk
# No other file of the folder is ever removed.
NAME = re.compile(r"edge-asc-clip-\d{8}T\d{9}[+-]\d{4}(-\d+)?-[a-z0-9_]+\.flac")
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600


@dataclass
class _Clip:
    """A clip that is being recorded.

    Attributes:
        label: of the event.
        began: wall-clock time of the event.
        samples: so far.
        end: of the clip, s from the start of the stream.
        is_open: whether the event still lasts.
    """

    label: str
    began: datetime
    samples: list[Array] = field(default_factory=list)
    end: float = 0.0
    is_open: bool = True


class Clips(Sink):
    """Keeps the seconds before and after each event, and the event between them, as FLAC.

    A thread writes them. Before one is written, the oldest clips are removed until all together are within the limit.

    Args:
        folder: for the clips; others cannot read it if it is made here.
        seconds: before the start and after the end of an event.
        limit: bytes of all clips together.
        sample_rate: Hz.
        lead: s that pass from the start of an event until it is reported.
        report: prints one line about a clip that was not kept.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        seconds: float,
        limit: int,
        sample_rate: int,
        lead: float,
        report: Callable[[str], None],
    ) -> None:
        self._folder, self._seconds, self._limit, self._rate = folder, seconds, limit, sample_rate
        self._lead, self._report = min(lead, LONGEST), report
        self._recent: deque[tuple[float, Array]] = deque()  # ends of steps, s, and their samples
        self._open: list[_Clip] = []
        self._is_failing = False
        self._queue: queue.Queue[_Clip | None] = queue.Queue(WAITING)
        try:
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        except OSError as error:
            raise explain_failure(folder, error) from error
        self._thread = threading.Thread(target=self._write_all, name="clips", daemon=True)
        self._thread.start()

    def observe(self, moment: Moment) -> None:
        """Add a step to the clips that are being recorded; finish those whose end has come."""
        time = moment.time
        if self._recent and time - self._recent[-1][0] > 1.5 * len(moment.samples) / self._rate:  # a gap
            self._finish_all()
            self._recent.clear()
        self._recent.append((time, moment.samples))
        while self._recent[0][0] < time - self._seconds - self._lead:
            self._recent.popleft()
        for clip in list(self._open):
            clip.samples.append(moment.samples)
            if time >= clip.end:
                self._finish(clip)

    def receive(self, change: Change) -> None:
        """Begin a clip at the start of an event, and fix its end at the end of the event."""
        event = change.event
        if event.end is None:
            clip = _Clip(event.label, event.began or now())
            clip.samples = [samples for end, samples in self._recent if end > event.start - self._seconds]
            clip.end = event.start + LONGEST
            self._open.append(clip)
            return
        for clip in self._open:
            if clip.is_open and clip.label == event.label:
                clip.is_open = False
                clip.end = min(clip.end, event.end + self._seconds)

    def close(self) -> None:
        """Write the clips that are being recorded as they are, and wait for the disk."""
        self._finish_all()
        self._queue.put(None)
        self._thread.join()

    def _finish_all(self) -> None:
        for clip in list(self._open):
            self._finish(clip)

    def _finish(self, clip: _Clip) -> None:
        self._open.remove(clip)
        if not clip.samples:
            return
        try:
            self._queue.put_nowait(clip)
        except queue.Full:
            self._fail("the disk is too slow")

    def _write_all(self) -> None:
        while (clip := self._queue.get()) is not None:
            try:
                self._write(clip)
                self._is_failing = False
            except Exception as error:  # a clip is worth less than the thread that writes the next one
                self._fail(str(error))

    def _write(self, clip: _Clip) -> None:
        import soundfile

        buffer = io.BytesIO()
        samples = np.clip(np.concatenate(clip.samples), -1.0, 1.0)
        soundfile.write(buffer, samples, self._rate, format="FLAC", subtype="PCM_16")
        data = buffer.getvalue()
        if len(data) > self._limit:
            raise OutputError(f"{self._folder}: a clip has {len(data)} bytes, more than the limit, {self._limit} bytes")
        self._make_room(len(data))
        write_bytes(self._name(clip), data, PRIVATE_FILE)

    def _make_room(self, needed: int) -> None:
        """Remove the oldest clips until so many bytes are within the limit."""
        clips = [path for path in self._folder.iterdir() if NAME.fullmatch(path.name) and not path.is_symlink()]
        statuses = sorted((path.stat().st_mtime_ns, path.name, path.stat().st_size, path) for path in clips)
        total = sum(size for _, _, size, _ in statuses)
        for _, _, size, path in statuses:
            if total + needed <= self._limit:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _name(self, clip: _Clip) -> Path:
        """Return a name that no file has, with the time of day and the label."""
        began = clip.began
        clock = f"{began:%Y%m%dT%H%M%S}{began.microsecond // 1000:03}{began:%z}"
        number = 1
        while True:
            again = "" if number == 1 else f"-{number}"
            path = self._folder / f"edge-asc-clip-{clock}{again}-{make_slug(clip.label)}.flac"
            if not path.exists():
                return path
            number += 1

    def _fail(self, reason: str) -> None:
        """Report the first of the clips in a row that were not kept."""
        if not self._is_failing:
            self._is_failing = True
            self._report(f"a clip was not kept: {reason}")
