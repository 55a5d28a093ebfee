"""The document about models on labelled clips: what `evaluate --json` prints, and what a training leaves."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edge_asc.evaluation.accuracy import Accuracy
from edge_asc.evaluation.predictions import Predictions
from edge_asc.files import write_json
from edge_asc.jsonobject import JsonValue

KIND = "evaluation"
# 1: first version.
SCHEMA_VERSION = 1
# The document about the held-out clips of a training, in the folder of its checkpoint.
HELD_OUT = "held_out.json"


@dataclass(frozen=True)
class Evaluation:
    """Models on the clips of a data set.

    Attributes:
        data: name of the data set's folder.
        folder: the data set's folder.
        fold: fold whose held-out clips were used; None for all clips.
        results: one for each model, in the order of the command line.
        predictions: the decisions of each model on single clips.
    """

    data: str
    folder: Path
    fold: int | None
    results: tuple[Accuracy, ...]
    predictions: tuple[Predictions, ...] = ()

    def to_json(self, place: Path | None = None) -> dict[str, JsonValue]:
        """Return a JSON object, which `edge-asc report` reads.

        Args:
            place: folder of the document, which the data set's folder is named relative to; None names it absolutely.
        """
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "data": self.data,
            "folder": _describe_folder(self.folder, place),
            "clips": self.results[0].clips,
            "fold": self.fold,
            "results": [result.to_json() for result in self.results],
            "predictions": [each.to_json() for each in self.predictions],
        }

    def write(self, checkpoint: Path) -> Path:
        """Write the document into the folder of a checkpoint, whole or not at all; return its path.

        Raises:
            OutputError: it cannot be written.
        """
        path = checkpoint / HELD_OUT
        write_json(path, self.to_json(checkpoint))
        return path


def _describe_folder(folder: Path, place: Path | None) -> str:
    """Return a folder relative to `place` where that is possible, so that both can be moved together."""
    folder = folder.resolve()
    if place is None:
        return str(folder)
    try:
        return Path(os.path.relpath(folder, place.resolve())).as_posix()
    except ValueError:  # another drive of Windows
        return str(folder)
