import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import edge_asc
from artefacts import checkpoint, clips, crnn
from edge_asc import audio
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo_path
from edge_asc_export.calibration import calibrate
from edge_asc_export.plan import SharedRange
from edge_asc_export.ranges import BINS, CLIPPING, SHARES, Histograms, choose_ranges

DEMO = Path(edge_asc.__file__).parent / "demo"
SPAN = SharedRange(("x",), -2.0, 6.0)


def histogram(seed: int) -> np.ndarray:
    """Counts of mostly small values, with a few at the ends."""
    values = np.random.default_rng(seed).laplace(0.0, 0.3 + seed % 5 / 5, 4000).clip(SPAN.low, SPAN.high)
    return np.histogram(values, BINS, (SPAN.low, SPAN.high))[0].astype(float)


def error(counts: np.ndarray, low: float, high: float, clipping: float) -> float:
    """The squared error of a range, value by value."""
    middle = SPAN.low + (np.arange(BINS) + 0.5) * (SPAN.high - SPAN.low) / BINS
    outside = np.maximum(low - middle, 0.0) + np.maximum(middle - high, 0.0)
    rounding = ((high - low) / 255.0) ** 2 / 12.0
    return float(counts @ np.where(outside > 0.0, clipping * outside**2, rounding))


@given(st.integers(0, 1000), st.sampled_from([("mse", 1.0), ("fisher", CLIPPING)]))
def test_no_range_has_a_smaller_error(seed: int, method: tuple) -> None:  # type: ignore[type-arg]
    counts, (name, clipping) = histogram(seed), method
    (found,) = choose_ranges(name, [SPAN], [counts])
    grid = itertools.product(SPAN.low * SHARES[::5], SPAN.high * SHARES[::5])
    least = min(error(counts, low, high, clipping) for low, high in grid)
    assert error(counts, found.low, found.high, clipping) <= least * (1 + 1e-9)


@given(st.integers(0, 1000))
def test_where_clipping_counts_more_less_is_clipped(seed: int) -> None:
    counts = histogram(seed)
    ((narrow,), (wide,)) = (choose_ranges(name, [SPAN], [counts]) for name in ("mse", "fisher"))
    assert wide.high - wide.low >= narrow.high - narrow.low


def test_what_weighs_nothing_needs_no_integers() -> None:
    histograms = Histograms([SPAN, SharedRange(("fixed",), -1.0, 1.0, fixed=True)])
    values = torch.linspace(-2.0, 6.0, 5000).double()
    histograms.add("x", values, (values > 0).double())
    histograms.add("fixed", values)
    histograms.add("unknown", values)
    assert histograms.counts[0].sum() == (values > 0).sum()
    assert not histograms.counts[1].any()
    x, fixed = choose_ranges("fisher", histograms.spans, histograms.counts)
    assert x.low == pytest.approx(SPAN.low * SHARES[-1])
    assert x.high > 0.95 * SPAN.high
    assert fixed == histograms.spans[1]


def test_values_that_a_relu_takes_away_get_few_integers() -> None:
    folder = zoo_path("fuse")
    assert folder is not None
    trained = Checkpoint.load(folder)
    model = crnn(trained)
    features = [LogMel(trained.front_end.raw).push(audio.read(path)) for path in sorted(DEMO.glob("*/*.flac"))]
    shares = {}
    for method in ("mse", "fisher"):
        plan = calibrate(model, trained.front_end, features, method=method)
        before_relu = [r for r in plan.ranges if r.tensors[0].endswith(("_project", "_shortcut_0"))]
        assert len(before_relu) == 12
        shares[method] = float(np.median([-r.low / r.high for r in before_relu]))
    assert shares["fisher"] < 0.7 < 0.9 < shares["mse"]


def test_features_span_what_silence_and_the_clip_allow() -> None:
    front_end = FrontEnd().with_normalisation(np.linspace(-12, -8, 256), np.full(256, 0.2))
    (features,) = (r for r in calibrate(crnn(checkpoint()), front_end, clips()).ranges if "features" in r.tensors)
    silence = LogMel(front_end).push(np.zeros(4096, np.float32))
    assert features.fixed
    assert features.low == pytest.approx(float(silence.min()))
    assert -front_end.clip < features.low < 0.0 < features.high == front_end.clip
