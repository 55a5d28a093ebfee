"""Many clips side by side through a checkpoint in PyTorch, which is faster than one step after another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asc.engines.pytorch import TorchRuntime, inference
from edge_asc.errors import ContractError
from edge_asc.frontend import Array
from edge_asc.streaming import Carry, embeddings_in
from edge_asc.training.checkpoint import Checkpoint

# Clips that are computed side by side.
STREAMS = 32


class WholeClipRuntime(TorchRuntime):
    """A checkpoint whose clips are computed in one pass each, as in training: the reference for streaming."""

    def __init__(self, checkpoint: Checkpoint, threads: int = 1, *, device: str = "cpu") -> None:
        """Take the model of `checkpoint` and move it to `device`.

        Raises:
            ContractError: the model is not a CRNN and does not stream.
        """
        super().__init__(checkpoint, threads, device=device)
        self.engine += ", whole clip"


def stream_clips(runtime: TorchRuntime, features: Sequence[Array]) -> list[Array]:
    """Stream clips from a reset each; a `WholeClipRuntime` computes each clip in one pass.

    The results equal those of step after step up to float32 rounding. Frames that do not fill a step are left out.

    Args:
        runtime: a causal model.
        features: normalised log-mel of each clip, (frames, mels).

    Returns:
        Logits after every step of each clip, (steps, classes).

    Raises:
        ContractError: a windowed model, or features of another shape or not finite.
    """
    contract = runtime.contract
    if contract.form != "causal":
        raise ContractError(f"{contract.name}: a windowed model has no steps; expected a causal one")
    step, mels = contract.signature("step").frames, contract.front_end.mels
    for clip in features:
        if clip.ndim != 2 or clip.shape[1] != mels:
            raise ContractError(f"features are {clip.shape}; expected (frames, {mels})")
        if not np.isfinite(clip).all():
            raise ContractError("features hold NaN or infinite values; expected finite ones")
    steps = [len(clip) // step for clip in features]
    order = sorted(range(len(features)), key=steps.__getitem__)
    logits: dict[int, Array] = {}
    for start in range(0, len(order), STREAMS):
        batch = order[start : start + STREAMS]
        # Shorter clips are followed by zeros, which change nothing before them: the model is causal.
        stacked = np.zeros((len(batch), steps[batch[-1]] * step, mels), np.float32)
        for row, i in zip(stacked, batch, strict=True):
            row[: steps[i] * step] = features[i][: steps[i] * step]
        logits.update({i: rows[: steps[i]] for i, rows in zip(batch, _stream(runtime, stacked, step), strict=True)})
    return [logits[i] for i in range(len(features))]


def _stream(runtime: TorchRuntime, features: Array, step: int) -> Array:
    """Compute (streams, frames, mels) → (streams, steps, classes)."""
    import torch

    model = runtime.model
    logits = np.empty((len(features), features.shape[1] // step, len(runtime.contract.labels)), np.float32)
    with inference(runtime.threads):
        planes = torch.from_numpy(features).to(runtime.device).transpose(1, 2)[:, None]
        if isinstance(runtime, WholeClipRuntime):
            if features.shape[1]:
                logits[:] = model(planes).logits.cpu().numpy()
            return logits
        state = model.initial_state(len(features))
        for i in range(logits.shape[1]):
            rows, state = model.step(planes[..., i * step : (i + 1) * step], state)
            logits[:, i] = rows[:, 0].cpu().numpy()
    return logits


def stream_windows(runtime: TorchRuntime, features: Array, carries: Sequence[Carry], period: float) -> list[Array]:
    """Run the windows of several recordings, carrying the GRU's state as `WindowedClassifier` does.

    Args:
        runtime: a windowed model.
        features: normalised log-mel of each window, (streams, windows, frames, mels).
        carries: modes, each computed from the same embeddings.
        period: time between the starts of two windows, s.

    Returns:
        The last logits of each window, (streams, windows, classes), for each mode.

    Raises:
        ContractError: a causal model.
    """
    import torch

    contract = runtime.contract
    if contract.form != "windowed":
        raise ContractError(f"{contract.name}: a causal model has no windows; expected a windowed one")
    model, aligned = runtime.model, embeddings_in(period, contract.front_end)
    results = [np.empty((*features.shape[:2], len(contract.labels)), np.float32) for _ in carries]
    with inference(runtime.threads):
        fresh = torch.zeros(
            model.gru.num_layers, len(features), model.gru.hidden_size, device=runtime.device, dtype=torch.float32
        )
        states = [fresh] * len(carries)
        for i in range(features.shape[1]):
            planes = torch.from_numpy(features[:, i]).to(runtime.device).transpose(1, 2)[:, None]
            embeddings = model.embed(planes)
            for k, carry in enumerate(carries):
                before = fresh if carry == "none" else states[k]
                y, states[k] = model.gru(embeddings, before)
                results[k][:, i] = model.output(y[:, -1]).cpu().numpy()
                if carry == "aligned":
                    _, states[k] = model.gru(embeddings[:, :aligned], before)
    return results
