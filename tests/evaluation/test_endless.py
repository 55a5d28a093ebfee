"""Endless streams of known sounds, and what models make of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from artefacts import Artefacts, sound
from edge_asc import audio
from edge_asc.cli import cli
from edge_asc.contract import StreamContract
from edge_asc.detection.detector import find_runs
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import EventRules
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.endless import DAY, Followed, calibrate, follow, score_label, score_stream
from edge_asc.evaluation.soundscape import Interval, Mixture, Soundscape
from edge_asc.frontend import Array
from edge_asc.listening.listener import Listener
from edge_asc.listening.sink import Change, Moment, Sink
from edge_asc.rule import DecisionRule
from edge_asc.streaming import StreamingClassifier

RATE = 16000
STEP = 0.256


def read(name: str) -> Array:
    """A clip that is a constant, so that a mixture shows it: 1 s of 0.1 for "a1", 0.2 for "b2"."""
    return np.full(RATE, float(name[1:]) / 10, np.float32)


def mix(mixture: Mixture, background: tuple[str, ...] = ()) -> tuple[Array, list[Interval]]:
    soundscape = Soundscape({"b": ["b2"], "a": ["a1"]}, background, read, mixture)
    return np.concatenate(list(soundscape.blocks())), soundscape.intervals


def test_sounds_are_where_the_intervals_say() -> None:
    mixture = Mixture(60.0, event=3.0, pause=5.0, gain=(0.0, 0.0), seed=1)
    samples, intervals = mix(mixture)
    assert samples.shape == (60 * RATE,)
    assert len(intervals) > 3
    silent = np.ones(len(samples), bool)
    for interval in intervals:
        start, end = round(interval.start * RATE), round(interval.end * RATE)
        silent[start:end] = False
        # Fades at the joints of clips leave most of them as they are.
        assert np.median(samples[start:end]) == pytest.approx({"a": 0.1, "b": 0.2}[interval.label], abs=2e-3)
        assert interval.end - interval.start <= 3.0 + 1e-6
    assert 0.0 < np.abs(samples[silent]).max() < 0.01  # faint noise


def test_without_pauses_the_labels_alternate() -> None:
    _, intervals = mix(Mixture(30.0, event=2.0, pause=0.0))
    assert all(a.label != b.label and a.end == pytest.approx(b.start) for a, b in pairwise(intervals))
    assert intervals[-1].end == 30.0


def test_the_seed_determines_everything_and_the_background_has_its_gain() -> None:
    mixture = Mixture(25.0, pause=10.0, gain=(-6.0, 0.0), background=-20.0, seed=3, background_pause=0.0)
    first, intervals = mix(mixture, ("n5",))
    again, same = mix(mixture, ("n5",))
    np.testing.assert_array_equal(first, again)
    assert intervals == same
    other, _ = mix(replace(mixture, seed=4), ("n5",))
    assert not np.array_equal(first, other)
    assert np.median(first) == pytest.approx(0.05, abs=1e-3)


def test_the_background_has_pauses() -> None:
    # Sounds of the background last 1 s each, after pauses of 4 s: there is faint noise for four fifths of the time.
    mixture = Mixture(3600.0, pause=1e6, background=-20.0, seed=3, background_pause=4.0)
    samples, _ = mix(mixture, ("n5",))
    assert np.mean(np.abs(samples) > 0.03) == pytest.approx(0.2, abs=0.02)
    assert np.median(np.abs(samples)) < 1e-3


@pytest.mark.parametrize(
    "wrong", [{"seconds": 0.0}, {"event": -1.0}, {"pause": -1.0}, {"background_pause": -1.0}, {"gain": (0.0, -1.0)}]
)
def test_mixtures_of_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EdgeAscError, match="cannot be mixed"):
        Mixture(**{"seconds": 1.0, **wrong})


def test_no_sounds_are_refused() -> None:
    with pytest.raises(EdgeAscError, match="no clips"):
        Soundscape({"a": []}, (), read, Mixture(1.0))


@pytest.fixture
def contract(artefacts: Artefacts) -> StreamContract:
    return open_runtime(artefacts.steps["onnx"]).contract


def followed(contract: StreamContract, rows: dict[int, tuple[int, float]], steps: int = 400) -> Followed:
    """Probabilities that are 0 but for some steps: the label's index and its probability."""
    p = np.zeros((steps, len(contract.labels)), np.float32)
    answers = np.zeros(steps, np.int16)
    for step, (label, value) in rows.items():
        p[step, label], answers[step] = value, label
    return Followed(contract, DecisionRule("last"), STEP, p, answers)


def test_detections_false_alarms_and_delays(contract: StreamContract) -> None:
    label = contract.labels[1]
    rows = dict.fromkeys((*range(100, 110), *range(300, 310)), (1, 0.9))
    intervals = [Interval(label, 98 * STEP, 120 * STEP), Interval(label, 200 * STEP, 220 * STEP)]
    score = score_label(followed(contract, rows), label, intervals, EventRules(minimum=2 * STEP), 0.5)
    assert (score.sounds, score.detected, score.false_alarms) == (2, 1, 1)
    assert score.detection_rate == 0.5
    assert score.delay == pytest.approx(4 * STEP)
    everything = score_stream(followed(contract, rows), intervals, EventRules(minimum=2 * STEP))
    assert everything.total == score
    assert everything.labels[label] == score
    # Ten of the 42 steps within sounds are right.
    assert everything.error_rate == pytest.approx(1.0 - 10 / 42)
    assert everything.changes_per_minute == pytest.approx(4 / (400 * STEP / 60))
    assert everything.seconds_to_label == pytest.approx(3 * STEP)
    assert everything.to_json()["total"]["false_alarms_per_day"] == pytest.approx(DAY / (400 * STEP))  # type: ignore[index,call-overload]


