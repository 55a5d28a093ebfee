"""A progress that records what a library reports."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edge_asc.progress import Phase, Progress


class RecordingProgress(Progress):
    """Keeps (title, total, units done) of each phase, and notes."""

    def __init__(self) -> None:
        self.phases: list[list[Any]] = []
        self.notes: list[str] = []

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        entry = [title, total, 0.0]
        self.phases.append(entry)
        yield _Recorded(entry)

    def note(self, text: str) -> None:
        self.notes.append(text)


class _Recorded(Phase):
    def __init__(self, entry: list[Any]) -> None:
        self.entry = entry

    def advance(self, count: float = 1, **figures: float) -> None:
        self.entry[2] += count

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        self.entry[2] = done
