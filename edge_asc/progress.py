"""Progress of long work: libraries report it here, and whoever calls them may draw it.

A library takes `progress: Progress = SILENT` and never draws by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Phase:
    """One phase of work, such as "Computing features"."""

    def advance(self, count: float = 1, **figures: float) -> None:
        """Report `count` more units of work, and figures to show beside them, such as loss=0.3."""

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        """Report how much work is done in all; `total` and `title` replace the phase's where they are given."""


class Progress:
    """Receives the progress of long work. This one ignores it."""

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        """Start a phase that ends with the `with` block; `total` units of work, None where that is unknown."""
        yield Phase()

    def note(self, text: str) -> None:
        """Report one line that a user should read, in plain text."""

    def track(self, items: Iterable[T], title: str, total: float | None = None) -> Iterator[T]:
        """Yield `items`, one unit of work each, in a phase of their own."""
        if total is None and isinstance(items, Sized):
            total = len(items)
        with self.phase(title, total) as phase:
            for item in items:
                yield item
                phase.advance()


SILENT = Progress()