def test_calibration_takes_the_lowest_threshold_with_few_enough_false_alarms(contract: StreamContract) -> None:
    steps, label = round(2 * DAY / STEP) + 1, contract.labels[1]
    rows = {1000 + 100 * i + k: (1 + i % 2, 0.3 + 0.05 * i) for i in range(10) for k in range(3)}
    model = followed(contract, rows, steps)
    rules = EventRules(thresholds={label: 0.2}, minimum=2 * STEP, ignored=contract.labels[3:])
    chosen = calibrate(model, [], rules, 3.0, "a stream")
    assert 0.45 < chosen.threshold <= 0.5  # of ten alarms of two labels, from 0.3 to 0.75, six are left
    assert chosen.thresholds == {}
    assert (chosen.false_alarms_per_day, chosen.measured_on) == (3.0, "a stream")
    assert score_stream(model, [], chosen).total.false_alarms == 6
    with pytest.raises(EdgeAscError, match="cannot be judged in"):
        calibrate(model, [], rules, 0.5, "a stream")


def test_halves_of_a_stream_have_their_own_sounds(contract: StreamContract) -> None:
    first, second = followed(contract, {300: (1, 0.9)}).split()
    sound = Interval(contract.labels[1], 299 * STEP, 305 * STEP)
    assert first.select([sound]) == []
    (moved,) = second.select([sound])
    assert moved.start == pytest.approx(99 * STEP)
    assert second.probabilities[100, 1] == np.float32(0.9)


def test_a_stream_is_followed_as_it_is_listened_to(artefacts: Artefacts) -> None:
    runtime, rule = open_runtime(artefacts.steps["onnx"]), DecisionRule("sticky", 1.0)
    rules = EventRules(decision=DecisionRule("forgetting", 1.0))
    soundscape = Soundscape({"a": ["a1"]}, (), read, Mixture(23.0, pause=3.0))
    (result,) = follow(soundscape, [(runtime, rule, rules)])

    class Recorder(Sink):
        def __init__(self) -> None:
            self.answers: list[str] = []
            self.events: list[SoundEvent] = []

        def observe(self, moment: Moment) -> None:
            self.answers.append(moment.decision.answer)

        def receive(self, change: Change) -> None:
            if change.event.end is not None:
                self.events.append(change.event)

    threshold = float(np.median(result.probabilities[:, 0]))
    rules, recorder = replace(rules, threshold=threshold), Recorder()
    listener = Listener("x", StreamingClassifier(runtime, decision=rule), rules, [recorder])
    for block in soundscape.blocks():
        listener.push(block)
    listener.finish()
    assert [result.contract.labels[i] for i in result.answers] == recorder.answers
    for index, label in enumerate(result.contract.labels):
        runs = find_runs(result.probabilities[:, index].astype(np.float64), threshold, rules, STEP)
        events = [event for event in recorder.events if event.label == label]
        np.testing.assert_allclose([event.start for event in events], runs[:, 0] * STEP)
        np.testing.assert_allclose([event.end or 0.0 for event in events], runs[:, 1] * STEP)
    assert recorder.events
    assert result.seconds == pytest.approx(23.0, abs=STEP)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of two labels that the test models have."""
    folder = tmp_path_factory.mktemp("stream") / "data"
    (folder / "audio").mkdir(parents=True)
    rows = ["filename\tscene_label\tidentifier\tsource_label"]
    for number in range(4):
        name, label = f"audio/{number}.wav", "ab"[number % 2]
        audio.write(folder / name, sound(2, number), RATE)
        rows.append(f"{name}\t{label}\tplace-{number}\ta")
    (folder / "meta.csv").write_text("\n".join(rows) + "\n")
    return folder


def test_evaluate_stream_writes_calibrated_rules_into_an_artefact(
    artefacts: Artefacts, data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(artefacts.steps["onnx"].read_bytes())
    arguments = ["evaluate", str(data), "--stream", "--hours", "0.05", "--model", str(model)]
    result = CliRunner().invoke(
        cli, [*arguments, "--calibrate", "90000", "--decision", "forgetting:3", "--event-decision", "last"]
    )
    assert result.exit_code == 0, result.output
    contract = open_runtime(model).contract
    assert contract.events is not None
    assert contract.events.false_alarms_per_day == 90000
    assert contract.live == DecisionRule("forgetting", 3.0)
    assert contract.events.decision == DecisionRule("last")
    assert "false alarms a day" in result.output


@pytest.mark.parametrize(
    "options",
    [["--calibrate", "5"], ["--event-decision", "last"], ["--decision", "last"], ["--stream", "--whole-clip"]],
)
def test_options_that_do_not_go_together(data: Path, options: list[str]) -> None:
    result = CliRunner().invoke(cli, ["evaluate", str(data), *options])
    assert result.exit_code == 2
