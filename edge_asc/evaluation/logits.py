"""Logits of whole clips, streamed from a reset, and the decisions that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Signature, StreamContract
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.checkpoints import stream_clips
from edge_asc.frontend import Array, LogMel
from edge_asc.progress import SILENT, Progress
from edge_asc.rule import CLIP_RULES, ClipRule
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier, WindowedClassifier

Indices = npt.NDArray[np.intp]
Scores = npt.NDArray[np.float64]

# Clips that are computed side by side.
BATCH = 64


@runtime_checkable
class BatchRuntime(Runtime, Protocol):
    """An engine that streams whole clips side by side, which is faster than one step after another."""

    def stream(self, features: Sequence[Array]) -> list[Array]:
        """Stream clips, normalised log-mel (frames, mels), from a reset each; return their logits (steps, classes)."""
        ...


def steps_at(seconds: float, sample_rate: int = 16000, step_samples: int = 4096) -> int:
    """Return the number of decisions within `seconds` after a reset."""
    return round(seconds * sample_rate) // step_samples


def at_level(log_mel: Array, decibels: float, floor: float) -> Array:
    """Return raw log-mel as if the samples had been scaled by `decibels`; exact, including the floor."""
    power = np.maximum(np.exp(log_mel) - np.float32(floor), np.float32(0.0))
    scaled: Array = np.log(power * np.float32(10.0 ** (decibels / 10.0)) + np.float32(floor))
    return scaled


def score(logits: npt.ArrayLike, decision: ClipRule) -> Scores:
    """Return the score of each class under a rule at each step, (steps, classes), since a reset.

    "last" takes the log-softmax of the step, "mean" its running mean. The difference between the two largest scores is
    the margin of the decision.

    Raises:
        EdgeAscError: another decision or shape, or logits that are not finite.
    """
    x = _check_logits(logits, decision)
    x = x - x.max(axis=1, keepdims=True)
    x = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return np.cumsum(x, axis=0) / np.arange(1, len(x) + 1)[:, None] if decision == "mean" else x


def decide(logits: npt.ArrayLike, decision: ClipRule) -> Indices:
    """Return the class index decided at each step, (steps,), from logits (steps, classes) since a reset.

    It is that of the largest score; for "last", of the largest logit, where scores may be equal by rounding.

    Raises:
        EdgeAscError: as `score` does.
    """
    scores = _check_logits(logits, decision) if decision == "last" else score(logits, decision)
    chosen: Indices = np.argmax(scores, axis=1)
    return chosen


def _check_logits(logits: npt.ArrayLike, decision: ClipRule) -> Scores:
    x = np.asarray(logits, np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise EdgeAscError(f"logits have shape {x.shape}; expected (steps, classes)")
    if not np.isfinite(x).all():
        raise EdgeAscError("logits hold NaN or infinite values; the model is damaged: train or export it again")
    if decision not in CLIP_RULES:
        raise EdgeAscError(f"decision is {decision!r}; expected {' or '.join(map(repr, CLIP_RULES))}")
    return x


def stream_logits(
    runtime: Runtime, clips: Sequence[Array], *, gain: float = 0.0, progress: Progress = SILENT
) -> list[Array]:
    """Stream clips from a reset each.

    Args:
        runtime: a causal model.
        clips: raw log-mel of each clip, (frames, mels), or samples, (n,), if the model takes these (`choose_inputs`);
            not changed; what comes after the last whole step is left out.
        gain: input gain, dB.
        progress: one unit for each clip or batch of clips.

    Returns:
        Logits after every step of each clip, (steps, classes).

    Raises:
        EdgeAscError: the model is windowed, or clips are not what it takes.
    """
    contract = runtime.contract
    if contract.form != "causal":
        raise EdgeAscError(
            f"{contract.name} is a windowed model; expected a causal one, which decides after every step"
        )
    step, title = count_inputs(contract, contract.signature("step")), f"Streaming {contract.name}"

    def prepare(index: int) -> Array:
        clip = _prepare(contract, clips[index], gain)
        return clip[: len(clip) // step * step]

    indices = range(len(clips))
    if stream := _batch_stream(runtime):
        batches = [indices[begin : begin + BATCH] for begin in range(0, len(clips), BATCH)]
        return [
            logits for batch in progress.track(batches, title) for logits in stream([prepare(index) for index in batch])
        ]
    classifier = StreamingClassifier(runtime)
    streamed = []
    for index in progress.track(indices, title):
        classifier.reset()
        clip = prepare(index)
        chunks = (clip[begin : begin + step] for begin in range(0, len(clip), step))
        rows = [classifier.push_input(chunk).logits for chunk in chunks]
        streamed.append(np.array(rows, np.float32).reshape(-1, len(contract.labels)))
    return streamed


def window_logits(
    runtime: Runtime,
    clips: Sequence[Array],
    lengths: Sequence[int],
    *,
    gain: float = 0.0,
    progress: Progress = SILENT,
) -> list[Array]:
    """Run one window of each length from the start of each clip, from a zero state.

    Args:
        runtime: a windowed model that offers these lengths.
        clips: raw log-mel or samples of each clip, as for `stream_logits`; not changed.
        lengths: seconds, ascending; lengths that a clip does not reach are left out.
        gain: input gain, dB.
        progress: one unit for each clip.

    Returns:
        The last logits of each window of each clip, (windows, classes).

    Raises:
        EdgeAscError: the model is causal, or has no window of a length.
    """
    contract = runtime.contract
    windows = [WindowedClassifier(runtime, seconds, carry="none") for seconds in lengths]
    sizes = [count_inputs(contract, contract.signature(f"window_{seconds}s")) for seconds in lengths]
    logits = []
    for clip in progress.track(clips, f"Streaming {contract.name}"):
        x = _prepare(contract, clip, gain)
        rows = [w.push_input(x[:size]) for w, size in zip(windows, sizes, strict=True) if len(x) >= size]
        logits.append(np.array(rows, np.float32).reshape(-1, len(contract.labels)))
    return logits


def clip_logits(
    runtime: Runtime,
    clips: Sequence[Array],
    lengths: Sequence[int] = (),
    *,
    gain: float = 0.0,
    progress: Progress = SILENT,
) -> list[Array]:
    """Run a model of either form on clips: `stream_logits`, or `window_logits` with these `lengths`."""
    if runtime.contract.form == "windowed":
        return window_logits(runtime, clips, lengths, gain=gain, progress=progress)
    return stream_logits(runtime, clips, gain=gain, progress=progress)


def choose_inputs(
    contract: StreamContract, features: Sequence[Array], samples: Sequence[Array] | None
) -> Sequence[Array]:
    """Return the form of clips that a model takes: raw log-mel or samples of each clip.

    Raises:
        EdgeAscError: it takes samples, and there are none.
    """
    if contract.input == "features":
        return features
    if samples is None:
        raise EdgeAscError(f"{contract.name} takes samples; got features alone: give the recordings")
    return samples


def count_inputs(contract: StreamContract, signature: Signature) -> int:
    """Return the number of frames, or of samples, that a run of a signature takes."""
    return signature.frames if contract.input == "features" else signature.samples


def check_finite(logits: Sequence[Array]) -> None:
    """Check the outputs of a model, (steps, classes) of each clip.

    Raises:
        EdgeAscError: NaN or an infinity among them.
    """
    if not all(np.isfinite(rows).all() for rows in logits):
        raise EdgeAscError("its outputs are not finite numbers: NaN or an infinity among the logits of the clips")


def _batch_stream(runtime: Runtime) -> Callable[[Sequence[Array]], list[Array]] | None:
    """Return a function that streams many clips side by side, or None where the engine has none."""
    if isinstance(runtime, BatchRuntime):
        return runtime.stream
    return partial(stream_clips, runtime) if isinstance(runtime, TorchRuntime) else None


def _prepare(contract: StreamContract, clip: Array, gain: float) -> Array:
    """Return a clip at an input gain, dB, in a new array: raw log-mel as the front end gives it, or samples."""
    front_end = contract.front_end
    if contract.input != "features":
        if clip.ndim != 1:
            raise EdgeAscError(f"a clip is {clip.shape}; {contract.name} expects samples, (n,)")
        return np.asarray(clip * np.float32(10.0 ** (gain / 20.0)), np.float32)
    if clip.ndim != 2 or clip.shape[1] != front_end.mels:
        raise EdgeAscError(f"features are {clip.shape}; {contract.name} expects (frames, {front_end.mels})")
    scaled = at_level(clip, gain, front_end.floor) if gain else np.array(clip, np.float32)
    return LogMel(front_end).normalise(scaled)
