"""Decision rules of streams."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_asc.errors import ContractError
from edge_asc.jsonobject import JsonObject
from edge_asc.rule import RULE_NAMES, Belief, DecisionRule, parse_rule, softmax

STEP = 0.256
LOGITS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=9), elements=st.floats(-20, 20, width=32)
)
RULES = st.one_of(
    st.sampled_from([DecisionRule("last"), DecisionRule("mean")]),
    st.builds(lambda s: DecisionRule("forgetting", s), st.floats(0.01, 1e4)),
    st.builds(lambda s, w: DecisionRule("sticky", s, w), st.floats(0.01, 1e4), st.floats(0.01, 1.0)),
)


def follow(
    rule: DecisionRule, logits: npt.NDArray[np.floating[Any]], temperature: float = 1.0
) -> npt.NDArray[np.float64]:
    belief = Belief(rule, logits.shape[1], STEP, temperature)
    return np.array([belief.update(row) for row in logits])


@given(logits=LOGITS, rule=RULES, temperature=st.floats(0.2, 5.0))
def test_probabilities_are_a_distribution_and_a_reset_forgets_all(
    logits: npt.NDArray[np.float32], rule: DecisionRule, temperature: float
) -> None:
    belief = Belief(rule, logits.shape[1], STEP, temperature)
    first = np.array([belief.update(row) for row in logits])
    assert np.isfinite(first).all()
    assert (first >= 0.0).all()
    np.testing.assert_allclose(first.sum(axis=1), 1.0, rtol=1e-9)
    belief.reset()
    np.testing.assert_array_equal(first, [belief.update(row) for row in logits])


@given(logits=LOGITS, shift=st.floats(-50, 50, width=32), rule=RULES)
def test_a_number_added_to_all_logits_of_a_step_changes_nothing(
    logits: npt.NDArray[np.float32], shift: float, rule: DecisionRule
) -> None:
    np.testing.assert_allclose(follow(rule, logits.astype(np.float64) + shift), follow(rule, logits), atol=1e-6)


@given(logits=LOGITS)
def test_forgetting_weighs_steps_by_their_age(logits: npt.NDArray[np.float32]) -> None:
    ages = np.arange(len(logits))[::-1] * STEP
    weights = np.exp(-ages / 1.5)
    expected = softmax((weights[:, None] * logits.astype(np.float64)).sum(0) / weights.sum(), 1.7)
    np.testing.assert_allclose(
        follow(DecisionRule("forgetting", 1.5), logits, 1.7)[-1], expected, rtol=1e-6, atol=1e-12
    )


@given(logits=LOGITS)
def test_the_limits_of_sticky_are_the_last_output_and_the_mean(logits: npt.NDArray[np.float32]) -> None:
    np.testing.assert_allclose(
        follow(DecisionRule("sticky", 1e-3), logits), follow(DecisionRule("last"), logits), atol=1e-9
    )
    forever = follow(DecisionRule("sticky", 86_400.0, 0.01), logits)[-1]
    summed = softmax(0.01 * logits.astype(np.float64).sum(axis=0))
    np.testing.assert_allclose(forever, summed, atol=1e-3)


def test_sticky_is_the_forward_filter_of_a_hidden_markov_model() -> None:
    logits = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    stay = math.exp(-STEP / 4.0)
    transitions = stay * np.eye(3) + (1.0 - stay) / 3.0
    belief = np.full(3, 1.0 / 3.0)
    for row, actual in zip(logits, follow(DecisionRule("sticky", 4.0, 0.5), logits, 2.0), strict=True):
        belief = (belief @ transitions) * np.exp(0.5 * row.astype(np.float64) / 2.0)
        belief /= belief.sum()
        np.testing.assert_allclose(actual, belief, rtol=1e-9)


@pytest.mark.parametrize("rule", ["last", "forgetting:2", "sticky:20", "sticky:20:0.3"])
def test_after_an_hour_of_one_label_another_shows_within_seconds(rule: str) -> None:
    belief = Belief(parse_rule(rule), 2, STEP)
    for _ in range(round(3600 / STEP)):
        belief.update([3.0, 0.0])
    steps = next(n for n in range(1, 100) if belief.update([0.0, 3.0])[1] > 0.5)
    assert steps * STEP < 5.0


@given(rule=RULES)
def test_a_rule_is_read_back(rule: DecisionRule) -> None:
    assert DecisionRule.from_json(JsonObject(rule.to_json(), "live")) == rule
    assert parse_rule(str(rule)).name == rule.name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "median",
        "mean:1",
        "forgetting",
        "forgetting:0",
        "forgetting:nan",
        "forgetting:-1",
        "forgetting:1:0.5",
        "sticky:1:2",
        "sticky:1:0",
        "sticky:1:0.5:3",
        "sticky:x",
        "sticky:1e9",
    ],
)
def test_a_rule_of_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ContractError, match="decision rule"):
        parse_rule(text)


def test_only_the_mean_never_forgets() -> None:
    rules = [DecisionRule(name, 0.0 if name in ("last", "mean") else 2.0) for name in RULE_NAMES]
    assert [rule.name for rule in rules if not rule.forgets] == ["mean"]


@pytest.mark.parametrize(
    "rule", [DecisionRule("last"), DecisionRule("forgetting", 1.5), DecisionRule("sticky", 4.0, 0.5)]
)
def test_log_odds_shift_the_logits_of_every_step(rule: DecisionRule) -> None:
    odds, temperature = np.log([1.0, 20.0, 1.0]), 1.7
    shifted, plain = Belief(rule, 3, 0.256, temperature, odds), Belief(rule, 3, 0.256, temperature)
    for row in np.random.default_rng(0).normal(size=(5, 3)):
        np.testing.assert_allclose(shifted.update(row), plain.update(row + temperature * odds))
