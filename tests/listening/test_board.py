"""What the page shows of a stream."""

from __future__ import annotations

import json
import queue
from datetime import UTC, datetime, timedelta

import pytest

from edge_asc.detection.event import SoundEvent
from edge_asc.listening import board as module
from edge_asc.listening.board import Board
from edge_asc.listening.sink import Change
from listeners import make_listener, steps

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    now = [NOON]
    monkeypatch.setattr(module, "now", lambda: now[0])
    return now


def make_board() -> Board:
    return Board("fake", ["rain"], clock=lambda: 0.0)


def change(start: float, end: float | None, label: str = "rain") -> Change:
    return Change("microphone", SoundEvent(label, start, end, 0.9, 0.8, NOON + timedelta(seconds=start)))


def drain(reader: queue.Queue[tuple[str, str] | None]) -> list[tuple[str, object]]:
    messages = []
    while not reader.empty():
        message = reader.get_nowait()
        messages.append((message[0], json.loads(message[1])) if message else ("end", None))
    return messages


def test_an_event_replaces_its_start(clock: list[datetime]) -> None:
    board = make_board()
    board.receive(change(0.0, None))
    board.receive(change(1.0, None, "other"))
    board.receive(change(0.0, 2.0))
    shown = board.snapshot()["events"]
    assert isinstance(shown, list)
    assert [(event["label"], event["end"]) for event in shown] == [("other", None), ("rain", 2.0)]


def test_events_of_more_than_an_hour_ago_are_gone_and_those_that_last_stay(clock: list[datetime]) -> None:
    board = make_board()
    board.receive(change(0.0, 10.0))
    board.receive(change(20.0, None))
    clock[0] = NOON + timedelta(hours=2)
    shown = board.snapshot()["events"]
    assert [event["start"] for event in shown] == [20.0]  # type: ignore[union-attr, index, call-overload]
    board.receive(change(7000.0, 7100.0))
    board.receive(change(20.0, 7150.0))
    assert len(board._events) == 2


def test_the_number_of_events_is_bounded(clock: list[datetime]) -> None:
    board = make_board()
    for number in range(module.MOST + 10):
        board.receive(change(float(number % 3000), number % 3000 + 0.5))
    assert len(board._events) == module.MOST


def test_a_reader_gets_all_there_is_and_then_changes() -> None:
    board = make_board()
    listener = make_listener(board)
    listener.push(steps("rain", "rain"))
    reader = board.subscribe()
    listener.push(steps("-"))
    listener.note("lost")
    (name, all_), *rest = drain(reader)
    assert name == "all"
    assert isinstance(all_, dict)
    assert (all_["model"], all_["source"], all_["state"]["label"]) == ("fake", "microphone", "rain")
    assert all_["state"]["level"] == -20.0
    assert [name for name, _ in rest] == ["change", "note"]
    board.unsubscribe(reader)
    listener.note("back")
    assert drain(reader) == []


def test_states_are_not_sent_more_often_than_anybody_can_see() -> None:
    now = [0.0]
    board = Board("fake", ["rain"], clock=lambda: now[0])
    listener = make_listener(board)
    reader = board.subscribe()
    for _ in range(100):  # 25 s of audio in 1 s
        listener.push(steps("-"))
        now[0] += 0.01
    states = [name for name, _ in drain(reader) if name == "state"]
    assert len(states) == 5


def test_silence_is_no_number_of_json() -> None:
    board = make_board()
    reader = board.subscribe()
    make_listener(board).push(steps(""))
    (_, state) = drain(reader)[-1]
    assert isinstance(state, dict)
    assert state["level"] is None


def test_a_slow_reader_is_dropped_and_the_others_go_on() -> None:
    board = make_board()
    slow, quick = board.subscribe(), board.subscribe()
    for number in range(module.WAITING + 10):
        board.note("x", str(number))
        if number % 10 == 0:
            drain(quick)
    assert drain(slow) == [("end", None)]
    board.note("x", "last")
    assert drain(slow) == []
    assert drain(quick)[-1][0] == "note"
    board.close()
    assert drain(quick) == [("end", None)]


def test_health_is_that_of_the_audio() -> None:
    now = [0.0]
    board = Board("fake", [], clock=lambda: now[0])
    assert not board.is_live
    make_listener(board).push(steps("-"))
    assert board.is_live
    now[0] = module.STALLED
    assert not board.is_live
