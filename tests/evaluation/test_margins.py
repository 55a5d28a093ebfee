from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edge_asc.closeness import Closeness, MarginRange
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import decide, score
from edge_asc.evaluation.margins import MARGINS, measure_closeness
from edge_asc.jsonobject import JsonObject
from edge_asc.rule import CLIP_RULES, ClipRule

LOGITS = arrays.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(4)), elements=st.floats(-8, 8, width=32))


def log_softmax(x: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.log(np.exp(x) / np.exp(x).sum(1, keepdims=True))
    return result


def test_margins_agreement_and_divergence_by_hand() -> None:
    expected = np.log(np.array([[0.5, 0.3, 0.2], [0.45, 0.44, 0.11]], np.float32))
    actual = np.log(np.array([[0.6, 0.3, 0.1], [0.44, 0.45, 0.11]], np.float32))
    found = measure_closeness([expected], [actual], "last")
    # ln(5/3) = 0.51, ln(45/44) = 0.02.
    known = {each.least: (each.steps, each.agreed) for each in found.margins if each.steps}
    assert known == {0.5: (1, 1), 0.0: (1, 0)}
    assert (found.steps, found.agreed, found.last_agreed) == (2, 1, 1)
    assert (found.agreement, found.clear_steps, found.clear_agreement) == (0.5, 1, 1.0)
    first = 0.5 * np.log(0.5 / 0.6) + 0.2 * np.log(2)
    second = 0.45 * np.log(0.45 / 0.44) + 0.44 * np.log(0.44 / 0.45)
    assert found.kl == pytest.approx((first + second) / 2, rel=1e-5)


def test_the_rule_decides_and_the_last_outputs_are_counted_beside_it() -> None:
    expected = np.array([[4.0, 0.0], [0.0, 1.0]], np.float32)
    actual = np.array([[4.0, 0.0], [0.5, 0.0]], np.float32)
    found = measure_closeness([expected], [actual], "mean")
    assert (found.agreed, found.last_agreed) == (2, 1)
    margin = (log_softmax(expected)[:, 0] - log_softmax(expected)[:, 1]).mean()
    assert margin == pytest.approx(1.5)
    assert [each.steps for each in found.margins if each.least == 1.0] == [1]


@given(LOGITS, st.sampled_from(CLIP_RULES))
def test_equal_outputs_agree_everywhere(logits: np.ndarray, rule: ClipRule) -> None:
    found = measure_closeness([logits], [logits], rule)
    assert found.agreed == found.last_agreed == found.steps == len(logits)
    assert found.kl == 0.0


@given(LOGITS, st.sampled_from(CLIP_RULES))
def test_scores_are_mean_log_probabilities(logits: np.ndarray, rule: ClipRule) -> None:
    x = log_softmax(logits.astype(np.float64))
    expected = x if rule == "last" else np.stack([x[: i + 1].mean(0) for i in range(len(x))])
    np.testing.assert_allclose(score(logits, rule), expected, atol=1e-9)


def test_scores_that_are_equal_by_rounding_do_not_change_the_last_output() -> None:
    assert decide([[1.0, 0.0, 1e-30, 2e-30], [-90.0, 1e-30, 2e-30, 0.0]], "last").tolist() == [0, 2]


def test_pooled_closeness_is_that_of_all_steps() -> None:
    rng = np.random.default_rng(0)
    expected = [rng.normal(size=(n, 5)).astype(np.float32) for n in (3, 8)]
    actual = [x + rng.normal(0, 0.3, x.shape).astype(np.float32) for x in expected]
    parts = [measure_closeness([e], [a], "mean") for e, a in zip(expected, actual, strict=True)]
    both, pooled = measure_closeness(expected, actual, "mean"), parts[0] + parts[1]
    assert replace(pooled, kl=both.kl) == both
    assert pooled.kl == pytest.approx(both.kl)
    assert both.agreed < both.steps


def test_json_has_the_shares_and_is_read_again() -> None:
    closeness = Closeness(
        agreed=9,
        last_agreed=8,
        kl=0.01,
        margins=(MarginRange(least=0.0, steps=4, agreed=3), MarginRange(least=0.5, steps=6, agreed=6)),
    )
    value = closeness.to_json()
    assert (value["agreement"], value["last_agreement"], value["clear_steps"], value["clear_agreement"]) == (
        0.9,
        0.8,
        6,
        1.0,
    )
    assert Closeness.from_json(JsonObject(value, "closeness")) == closeness
    with pytest.raises(ValueError, match="margins hold 0 steps"):
        Closeness.from_json(JsonObject({**value, "margins": []}, "closeness"))
    assert replace(closeness, margins=closeness.margins[:1]).clear_agreement is None


@pytest.mark.parametrize("lengths", [((), ()), ((3,), (4,)), ((3, 2), (3,))])
def test_streams_must_be_the_same(lengths: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    expected, actual = ([np.zeros((n, 4), np.float32) for n in side] for side in lengths)
    with pytest.raises(EdgeAscError, match="expected the same ones"):
        measure_closeness(expected, actual, "last")


def test_ranges_begin_at_zero() -> None:
    assert MARGINS[0] == 0.0
    assert 0.5 in MARGINS
