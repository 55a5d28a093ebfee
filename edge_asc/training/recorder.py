"""Recorders: what a training adds to its checkpoint about the training data, such as activation ranges.

A recorder is a descriptor in the group of entry points `edge_asc.recorders`. The package that exports checkpoints
registers one, so that an int8 export needs no recordings; without that package a checkpoint is complete, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_asc.frontend import Array, FrontEnd
from edge_asc.jsonobject import JsonValue
from edge_asc.progress import Progress
from edge_asc.registry import Registry

if TYPE_CHECKING:
    from edge_asc.models import CRNN

# (model, front end with normalisation, raw log-mel of each clip as (frames, mels), what the clips are, progress).
Record = Callable[["CRNN", FrontEnd, Sequence[Array], Mapping[str, object], Progress], dict[str, JsonValue]]


@dataclass(frozen=True)
class Recorder:
    """One recorder.

    Attributes:
        field: of the checkpoint that holds what is recorded, such as "quantisation".
        record: runs the trained model on training clips and returns a JSON object.
        check: raises an ExportError where `record` could do nothing with a model of this kind, trained or not.
    """

    field: str
    record: Record
    check: Callable[[CRNN], None]


RECORDERS: Registry[Recorder] = Registry("edge_asc.recorders", Recorder, "RECORDER", "recorder")
