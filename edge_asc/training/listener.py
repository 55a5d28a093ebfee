"""Events of a training, for progress bars and logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_asc.progress import Phase, Progress

if TYPE_CHECKING:
    from edge_asc.evaluation.document import Evaluation


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch.

    Attributes:
        number: from 1, over all stages.
        stage: name of its stage.
        loss, accuracy: means over its crops; the accuracy is that of the crops' larger labels.
        learning_rate: at its end.
        seconds: duration.
        crops: number of crops of all processes.
        validation: accuracy on the validation clips, 0 to 1, where they were evaluated after this epoch.
    """

    number: int
    stage: str
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float
    crops: int
    validation: float | None = None


class Listener(Progress):
    """Receives the events of a training besides its progress; every method may be overridden, and none needs to be."""

    def started(self, name: str, folder: Path, epochs: int, steps: int, clips: int) -> None:
        """Note that a training starts or resumes in `folder`: epochs and batches in all its stages."""

    def stepped(self, loss: float) -> None:
        """Note that a batch was trained on."""

    def ended(self, epoch: Epoch) -> None:
        """Note that an epoch ended, and that the state on disk is whole."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """Note that a cross-validation has judged all clips."""


class Listeners(Listener):
    """Shows progress on the first listener and passes the events of a training on to all of them."""

    def __init__(self, first: Listener, *others: Listener) -> None:
        self._first, self._all = first, (first, *others)

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        """Start a phase of the first listener."""
        with self._first.phase(title, total) as phase:
            yield phase

    def note(self, text: str) -> None:
        """Report a line to the first listener."""
        self._first.note(text)

    def started(self, name: str, folder: Path, epochs: int, steps: int, clips: int) -> None:
        """Pass the event on."""
        for listener in self._all:
            listener.started(name, folder, epochs, steps, clips)

    def stepped(self, loss: float) -> None:
        """Pass the event on."""
        for listener in self._all:
            listener.stepped(loss)

    def ended(self, epoch: Epoch) -> None:
        """Pass the event on."""
        for listener in self._all:
            listener.ended(epoch)

    def evaluated(self, evaluation: Evaluation) -> None:
        """Pass the event on."""
        for listener in self._all:
            listener.evaluated(evaluation)
