"""The folder of a training: the learning curves of its model, and of the models of its folds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.document import HELD_OUT
from edge_asc.training.listener import Epoch
from edge_asc.training.log import LOG, read_log

FOLD = re.compile(r"fold([0-9]{1,4})")


@dataclass(frozen=True)
class Stage:
    """A stage of a training at its last epoch: loss, accuracy and held-out accuracy, 0 to 1, where it is known."""

    name: str
    epochs: int
    loss: float
    accuracy: float
    validation: float | None


@dataclass(frozen=True)
class Curve:
    """The epochs of one model.

    Attributes:
        fold: that it was trained for; None where it is the model of the folder itself.
        epochs: from the first stage to the last.
    """

    fold: int | None
    epochs: list[Epoch]

    @property
    def stages(self) -> list[Stage]:
        """The stages in their order."""
        stages = []
        for name in dict.fromkeys(epoch.stage for epoch in self.epochs):
            epochs = [epoch for epoch in self.epochs if epoch.stage == name]
            checked = [epoch.validation for epoch in epochs if epoch.validation is not None]
            last = epochs[-1]
            stages.append(Stage(name, len(epochs), last.loss, last.accuracy, checked[-1] if checked else None))
        return stages


@dataclass(frozen=True)
class Training:
    """A training.

    Attributes:
        name: of its folder.
        has_predictions: whether the decisions on its held-out clips are there.
        curves: of its model and those of its folds, without models that left no log.
    """

    name: str
    has_predictions: bool
    curves: list[Curve]


def load_training(folder: Path) -> Training:
    """Read the logs in the folder of a training.

    Raises:
        EdgeAscError: nothing of a training is there, or a damaged log.
    """
    curves = [Curve(None, read_log(folder))] if (folder / LOG).is_file() else []
    folds = {int(match[1]): path for path in folder.iterdir() if (match := FOLD.fullmatch(path.name))}
    curves += [Curve(number, read_log(path)) for number, path in sorted(folds.items()) if (path / LOG).is_file()]
    has_predictions = (folder / HELD_OUT).is_file()
    if not curves and not has_predictions:
        raise EdgeAscError(
            f"{folder}: holds neither {HELD_OUT} nor {LOG}; expected the folder that edge-asc train has written, or "
            "a JSON file of results"
        )
    return Training(folder.resolve().name, has_predictions, [curve for curve in curves if curve.epochs])
