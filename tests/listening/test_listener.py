"""A stream that is followed: events, gaps, the time of day and the level."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asc.listening.listener import measure_level
from edge_asc.listening.sink import Change, Moment, Sink
from listeners import RATE, STEP, Collector, make_listener, steps

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SCENE = ("-", "rain", "rain", "rain", "-", "church_bells", "church_bells", "", "", "rain", "rain", "rain")


class Watch:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def test_events_have_a_start_and_an_end_and_the_last_one_ends_with_the_stream() -> None:
    sink = Collector()
    listener = make_listener(sink)
    listener.push(steps(*SCENE))
    assert [c.event.end for c in sink.changes] == [None, 1.0, None, 1.75, None]
    listener.finish()
    assert sink.ended == [("rain", 0.25, 1.0), ("church_bells", 1.25, 1.75), ("rain", 2.25, 3.0)]
    assert {change.source for change in sink.changes} == {"microphone"}
    listener.finish()
    assert len(sink.changes) == 6


@given(st.lists(st.integers(0, len(SCENE) * STEP), max_size=8))
def test_any_chunking_gives_the_same_events_and_levels(cuts: list[int]) -> None:
    whole, parts = Collector(), Collector()
    listener = make_listener(whole)
    listener.push(steps(*SCENE))
    listener.finish()
    listener = make_listener(parts)
    for chunk in np.split(steps(*SCENE), sorted(cuts)):
        listener.push(chunk)
    listener.finish()
    assert parts.changes == whole.changes
    assert [m.level for m in parts.moments] == [m.level for m in whole.moments]
    assert [m.time for m in parts.moments] == [m.time for m in whole.moments]
    assert all(len(m.samples) == STEP for m in parts.moments)


def test_the_level_is_that_of_the_step() -> None:
    sink = Collector()
    make_listener(sink).push(steps("rain", "church_bells", ""))
    assert [moment.level for moment in sink.moments] == pytest.approx([-20.0, 20 * np.log10(0.2), -np.inf], abs=1e-4)
    assert measure_level(np.full(8, -1.0, np.float32)) == 0.0


def test_the_time_of_day_is_that_of_the_start() -> None:
    sink, watch = Collector(), Watch()
    listener = make_listener(sink, clock=watch)
    for label in ("-", "rain", "rain", "-"):
        watch.advance(0.25)
        listener.push(steps(label))
    assert [c.event.began for c in sink.changes] == [NOON + timedelta(seconds=0.25)] * 2
    assert [m.wall for m in sink.moments] == [NOON + timedelta(seconds=0.25 * i) for i in range(1, 5)]


def test_the_last_sample_of_a_long_block_is_of_now() -> None:
    sink, watch = Collector(), Watch()
    watch.advance(1.0)
    make_listener(sink, clock=watch).push(steps("-", "rain", "rain", "-"))
    assert [c.event.began for c in sink.changes] == [NOON + timedelta(seconds=0.25)] * 2


def test_a_clock_that_is_set_changes_later_events_alone() -> None:
    sink, watch = Collector(), Watch()
    listener = make_listener(sink, clock=watch)
    watch.advance(0.5)
    listener.push(steps("rain", "rain"))
    watch.advance(3600.5)
    listener.push(steps("-", "rain"))
    watch.advance(0.25)
    listener.push(steps("rain"))
    assert [c.event.began for c in sink.changes] == [NOON, NOON, NOON + timedelta(seconds=3600.75)]


def test_a_gap_ends_events_and_moves_the_time() -> None:
    sink, watch = Collector(), Watch()
    listener = make_listener(sink, clock=watch)
    watch.advance(0.75)
    listener.push(steps("rain", "rain", "rain"))
    listener.interrupt(0.0)  # lost
    assert sink.ended == [("rain", 0.0, 0.75)]
    watch.advance(100.0)
    listener.interrupt(100.0)  # back
    assert listener.time == 100.75
    watch.advance(1.0)
    listener.push(steps("rain", "rain", "-", "-"))
    assert sink.ended == [("rain", 0.0, 0.75), ("rain", 100.75, 101.25)]
    assert sink.changes[-1].event.began == NOON + timedelta(seconds=100.75)


def test_gaps_add_up_also_where_there_is_less_than_a_step_between_them() -> None:
    sink = Collector()
    listener = make_listener(sink)
    listener.push(steps("-"))
    listener.interrupt(10.0)
    listener.push(steps("rain")[: STEP // 2])
    listener.interrupt(5.0)
    assert listener.time == pytest.approx(0.25 + 10.0 + 0.125 + 5.0)
    listener.push(steps("rain", "rain"))
    listener.finish()
    assert sink.ended == [("rain", 15.375, 15.875)]
    assert sink.moments[-1].samples.tolist() == steps("rain").tolist()


class Broken(Sink):
    def receive(self, change: Change) -> None:
        raise BrokenPipeError(errno.EPIPE, "nobody reads")

    def observe(self, moment: Moment) -> None:
        raise OSError(errno.ENOSPC, "full")


def test_a_sink_that_fails_keeps_no_event_from_the_others() -> None:
    sink = Collector()
    listener = make_listener(Broken(), sink)
    with pytest.raises(OSError, match="full"):
        listener.push(steps("-"))
    with pytest.raises(OSError, match="full"):
        listener.push(steps("rain"))
    with pytest.raises(BrokenPipeError):
        listener.push(steps("rain"))
    with pytest.raises(BrokenPipeError):
        listener.finish()
    assert sink.ended == [("rain", 0.25, 0.75)]
    assert len(sink.changes) == 2


def test_notes_have_the_name_of_the_source() -> None:
    sink = Collector()
    make_listener(sink).note("lost")
    assert sink.notes == [("microphone", "lost")]


def test_samples_are_counted_at_the_rate_of_the_model() -> None:
    listener = make_listener()
    listener.push(np.zeros(RATE, np.float32))
    assert listener.time == 1.0
