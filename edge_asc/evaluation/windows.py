"""The paper's streaming procedure on recordings: a window each quarter of a second, cut from the samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, LogMel
from edge_asc.runtimes import Runtime
from edge_asc.streaming import Carry, WindowedClassifier

PERIOD = 0.25
BATCH = 16


@runtime_checkable
class WindowRuntime(Runtime, Protocol):
    """An engine that runs the windows of many recordings side by side, which is faster than one after another."""

    def windows(self, features: Array, carries: Sequence[Carry], period: float) -> list[Array]:
        """The last logits of each window, (streams, windows, classes), for each of `carries`.

        `features` are normalised log-mel, (streams, windows, frames, mels); the GRU's state goes from a window to the
        next one of the same stream as in `WindowedClassifier`.
        """
        ...


def window_count(seconds: float, length: int, period: float = PERIOD) -> int:
    """The number of windows of `length` s in `seconds` of audio: floor((seconds − length) / period) + 1, at least 0."""
    return max(0, int((seconds - length) / period + 1e-9) + 1) if seconds >= length else 0


def windowed(
    runtime: Runtime,
    recordings: Iterator[Array],
    seconds: float,
    length: int,
    carries: Sequence[Carry],
    period: float = PERIOD,
) -> dict[Carry, Array]:
    """The last logits of every window of `length` s in the first `seconds` of each recording, by carry mode.

    Window i is the audio from i · period to i · period + length, with features of its own (paper, Table 2).

    Args:
        runtime: a windowed model that offers windows of this length.
        recordings: samples, (n,), of at least `seconds`.
        seconds: of each recording that are heard.
        carries: modes as of `WindowedClassifier`, in which the states of one recording's windows are carried.

    Returns:
        (recordings, windows, classes) for each mode.

    Raises:
        ContractError: a causal model, a window that is not offered, or a mode that the artefact cannot run.
        EdgeAscError: a recording is shorter than `seconds`.
    """
    rate = runtime.contract.front_end.sample_rate
    classifiers = [WindowedClassifier(runtime, length, carry=carry, period=period) for carry in carries]
    count, size, shift = window_count(seconds, length, period), length * rate, round(period * rate)
    log_mel = LogMel(runtime.contract.front_end)
    found: list[list[Array]] = [[] for _ in carries]

    def features(samples: Array) -> Array:
        if len(samples) < (count - 1) * shift + size:
            raise EdgeAscError(f"a recording is {len(samples) / rate:.2f} s long; expected at least {seconds:g} s")
        return np.stack([log_mel(samples[i * shift : i * shift + size]) for i in range(count)])

    if isinstance(runtime, WindowRuntime):
        for batch in _batched(recordings, BATCH):
            logits = runtime.windows(np.stack([features(samples) for samples in batch]), carries, period)
            for rows, each in zip(found, logits, strict=True):
                rows.append(each)
        return {carry: np.concatenate(rows) for carry, rows in zip(carries, found, strict=True)}
    for samples in recordings:
        cut = features(samples)
        for rows, classifier in zip(found, classifiers, strict=True):
            classifier.reset()
            rows.append(np.stack([classifier.push_features(window) for window in cut])[None])
    return {carry: np.concatenate(rows) for carry, rows in zip(carries, found, strict=True)}


def _batched(recordings: Iterator[Array], size: int) -> Iterator[list[Array]]:
    batch: list[Array] = []
    for samples in recordings:
        batch.append(samples)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
