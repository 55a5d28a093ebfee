"""Events of a training, for progress bars and logs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


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


class Listener:
    """Receives the events of a training; every method may be overridden, and none needs to be."""

    def started(self, name: str, folder: Path, epochs: int, steps: int, clips: int) -> None:
        """A training starts or resumes in `folder`: epochs and batches in all its stages."""

    def stepped(self, loss: float) -> None:
        """A batch was trained on."""

    def ended(self, epoch: Epoch) -> None:
        """An epoch ended, and the state on disk is whole."""

    def advanced(self, title: str, done: int, total: int) -> None:
        """A task other than an epoch progressed: embeddings of views, activation ranges."""

    def noted(self, text: str) -> None:
        """A remark for the user."""


class Listeners(Listener):
    """Passes every event on to several listeners."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = listeners

    def started(self, name: str, folder: Path, epochs: int, steps: int, clips: int) -> None:
        """Pass the event on."""
        for listener in self._listeners:
            listener.started(name, folder, epochs, steps, clips)

    def stepped(self, loss: float) -> None:
        """Pass the event on."""
        for listener in self._listeners:
            listener.stepped(loss)

    def ended(self, epoch: Epoch) -> None:
        """Pass the event on."""
        for listener in self._listeners:
            listener.ended(epoch)

    def advanced(self, title: str, done: int, total: int) -> None:
        """Pass the event on."""
        for listener in self._listeners:
            listener.advanced(title, done, total)

    def noted(self, text: str) -> None:
        """Pass the event on."""
        for listener in self._listeners:
            listener.noted(text)
