"""Curves of a training for TensorBoard."""

from __future__ import annotations

from pathlib import Path

from edge_asc.errors import require
from edge_asc.training.listener import Epoch, Listener

FOLDER = "tensorboard"


class TensorBoardListener(Listener):
    """Writes loss, accuracy, learning rate and throughput of every epoch to `tensorboard` below a run's folder.

    Raises:
        MissingExtraError: TensorBoard is not installed.
    """

    def __init__(self) -> None:
        self._module = require("torch.utils.tensorboard", "tensorboard")
        self._folder = Path()

    def started(self, name: str, folder: Path, epochs: int, steps: int, clips: int) -> None:
        """Take the run's folder."""
        self._folder = folder / FOLDER

    def ended(self, epoch: Epoch) -> None:
        """Write the figures of an epoch; those of the same epoch in an earlier process count no more."""
        values = {
            "loss": epoch.loss,
            "accuracy": epoch.accuracy,
            "learning rate": epoch.learning_rate,
            "crops per second": epoch.crops / max(epoch.seconds, 1e-9),
        }
        if epoch.validation is not None:
            values["validation accuracy"] = epoch.validation
        with self._module.SummaryWriter(self._folder, purge_step=epoch.number) as writer:
            for name, value in values.items():
                writer.add_scalar(f"{epoch.stage}/{name}", value, epoch.number)
