"""A progress that keeps what is reported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from edge_asc.progress import Phase, Progress


class Recorder(Progress):
    """Keeps each update as (title, done, total), and each note."""

    def __init__(self, on_update: Callable[..., object] = lambda title, done, total: None) -> None:
        self.updates: list[tuple[Any, ...]] = []
        self.notes: list[str] = []
        self._on_update = on_update

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        yield _RecordedPhase(self, title, total)

    def note(self, text: str) -> None:
        self.notes.append(text)

    @property
    def titles(self) -> list[str]:
        return [title for title, _, _ in self.updates]

    def update(self, *values: Any) -> None:
        self.updates.append(values)
        self._on_update(*values)


class _RecordedPhase(Phase):
    def __init__(self, recorder: Recorder, title: str, total: float | None) -> None:
        self._recorder, self._title, self._total = recorder, title, total
        self._done: float = 0
        recorder.update(title, 0, total)

    def advance(self, count: float = 1, **figures: float) -> None:
        self._done += count
        self._recorder.update(self._title, self._done, self._total)

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        self._done, self._total = done, self._total if total is None else total
        self._title = title or self._title
        self._recorder.update(self._title, self._done, self._total)
