"""Whole recordings in one pass each, as in the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge_asc.contract import STEP_FRAMES
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, LogMel

if TYPE_CHECKING:
    from edge_asc.training.checkpoint import Checkpoint

BATCH = 32


def last_logits(checkpoint: Checkpoint, features: Sequence[Array], device: str = "cpu") -> Array:
    """Return the logits, (clips, classes), that decide each clip, for a model of any kind.

    These are the last output of a CRNN, whether it was trained on one output or on all of them, and the only output of
    a CNN (paper, 2.1). A causal model gets whole steps of 8 frames.

    Args:
        features: raw log-mel of each clip, (frames, mels), not changed.
        device: where to compute; the model is back on the CPU afterwards.

    Raises:
        EdgeAscError: a clip is too short for a decision, or the logits are not finite.
    """
    import torch

    from edge_asc.models import CRNN

    front_end = LogMel(checkpoint.front_end)
    step = STEP_FRAMES if checkpoint.model.config.form == "causal" else 1
    by_length: dict[int, list[int]] = {}
    for index, clip in enumerate(features):
        by_length.setdefault(len(clip) // step * step, []).append(index)
    if 0 in by_length:
        raise EdgeAscError(
            f"a clip has {len(features[by_length[0][0]])} frames; {checkpoint.name} needs at least {step}"
        )
    logits = np.empty((len(features), len(checkpoint.labels)), np.float32)
    model = checkpoint.model.to(device)
    try:
        with torch.inference_mode():
            for frames, clips in by_length.items():
                for begin in range(0, len(clips), BATCH):
                    batch = clips[begin : begin + BATCH]
                    stacked = np.stack([front_end.normalise(np.array(features[i][:frames])) for i in batch])
                    x = torch.from_numpy(stacked).to(device).transpose(1, 2)[:, None]
                    y = model(x).logits[:, -1] if isinstance(model, CRNN) else model(x)
                    logits[batch] = y.cpu().numpy()
    finally:
        model.to("cpu")
    if not np.isfinite(logits).all():
        raise EdgeAscError(f"{checkpoint.name}: logits hold NaN or infinite values; train the model again")
    return logits
