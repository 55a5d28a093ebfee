"""The last decision on each clip, and clips whose label may be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge_asc.data.dataset import Clip
from edge_asc.evaluation import predictions
from edge_asc.evaluation.accuracy import Accuracy, Tally
from edge_asc.evaluation.document import HELD_OUT, Evaluation
from edge_asc.evaluation.predictions import CONFIDENT, KEPT, Ends, Predictions
from edge_asc.frontend import Array

LABELS = ("cat", "dog", "rain", "wind")


def ends_of(*rows: tuple[float, ...]) -> Ends:
    return Ends(LABELS, 1.0, np.array(rows))


def clips_of(*labels: str) -> list[Clip]:
    return [Clip(f"{label}/{i}.wav", label, str(i)) for i, label in enumerate(labels)]


def list_of(ends: Ends, labels: list[str], *, held_out: bool = True) -> Predictions:
    return Predictions.of("tiny", ends, clips_of(*labels), [1] * len(labels), held_out=held_out)


def sure(label: str, share: float = 0.97) -> tuple[float, ...]:
    return tuple(share if each == label else (1 - share) / 3 for each in LABELS)


def test_the_end_of_a_clip_follows_the_rule_and_the_temperature() -> None:
    def logits(*rows: tuple[float, ...]) -> Array:
        return np.array(rows, np.float32)

    streamed = [logits((4, 0, 0, 0), (0, 0, 2, 0)), np.empty((0, 4), np.float32)]
    last, mean = (Ends.of(streamed, LABELS, rule, 2.0).probabilities for rule in ("last", "mean"))
    expected = np.exp([0, 0, 1, 0]) / np.exp([0, 0, 1, 0]).sum()
    assert np.allclose(last[0], expected)
    assert mean[0].argmax() == 0
    assert np.isnan(last[1]).all()  # too short for a decision
    both = Ends.of(streamed[:1], LABELS, "last", 2.0) + Ends.of(streamed[1:], LABELS, "last", 2.0)
    assert np.array_equal(both.probabilities, last, equal_nan=True)


def test_clips_are_listed_with_what_deserves_a_look_first() -> None:
    ends = ends_of(sure("cat"), sure("dog"), sure("dog", 0.4), sure("wind"), sure("dog"), (np.nan,) * 4)
    listed = list_of(ends, ["cat", "cat", "cat", "wind", "dog", "dog"])
    assert [(each.file, each.suspicious, each.is_right) for each in listed.clips[:2]] == [
        ("cat/1.wav", True, False),
        ("cat/2.wav", False, False),
    ]
    assert sorted(each.file for each in listed.clips[2:]) == ["cat/0.wav", "dog/4.wav", "wind/3.wav"]
    first = listed.clips[0]
    assert (first.label, first.decided, first.confidence, first.given, first.fold) == ("cat", "dog", 0.97, 0.01, 1)
    assert len(first.probabilities) == KEPT
    assert listed.confusions.counts == ((1, 2, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1))
    assert [each.file for each in listed.wrong] == ["cat/1.wav", "cat/2.wav"]
    assert listed.suspicious == (first,)


def test_a_clip_is_suspicious_only_where_another_label_is_as_sure_as_it_usually_is() -> None:
    usual = [sure("dog", 0.95)] * 4
    high, low = sure("dog", 0.96), sure("dog", 0.8)  # low is above CONFIDENT, and below what dogs have
    assert CONFIDENT < 0.8
    listed = list_of(ends_of(*usual, high, low), ["dog"] * 4 + ["cat"] * 2)
    assert [each.file for each in listed.suspicious] == ["cat/4.wav"]
    unsure = [sure("dog", 0.4)] * 4
    doubtful = sure("dog", CONFIDENT - 0.01)  # more than dogs have, and no confidence
    assert not list_of(ends_of(*unsure, doubtful), ["dog"] * 4 + ["cat"]).suspicious
    foreign = sure("wind", 0.96)  # nothing shows how sure of wind the model is: no clip has that label
    assert not list_of(ends_of(*usual, foreign), ["dog"] * 4 + ["cat"]).suspicious


def test_nothing_is_suspicious_where_the_model_may_have_seen_the_clips() -> None:
    ends = ends_of(sure("dog"), sure("dog"))
    assert not list_of(ends, ["dog", "cat"], held_out=False).suspicious
    assert list_of(ends, ["dog", "cat"]).suspicious


def test_the_list_is_bounded_and_the_confusions_count_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "MOST_CLIPS", 3)
    listed = list_of(ends_of(*[sure("dog")] * 5, sure("cat")), ["dog"] * 5 + ["dog"])
    assert len(listed.clips) == 3
    assert not listed.clips[0].is_right
    assert listed.confusions.clips == 6


def test_the_document_names_the_folder_relative_to_its_own(tmp_path: Path) -> None:
    tally = Tally(decision="last", count_by_class={"cat": 1}, right_by_class={"last": {"cat": 1}, "mean": {"cat": 1}})
    result = Accuracy("tiny", "torch", 2, LABELS, "last", 0.0, (), tally)
    sounds, checkpoint = tmp_path / "my sounds", tmp_path / "runs/my"
    sounds.mkdir()
    listed = list_of(ends_of(sure("dog"), sure("dog")), ["dog", "cat"])
    evaluation = Evaluation("my sounds", sounds, None, (result,), (listed,))
    path = evaluation.write(checkpoint)
    assert path == checkpoint / HELD_OUT
    value = json.loads(path.read_text())
    assert value["folder"] == "../../my sounds"
    assert (path.parent / value["folder"]).resolve() == sounds.resolve()
    assert value["predictions"][0]["clips"][0]["probabilities"]["dog"] == 0.97
    assert Path(str(evaluation.to_json()["folder"])) == sounds.resolve()
