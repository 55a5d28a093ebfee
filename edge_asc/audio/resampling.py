"""From one sample rate to another, block by block."""

from __future__ import annotations

import numpy as np

from edge_asc.frontend import Array


class Resampler:
    """Brings blocks of one rate to another, exactly as libsoxr's high quality does the whole signal at once."""

    def __init__(self, source: int, target: int) -> None:
        """Start a signal; rates are in Hz."""
        self.source = source
        self._stream = None
        if source != target:
            import soxr

            self._stream = soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")

    def push(self, samples: Array) -> Array:
        """Take a block, (n,); return the samples of the new rate that are complete, (m,)."""
        return samples if self._stream is None else self._resample(samples, last=False)

    def finish(self) -> Array:
        """Return the samples that remain at the end of the signal, (m,)."""
        nothing = np.empty(0, np.float32)
        return nothing if self._stream is None else self._resample(nothing, last=True)

    def _resample(self, samples: Array, *, last: bool) -> Array:
        assert self._stream is not None
        resampled: Array = self._stream.resample_chunk(samples, last=last)
        return resampled
