"""Events from probabilities."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asc.detection.detector import EventDetector, find_runs
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules, default_rules
from edge_asc.errors import ContractError
from edge_asc.jsonobject import JsonObject
from edge_asc.rule import DecisionRule
from edge_asc.unknown import UnknownRule

STEP = 0.25
LABELS = ("rain", "bells", "other")


def follow(rows: list[list[float]], rules: EventRules, level: float = 0.0) -> list[SoundEvent]:
    detector = EventDetector(LABELS, rules, STEP)
    changes = [c for i, row in enumerate(rows, 1) for c in detector.update(i * STEP, np.array(row), level)]
    return changes + detector.finish()


def ended(changes: list[SoundEvent]) -> list[tuple[str, float, float | None]]:
    return [(event.label, event.start, event.end) for event in changes if event.end is not None]


def test_an_event_has_a_start_an_end_and_hysteresis() -> None:
    rules = EventRules(threshold=0.5, release=0.6, minimum=0.5)
    rows = [[p, 0.0, 0.0] for p in (0.1, 0.6, 0.4, 0.9, 0.29, 0.6)]
    changes = follow(rows, rules)
    assert [(event.start, event.end) for event in changes] == [(0.25, None), (0.25, 1.0)]
    first, last = changes
    assert (first.peak, last.peak) == (0.6, 0.9)
    assert last.mean == pytest.approx((0.6 + 0.4 + 0.9) / 3)
    assert last.duration == 0.75


def test_the_last_event_ends_with_the_stream() -> None:
    assert ended(follow([[0.9, 0.0, 0.0]] * 4, EventRules())) == [("rain", 0.0, 1.0)]


def test_thresholds_are_by_label_and_some_labels_are_never_reported() -> None:
    rules = EventRules(thresholds={"bells": 0.2}, ignored=("other",))
    assert ended(follow([[0.3, 0.3, 0.9]] * 4, rules)) == [("bells", 0.0, 1.0)]


def test_events_overlap() -> None:
    rules = EventRules(threshold=0.3)
    assert ended(follow([[0.5, 0.5, 0.0]] * 3, rules)) == [("rain", 0.0, 0.75), ("bells", 0.0, 0.75)]


def test_a_long_event_is_cut() -> None:
    rules = EventRules(minimum=0.25, maximum=1.0)
    assert ended(follow([[0.9, 0.0, 0.0]] * 10, rules)) == [("rain", 0.0, 1.0), ("rain", 1.0, 2.0), ("rain", 2.0, 2.5)]


def test_digital_silence_is_no_event() -> None:
    assert follow([[0.9, 0.0, 0.0]] * 10, EventRules(), level=-np.inf) == []
    assert follow([[0.9, 0.0, 0.0]] * 10, EventRules(), level=-80.0)


def test_an_event_knows_the_time_of_day() -> None:
    detector = EventDetector(LABELS, EventRules(minimum=0.25), STEP)
    detector.set_clock(datetime(2026, 1, 1, 12, 0, 10, tzinfo=UTC), 10.0)
    (event,) = detector.update(12.0, np.array([0.9, 0.0, 0.0]))
    assert event.to_json() == {
        "event": "start",
        "label": "rain",
        "start": 11.75,
        "end": None,
        "peak": 0.9,
        "mean": 0.9,
        "time": "2026-01-01T12:00:11.750+00:00",
    }


@given(
    values=st.lists(st.sampled_from([0.0, 0.2, 0.31, 0.5, 0.7, 1.0]), max_size=40),
    threshold=st.sampled_from([0.3, 0.5, 0.9]),
    release=st.sampled_from([0.3, 0.6, 1.0]),
    minimum=st.sampled_from([0.0, 0.25, 0.5, 2.0]),
)
def test_events_of_a_whole_stream_are_those_of_the_detector(
    values: list[float], threshold: float, release: float, minimum: float
) -> None:
    rules = EventRules(threshold=threshold, release=release, minimum=minimum)
    expected = ended(follow([[p, 0.0, 0.0] for p in values], rules))
    runs = find_runs(np.array(values), threshold, rules, STEP)
    assert [("rain", a * STEP, b * STEP) for a, b in runs] == expected


def test_rules_are_read_back() -> None:
    rules = EventRules(
        0.4, {"rain": 0.7}, 0.5, 1.0, 60.0, ("other",), DecisionRule("sticky", 9.0, 0.5), 3.0, 2.5, "a stream"
    )
    assert EventRules.from_json(JsonObject(rules.to_json(), "events")) == rules
    assert EventRules.from_json(JsonObject(EventRules().to_json(), "events")) == EventRules()


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"threshold": float("nan")},
        {"thresholds": {"rain": 1.1}},
        {"release": -0.1},
        {"minimum": -1.0},
        {"minimum": 2.0, "maximum": 2.0},
        {"maximum": float("inf")},
        {"other_odds": 0.0},
        {"other_odds": float("inf")},
        {"false_alarms_per_day": -1.0},
    ],
)
def test_rules_of_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ContractError, match="events: "):
        EventRules(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_model_without_rules_ignores_what_is_no_sound_of_interest() -> None:
    labels = ("rain", "none", "Silence")
    assert default_rules(labels) == EventRules(ignored=("Silence",))
    rules = default_rules(labels, UnknownRule("none", 0.01, 0.05))
    assert set(rules.ignored) == {"Silence", "none"}
    assert rules.other_odds == pytest.approx(99.0)
    # A threshold above one half asks for no less evidence than the model's own odds.
    assert default_rules(labels, UnknownRule("none", 0.9, 0.05)).other_odds == 1.0
