"""Activation ranges of a trained model, recorded on some of its training clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edge_asc.contract import STEP_FRAMES
from edge_asc.frontend import Array
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.training.listener import Listener
from edge_asc.training.material import Material
from edge_asc.training.recorder import Record

if TYPE_CHECKING:
    from edge_asc.training.run import Run

# Clips whose activation ranges are recorded, and how many times the work of a trained frame a recorded one is. Of a
# head's stage, the trunk computes each view once and is not trained: a third of that work.
FEWEST_RECORDED, MOST_RECORDED = 16, 128
RECORDING_COST = 10
VIEW_COST = 1 / 3
# Each length of clips is a graph to be lowered: clips of more lengths than this are brought to one.
MOST_LENGTHS = 8


def record_ranges(
    record: Record, checkpoint: Checkpoint, run: Run, material: Material, listener: Listener
) -> Checkpoint:
    """The checkpoint with ranges of evenly spaced training clips, as many as take less time than the training."""
    if not isinstance(checkpoint.model, CRNN):
        return checkpoint
    count = len(material.clips)
    trained = count * sum(
        stage.frames[0] * (stage.views * VIEW_COST if stage.views else stage.epochs * stage.crops)
        for stage in run.recipe.stages
    )
    longest = max(map(len, material.features))
    most = min(count, max(FEWEST_RECORDED, min(MOST_RECORDED, int(trained / (longest * RECORDING_COST)))))
    chosen = sorted({round(i * (count - 1) / max(1, most - 1)) for i in range(most)})
    source = {
        "data": run.dataset.name,
        "recorded_on": "the training clips",
        "classes": len({clip.label for clip in material.clips}),
    }
    listener.note(f"recording activation ranges on {len(chosen)} clips")
    ranges = record(
        checkpoint.model,
        checkpoint.front_end,
        _even_out([material.features[i] for i in chosen]),
        source,
        listener,
    )
    return replace(checkpoint, quantisation=ranges)


def _even_out(features: Sequence[Array]) -> list[Array]:
    """Return clips of many lengths as clips of the median one, whole steps: others end early or repeat."""
    lengths = sorted(len(clip) for clip in features)
    if len(set(lengths)) <= MOST_LENGTHS:
        return list(features)
    frames = max(STEP_FRAMES, lengths[len(lengths) // 2] // STEP_FRAMES * STEP_FRAMES)
    return [np.asarray(clip[np.arange(frames) % len(clip)]) for clip in features]
