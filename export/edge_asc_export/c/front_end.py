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
    """Return the type `PREFIX_audio` and the function that computes one frame of features.

        static void PREFIX_frame(PREFIX_audio *audio, float *features);

    `audio->samples` holds the newest window, and `features` takes the mel bins of its frame.

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
        "FLOOR": front_end.floor,
        "CLIP": front_end.clip if front_end.mean else NO_CLIP,
    }
    source = "".join(f"#define {upper}_{name} {float_literal(value)}\n" for name, value in constants.items())
    source += "\n" + "\n".join(table(name, values) for name, values in _tables(front_end, filters).items())
    source += "\n" + read_source("front_end.c", prefix)
    return CPart(f"{header}\n{read_source('front_end.h', prefix)}", make_exact(source))


def _tables(front_end: FrontEnd, filters: Filters) -> dict[str, npt.NDArray[np.generic]]:
    """Return all constant tables, by name."""
    window, mels = front_end.window, front_end.mels
    half = window // 2
    order = _reverse_bits(half)
    hann = hann_window(window)[: half + 1] * np.float32(INT16.scale)
    # The first half of each block of reversed bins from 2^m to 2^(m + 1).
    blocks = [order[2 << m : 3 << m] for m in range(half.bit_length() - 2)]
    split = 2.0 * np.pi * np.concatenate([order[:1], *blocks]) / window
    return {
        "hann_even": hann[0::2],
        "hann_odd": hann[1::2],
        "stage_twiddles": _twiddles(half),
        "split_cosines": np.cos(split).astype(np.float32),
        "split_sines": np.sin(split).astype(np.float32),
        "rising": filters.rising,
        "reversed_bins": order[filters.first : filters.first + len(filters.rising)].astype(np.int16),
        "bins_between_edges": filters.counts,
        # The power of the bins comes as four times itself.
        "filter_scales": filters.scales / np.float32(4.0),
        "feature_means": np.asarray(front_end.mean or np.zeros(mels), np.float32),
        "feature_scales": np.asarray(front_end.scale or np.ones(mels), np.float32),
    }


def _twiddles(half: int) -> Array:
    """Return the factors of all stages of a transform of `half` numbers: cosines and −sines of x, 2 x and 3 x."""
    stages, row = [], half // 4
    while row > 1:
        angles = 0.5 * np.pi * np.outer(np.arange(1, 4), np.arange(row)) / row
        stages.append(np.stack((np.cos(angles), -np.sin(angles)), axis=1).reshape(-1))
        row //= 4
    return np.concatenate(stages).astype(np.float32)


def _reverse_bits(count: int) -> npt.NDArray[np.intp]:
    """Return the numbers below a power of two with their bits in reversed order, (count,)."""
    reverse = np.zeros(1, np.intp)
    while len(reverse) < count:
        reverse = np.concatenate((2 * reverse, 2 * reverse + 1))
    return reverse
