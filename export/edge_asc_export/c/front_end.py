"""The front end in C: 16-bit samples to the normalised log-mel features that a network takes.

A step's features are frames one after another, each with its mel bins from low to high: (8, mels), in this order of
memory. Mean, scale and clip belong to the front end, as in `edge_asc.frontend.LogMel`; no graph applies them again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ExportError
from edge_asc.frontend import Array, FrontEnd, hann_window, mel_edges
from edge_asc.tensors import INT16
from edge_asc_export.c.part import CPart
from edge_asc_export.c.template import make_exact, read_source
from edge_asc_export.c.text import float_literal, table

LEAST_WINDOW = 16
LARGEST_WINDOW = 2**15
# Any log-mel lies within this, so that it clips nothing.
NO_CLIP = 1e3

Indices = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Filters:
    """Mel filters, by the frequency bins between two neighbouring edges of them.

    Attributes:
        first: bin, the first one above the lowest edge.
        counts: bins between an edge and the next one, (mels + 1,).
        rising: how near to the higher edge each of these bins is, 0 to 1.
        scales: height of each filter, (mels,).
    """

    first: int
    counts: Indices
    rising: Array
    scales: Array

    @classmethod
    def of(cls, front_end: FrontEnd) -> Filters:
        """Return the filters of a front end."""
        edges = mel_edges(front_end.mels, front_end.low, front_end.high)
        frequencies = np.linspace(0.0, front_end.sample_rate / 2.0, front_end.window // 2 + 1)
        # Filters weigh the first and the last bin of a spectrum with zero.
        first, last = np.clip(np.searchsorted(frequencies, edges[[0, -1]]), 1, len(frequencies) - 1)
        inside = frequencies[first:last]
        lower = np.searchsorted(edges, inside, side="right") - 1
        rising = (inside - edges[lower]) / (edges[lower + 1] - edges[lower])
        counts = np.bincount(lower, minlength=front_end.mels + 1).astype(np.int16)
        scales = 2.0 / (edges[2:] - edges[:-2])
        return cls(int(first), counts, rising.astype(np.float32), scales.astype(np.float32))


def generate_front_end(prefix: str, front_end: FrontEnd) -> CPart:
    """Return the function that computes one frame of features.

        static void PREFIX_frame(const int16_t *samples, float *features);

    `samples` are those of a window, and `features` takes the mel bins of its frame.

    Args:
        prefix: a C identifier, in lower case.
        front_end: of the features.

    Raises:
        ExportError: the window is not a power of two from 16 to 32,768 samples.
    """
    window, upper = front_end.window, prefix.upper()
    if window & (window - 1) or not LEAST_WINDOW <= window <= LARGEST_WINDOW:
        raise ExportError(
            f"front end: the window has {window} samples; expected a power of two from {LEAST_WINDOW} to "
            f"{LARGEST_WINDOW} for C: use --format onnx or tflite"
        )
    filters = Filters.of(front_end)
    sizes = {
        "SAMPLE_RATE": (front_end.sample_rate, "Hz"),
        "WINDOW": (window, "samples of a frame"),
        "HOP": (front_end.hop, "samples from a frame to the next one"),
        "MELS": (front_end.mels, "features of a frame"),
    }
    header = "".join(f"#define {upper}_{name} {value} /* {text} */\n" for name, (value, text) in sizes.items())
    constants = {
        f"{upper}_FLOOR": float_literal(front_end.floor),
        f"{upper}_CLIP": float_literal(front_end.clip if front_end.mean else NO_CLIP),
        "FIRST_BIN": filters.first,
    }
    source = "".join(f"#define {name} {value}\n" for name, value in constants.items())
    source += "\n" + "\n".join(table(name, values) for name, values in _tables(front_end, filters).items())
    source += "\n" + read_source("front_end.c", prefix)
    return CPart(header, make_exact(source), scratch=2 * window)


def _tables(front_end: FrontEnd, filters: Filters) -> dict[str, npt.NDArray[np.generic]]:
    """Return all constant tables, by name."""
    window, mels = front_end.window, front_end.mels
    half = window // 2
    hann = hann_window(window) * np.float32(INT16.scale)
    rising = np.zeros(half, np.float32)
    rising[filters.first : filters.first + len(filters.rising)] = filters.rising
    # Bins of the upper half are computed downwards.
    rising[half // 2 + 1 :] = rising[half // 2 + 1 :][::-1].copy()
    split = 2.0 * np.pi * np.arange(half // 2) / window
    return {
        "hann_even": hann[0::2],
        "hann_odd": hann[1::2],
        "stage_twiddles": _twiddles(half),
        "split_cosines": np.cos(split).astype(np.float32),
        "split_sines": np.sin(split).astype(np.float32),
        "rising": rising,
        "bins_between_edges": filters.counts,
        # The power of the bins comes as four times itself.
        "filter_scales": filters.scales / np.float32(4.0),
        "feature_means": np.asarray(front_end.mean or np.zeros(mels), np.float32),
        "feature_scales": np.asarray(front_end.scale or np.ones(mels), np.float32),
    }


def _twiddles(half: int) -> Array:
    """Return the factors of all stages of a transform of `half` numbers: cosines and −sines of x, 2 x and 3 x.

    The first stage reads each of the six for all its numbers; a later one reads six for each run of numbers.
    """
    stages: list[Array] = []
    row = half // 4
    while row > 1:
        angles = 0.5 * np.pi * np.outer(np.arange(1, 4), np.arange(row)) / row
        factors = np.stack((np.cos(angles), -np.sin(angles)), axis=1).reshape(6, row)
        stages.append((factors.T if stages else factors).reshape(-1))
        row //= 4
    return np.concatenate(stages).astype(np.float32)
