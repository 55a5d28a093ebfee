"""The folder of a training: the state of an interrupted one, and its log."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edge_asc.errors import EdgeAscError, OutputError
from edge_asc.evaluation.document import HELD_OUT
from edge_asc.files import write_bytes
from edge_asc.training.checkpoint import WEIGHTS, is_checkpoint
from edge_asc.training.listener import Epoch
from edge_asc.training.log import LOG, write_log

STATE = "training-state.pt"
VERSION = 2
# Room that a training needs: its state, twice while it is written, and the checkpoint.
OUTPUT_BYTES = 1 << 24


@dataclass(frozen=True)
class Best:
    """The best evaluation of a stage: accuracy, 0 to 1, after which epoch, and the weights."""

    accuracy: float
    epoch: int
    weights: dict[str, Tensor]


@dataclass(frozen=True)
class TrainingState:
    """Everything that a training needs to resume after an epoch.

    Attributes:
        fingerprint: of model, recipe and data, by name.
        epoch: number of whole epochs.
        updates: steps that the moving average has taken in.
        history: results of the epochs.
        model, average: weights; no average where the stage keeps none.
        optimizers: of the stage under way; empty between stages.
        scaler: of gradients in half precision.
        best: the stage's best evaluation, where there is one.
    """

    fingerprint: dict[str, Any]
    epoch: int
    updates: int
    history: list[Epoch]
    model: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizers: list[dict[str, Any]]
    scaler: dict[str, Any]
    best: Best | None


def check_folder(folder: Path, *, resume: bool) -> None:
    """Check that a training may write to a folder, which may not exist.

    Raises:
        EdgeAscError: the folder holds another checkpoint or an interrupted training and `resume` is not given.
        OutputError: it holds files of the same names that are not a training's.
    """
    if is_checkpoint(folder):
        if not resume:
            raise EdgeAscError(f"{folder}: holds a checkpoint already; choose another --output, or add --resume")
        return
    if (folder / STATE).exists():
        if not resume:
            raise EdgeAscError(
                f"{folder}: holds an interrupted training; add --resume to continue it, or choose another --output"
            )
        return
    if taken := [name for name in (LOG, WEIGHTS, HELD_OUT) if os.path.lexists(folder / name)]:
        raise OutputError(
            f"{folder}: holds {' and '.join(taken)}, which no training has left; move it, or choose another --output"
        )


def save_state(folder: Path, state: TrainingState) -> None:
    """Write the state and `log.csv`, each whole or not at all.

    Raises:
        OutputError: the folder cannot be written; the last state is as it was.
    """
    value = {field.name: getattr(state, field.name) for field in fields(TrainingState)}
    value["history"] = [astuple(epoch) for epoch in state.history]
    value["best"] = state.best and (state.best.accuracy, state.best.epoch, state.best.weights)
    data = io.BytesIO()  # torch's own writer reports a full disk as an internal error
    torch.save({"version": VERSION, **value}, data)
    write_bytes(folder / STATE, data.getvalue())
    write_log(folder, state.history)


def load_state(folder: Path, fingerprint: dict[str, Any], device: str) -> TrainingState | None:
    """Read what `save_state` wrote; None where there is nothing.

    Raises:
        EdgeAscError: the file is damaged, of an older edge-asc, or of a training with other settings.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        value = torch.load(path, weights_only=True, map_location=device)
        version, theirs = value.pop("version", 1), value["fingerprint"]
        if version == VERSION:
            value["history"] = [Epoch(*past) for past in value["history"]]
            value["best"] = value["best"] and Best(*value["best"])
            state = TrainingState(**value)
    except (pickle.UnpicklingError, RuntimeError, EOFError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise EdgeAscError(f"{path}: damaged ({error!r}); delete it to start again") from error
    if version != VERSION:
        raise EdgeAscError(f"{path}: written by another version of edge-asc; delete it to start again")
    if changed := [name for name, mine in fingerprint.items() if theirs.get(name) != mine]:
        raise EdgeAscError(
            f"{path}: an interrupted training with another {', '.join(changed)}; "
            "start it with the same settings, or choose another --output"
        )
    return state
