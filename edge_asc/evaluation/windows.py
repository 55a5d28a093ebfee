"""The paper's streaming procedure on recordings: one window each quarter of a second, cut from the samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.checkpoints import stream_windows
from edge_asc.frontend import Array, LogMel
from edge_asc.runtime import Runtime
from edge_asc.streaming import Carry, WindowedClassifier

PERIOD = 0.25
BATCH = 16


def window_count(seconds: float, length: int, period: float = PERIOD) -> int:
    """Return the number of windows of `length` s in `seconds` of audio: ⌊(seconds − length) / period⌋ + 1, or 0."""
    return max(0, int((seconds - length) / period + 1e-9) + 1) if seconds >= length else 0


def stream_recordings(
    runtime: Runtime,
    recordings: Iterable[Array],
    seconds: float,
    lengths: Sequence[int],
    carries: Sequence[Carry],
    period: float = PERIOD,
) -> dict[tuple[int, Carry], Array]:
    """Compute the last logits of every window in the first `seconds` of each recording, by length, s, and carry mode.

    Window i of a length is the audio from i · period to i · period + length, with features of its own (paper, Table 2).

    Args:
        runtime: a windowed model that offers windows of these lengths.
        recordings: samples, (n,), of at least `seconds`.
        seconds: how much of each recording is used.
        carries: carry modes of `WindowedClassifier`.
        period: time between the starts of two windows, s.

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
    contract = runtime.contract
    log_mel = LogMel(contract.front_end) if contract.input == "features" else None
    rate = contract.front_end.sample_rate
    logits: dict[tuple[int, Carry], list[Array]] = {key: [] for key in classifiers}
    for batch in _batches(recordings, BATCH if isinstance(runtime, TorchRuntime) else 1):
        for length in lengths:
            whole = [_cut(samples, rate, seconds, length, period) for samples in batch]
            size = contract.signature(f"window_{length}s").samples
            if log_mel is None:
                cut = np.stack([windows[:, :size] for windows in whole])
            else:
                cut = np.stack([np.stack([log_mel(window) for window in windows]) for windows in whole])
            if isinstance(runtime, TorchRuntime):
                for carry, last in zip(carries, stream_windows(runtime, cut, carries, period), strict=True):
                    logits[length, carry].append(last)
                continue
            for carry in carries:
                classifier = classifiers[length, carry]
                classifier.reset()
                logits[length, carry].append(np.stack([classifier.push_input(window) for window in cut[0]])[None])
    return {key: np.concatenate(rows) for key, rows in logits.items()}


def _cut(samples: Array, rate: int, seconds: float, length: int, period: float) -> Array:
    """Cut the windows of a recording, (windows, rate · length)."""
    count, size, shift = window_count(seconds, length, period), length * rate, round(period * rate)
    if len(samples) < (count - 1) * shift + size:
        raise EdgeAscError(f"a recording is {len(samples) / rate:.2f} s long; expected at least {seconds:g} s")
    return np.stack([samples[i * shift : i * shift + size] for i in range(count)])


def _batches(recordings: Iterable[Array], size: int) -> Iterator[list[Array]]:
    batch: list[Array] = []
    for samples in recordings:
        batch.append(samples)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
