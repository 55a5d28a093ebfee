from __future__ import annotations

import numpy as np
import pytest

from edge_asc.errors import EdgeAscError
from edge_asc.rule import ClipRule
from edge_asc.training.calibration import (
    auroc,
    calibrate_folds,
    choose_threshold,
    expected_calibration_error,
    fit_temperature,
    posteriors,
)


def clips(count: int, sharpness: float, seed: int = 0) -> tuple[list[np.ndarray], list[int]]:
    """Logits whose softmax is the true posterior, times `sharpness`, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = [rng.normal(0.0, 1.5, (1, 4)).astype(np.float32) for _ in range(count)]
    targets = [int(rng.choice(4, p=posteriors(each, "last")[0])) for each in logits]
    return [sharpness * each for each in logits], targets


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("decision", ["last", "mean"])
def test_the_temperature_undoes_what_is_too_sharp(sharpness: float, decision: ClipRule) -> None:
    assert fit_temperature(*clips(2000, sharpness), decision) == pytest.approx(sharpness, rel=0.1)


def test_posteriors_of_both_decisions() -> None:
    logits = np.array([[2.0, 0.0], [0.0, 4.0]], np.float32)
    np.testing.assert_allclose(posteriors(logits, "last").sum(1), 1.0)
    np.testing.assert_allclose(posteriors(logits, "last")[1, 1], 1.0 / (1.0 + np.exp(-4.0)))
    # Of the mean, which is (1, 2).
    np.testing.assert_allclose(posteriors(logits, "mean")[1, 1], 1.0 / (1.0 + np.exp(-1.0)))
    np.testing.assert_allclose(posteriors(logits, "mean", 2.0)[1, 1], 1.0 / (1.0 + np.exp(-0.5)))


def test_calibration_of_folds() -> None:
    found = calibrate_folds([clips(600, 3.0, seed) for seed in range(3)], "last")
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found.ece_before > 0.1
    assert found.ece_after < 0.05
    assert found.nll_after < found.nll_before


def test_expected_calibration_error() -> None:
    confidences, right = np.array([0.95, 0.95, 0.55, 0.55]), np.array([1.0, 1.0, 1.0, 0.0])
    assert expected_calibration_error(confidences, right) == pytest.approx(0.5 * 0.05 + 0.5 * 0.05)
    assert expected_calibration_error(np.array([1.0]), np.array([0.0])) == 1.0


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.0, 0.4001), (0.1, 0.4001), (0.25, 0.3001), (0.5, 0.2001), (1.0, 1e-4)]
)
def test_the_threshold_keeps_the_rate_of_false_alarms(rate: float, expected: float) -> None:
    known = np.array([0.2, 0.4, 0.1, 0.3])
    threshold = choose_threshold(known, rate)
    assert threshold == pytest.approx(expected, abs=1e-9)
    assert (known >= threshold).mean() <= rate


def test_the_threshold_of_equal_and_of_certain_clips() -> None:
    tied = np.repeat([0.5, 0.9], [95, 5])
    assert (tied >= choose_threshold(tied)).sum() == 5
    tied = np.repeat([0.5, 0.9], [94, 6])
    assert (tied >= choose_threshold(tied)).sum() == 0
    assert choose_threshold(np.ones(3)) == 1.0
    with pytest.raises(EdgeAscError, match="needs known clips"):
        choose_threshold([])


def test_auroc() -> None:
    assert auroc([2.0, 3.0], [0.0, 1.0]) == 1.0
    assert auroc([0.0], [1.0, 2.0]) == 0.0
    assert auroc([1.0, 1.0], [1.0, 1.0]) == 0.5
    assert auroc([1.0, 3.0], [0.0, 2.0]) == 0.75
