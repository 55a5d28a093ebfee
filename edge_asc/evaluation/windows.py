"""The paper's streaming procedure on recordings: a window each quarter of a second, cut from the samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, LogMel
from edge_asc.runtime import Runtime
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
    recordings: Iterable[Array],
    seconds: float,
    lengths: Sequence[int],
    carries: Sequence[Carry],
    period: float = PERIOD,
) -> dict[tuple[int, Carry], Array]:
    """The last logits of every window in the first `seconds` of each recording, by length, s, and carry mode.

    Window i of a length is the audio from i · period to i · period + length, with features of its own (paper, Table 2).

    Args:
        runtime: a windowed model that offers windows of these lengths.
        recordings: samples, (n,), of at least `seconds`.
        seconds: of each recording that are heard.
        carries: modes as of `WindowedClassifier`, in which the states of one recording's windows are carried.

    Returns:
        (recordings, windows, classes) for each length and mode.

    Raises:
        ContractError: a causal model, a window that is not offered, or a mode that the artefact cannot run.
        EdgeAscError: a recording is shorter than `seconds`.
    """
    classifiers = {
        (length, carry): WindowedClassifier(runtime, length, carry=carry, period=period)
        for length in lengths
        for carry in carries
    }
    log_mel = LogMel(runtime.contract.front_end)
    found: dict[tuple[int, Carry], list[Array]] = {key: [] for key in classifiers}
    together = isinstance(runtime, WindowRuntime)
    for batch in _batched(recordings, BATCH if together else 1):
        for length in lengths:
            cut = np.stack([_cut(samples, log_mel, seconds, length, period) for samples in batch])
            if isinstance(runtime, WindowRuntime):
                for carry, logits in zip(carries, runtime.windows(cut, carries, period), strict=True):
                    found[length, carry].append(logits)
                continue
            for carry in carries:
                classifier = classifiers[length, carry]
                classifier.reset()
                found[length, carry].append(np.stack([classifier.push_features(window) for window in cut[0]])[None])
    return {key: np.concatenate(rows) for key, rows in found.items()}


def _cut(samples: Array, log_mel: LogMel, seconds: float, length: int, period: float) -> Array:
    """The features of each window of a recording, (windows, frames, mels)."""
    rate = log_mel.config.sample_rate
    count, size, shift = window_count(seconds, length, period), length * rate, round(period * rate)
    if len(samples) < (count - 1) * shift + size:
        raise EdgeAscError(f"a recording is {len(samples) / rate:.2f} s long; expected at least {seconds:g} s")
    return np.stack([log_mel(samples[i * shift : i * shift + size]) for i in range(count)])


def _batched(recordings: Iterable[Array], size: int) -> Iterator[list[Array]]:
    batch: list[Array] = []
    for samples in recordings:
        batch.append(samples)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
