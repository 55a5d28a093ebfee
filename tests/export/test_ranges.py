import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import edge_asc
from artefacts import FRONT_END, checkpoint, clips, crnn
from edge_asc import audio
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo_path
from edge_asc_export import calibration
from edge_asc_export.calibration import calibrate
from edge_asc_export.plan import SharedRange
from edge_asc_export.ranges import BINS, CLIPPING, METHODS, SHARES, Histograms, Method, choose_ranges
from edge_asc_export.scheme import SCHEMES

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
def test_no_range_has_a_smaller_error(seed: int, method: tuple[Method, float]) -> None:
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


def test_what_weighs_nothing_gets_few_integers() -> None:
    spans = [SPAN, SharedRange(("fixed",), -1.0, 1.0, fixed=True)]
    histograms = Histograms(spans)
    values = torch.linspace(-2.0, 6.0, 5000).double()
    histograms.add("x", values, (values > 0).double())
    histograms.add("fixed", values)
    histograms.add("unknown", values)
    assert histograms.counts[0].sum() == (values > 0).sum()
    assert not histograms.counts[1].any()
    x, fixed = choose_ranges("fisher", spans, histograms.counts)
    assert x.low == pytest.approx(SPAN.low * SHARES[-1])
    assert x.high > 0.95 * SPAN.high
    assert fixed == spans[1]


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


@pytest.mark.parametrize("mean", [-30.0, 0.0])
def test_a_normalisation_that_puts_silence_elsewhere(mean: float) -> None:
    front_end = FrontEnd().with_normalisation(np.full(256, mean), np.full(256, 0.5))
    (features,) = (r for r in calibrate(crnn(checkpoint()), front_end, clips()).ranges if "features" in r.tensors)
    assert (features.low, features.high) == (0.0 if mean < -20 else -front_end.clip, front_end.clip)


def test_16_bits_hold_all_features_where_silence_is_near_zero() -> None:
    features = SharedRange(("features",), -0.9, 4.0, fixed=True).qparams(SCHEMES["int16x8"])
    assert 32767 * features.scale >= 3.99


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_are_taken_whatever_the_caller_does(mode: type) -> None:
    model = crnn(checkpoint())
    expected = calibrate(model, FRONT_END, clips(), method="fisher")
    with mode():
        assert calibrate(model, FRONT_END, clips(), method="fisher").ranges == expected.ranges


def test_gradients_of_a_long_clip_are_those_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (clip, *_) = crnn(checkpoint()), clips(1, 48)
    monkeypatch.setattr(calibration, "TRACED_FRAMES", 16)
    plan = calibrate(model, FRONT_END, [clip], method="fisher")
    longest = {r.tensors: r for r in calibrate(model, FRONT_END, [clip], method="minmax").ranges}
    assert any(r.high < longest[r.tensors].high for r in plan.ranges)
    assert all(longest[r.tensors].low <= r.low <= r.high <= longest[r.tensors].high for r in plan.ranges)


def test_clips_of_several_lengths_are_weighed() -> None:
    found = calibrate(crnn(checkpoint()), FRONT_END, [*clips(2, 24), *clips(2, 40)])
    assert found.provenance is not None
    assert set(found.provenance.kl) == set(METHODS)
