"""Logits of whole clips, streamed from a reset, and the decisions they come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Decision, StreamContract
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, LogMel
from edge_asc.runtime import Runtime

Indices = npt.NDArray[np.intp]
T = TypeVar("T")

DECISIONS: tuple[Decision, ...] = get_args(Decision)
BATCH = 64


@runtime_checkable
class BatchRuntime(Runtime, Protocol):
    """An engine that streams whole clips side by side, which is faster than one step after another."""

    def stream(self, features: Sequence[Array]) -> list[Array]:
        """Logits (steps, classes) of each clip's normalised log-mel, (frames, mels), from a fresh state."""
        ...


def steps_at(seconds: float, sample_rate: int = 16000, step_samples: int = 4096) -> int:
    """The number of decisions made within `seconds` since a reset."""
    return round(seconds * sample_rate) // step_samples


def at_level(log_mel: Array, decibels: float, floor: float) -> Array:
    """Raw log-mel as if the samples had been scaled by `decibels`; exact, floor included. A new array."""
    power = np.maximum(np.exp(log_mel) - np.float32(floor), np.float32(0.0))
    scaled: Array = np.log(power * np.float32(10.0 ** (decibels / 10.0)) + np.float32(floor))
    return scaled


def decide(logits: npt.ArrayLike, decision: Decision) -> Indices:
    """The index decided for at each step, (steps,), from logits (steps, classes) since a reset.

    "last" takes the logits of the step; "mean" the running mean of log-softmax.

    Raises:
        EdgeAscError: another decision or shape, or logits that are not finite.
    """
    x = np.asarray(logits, np.float64)
    if x.ndim != 2 or not x.shape[1]:
        raise EdgeAscError(f"logits have shape {x.shape}; expected (steps, classes)")
    if not np.isfinite(x).all():
        raise EdgeAscError("logits hold NaN or infinite values; the model is damaged: train or export it again")
    if decision == "mean":
        x = x - x.max(axis=1, keepdims=True)
        # The sum has its maximum where the mean has.
        x = np.cumsum(x - np.log(np.exp(x).sum(axis=1, keepdims=True)), axis=0)
    elif decision != "last":
        raise EdgeAscError(f"decision is {decision!r}; expected {' or '.join(map(repr, DECISIONS))}")
    chosen: Indices = np.argmax(x, axis=1)
    return chosen


def stream_logits(
    runtime: Runtime, features: Sequence[Array], gain: float = 0.0, progress: bool = False
) -> list[Array]:
    """The logits (steps, classes) of each clip, heard from a reset and `gain` dB louder.

    Args:
        runtime: a causal model.
        features: raw log-mel of each clip, (frames, mels), not changed; frames after the last whole step are
            not heard.
        gain: dB.
        progress: show a bar on stderr.

    Raises:
        EdgeAscError: the model is windowed, or features have another number of mel bins than its front end.
    """
    contract = runtime.contract
    if contract.form != "causal":
        raise EdgeAscError(
            f"{contract.name} is a windowed model; expected a causal one, which decides after every step"
        )
    step = contract.signature("step").frames

    def prepared(index: int) -> Array:
        clip = _normalised(contract, features[index], gain)
        return clip[: len(clip) // step * step]

    everything = range(len(features))
    if isinstance(runtime, BatchRuntime):
        batches = [everything[begin : begin + BATCH] for begin in range(0, len(features), BATCH)]
        return [
            logits
            for batch in _tracked(batches, contract.name, progress)
            for logits in runtime.stream([prepared(index) for index in batch])
        ]

    from edge_asc.streaming import StreamingClassifier

    classifier = StreamingClassifier(runtime)
    streamed = []
    for index in _tracked(everything, contract.name, progress):
        classifier.reset()
        clip = prepared(index)
        chunks = (clip[begin : begin + step] for begin in range(0, len(clip), step))
        rows = [classifier.push_features(chunk).logits for chunk in chunks]
        streamed.append(np.array(rows, np.float32).reshape(-1, len(contract.labels)))
    return streamed


def window_logits(
    runtime: Runtime, features: Sequence[Array], lengths: Sequence[int], gain: float = 0.0, progress: bool = False
) -> list[Array]:
    """The logits (windows, classes) of each clip: a window from its start for each length, from a zero state.

    Args:
        runtime: a windowed model that offers these lengths.
        features: raw log-mel of each clip, (frames, mels), not changed.
        lengths: seconds, ascending; those that a clip does not reach are left out.
        gain: dB.
        progress: show a bar on stderr.

    Raises:
        EdgeAscError: the model is causal, or has no window of a length.
    """
    from edge_asc.streaming import WindowedClassifier

    contract = runtime.contract
    windows = [WindowedClassifier(runtime, seconds, carry="none") for seconds in lengths]
    sizes = [contract.signature(f"window_{seconds}s").frames for seconds in lengths]
    heard = []
    for clip in _tracked(features, contract.name, progress):
        x = _normalised(contract, clip, gain)
        rows = [w.push_features(x[:size]) for w, size in zip(windows, sizes, strict=True) if len(x) >= size]
        heard.append(np.array(rows, np.float32).reshape(-1, len(contract.labels)))
    return heard


def clip_logits(
    runtime: Runtime, features: Sequence[Array], lengths: Sequence[int] = (), gain: float = 0.0, progress: bool = False
) -> list[Array]:
    """What a model of either form makes of clips: `stream_logits`, or `window_logits` with these `lengths`."""
    if runtime.contract.form == "windowed":
        return window_logits(runtime, features, lengths, gain, progress)
    return stream_logits(runtime, features, gain, progress)


def _normalised(contract: StreamContract, clip: Array, gain: float) -> Array:
    """Raw log-mel as a model's front end gives it, `gain` dB louder; a new array."""
    front_end = contract.front_end
    if clip.ndim != 2 or clip.shape[1] != front_end.mels:
        raise EdgeAscError(f"features are {clip.shape}; {contract.name} expects (frames, {front_end.mels})")
    louder = at_level(clip, gain, front_end.floor) if gain else np.array(clip, np.float32)
    return LogMel(front_end).normalise(louder)


def _tracked(items: Sequence[T], name: str, progress: bool) -> Iterable[T]:
    if not progress:
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, f"Streaming {name}", console=Console(stderr=True))
