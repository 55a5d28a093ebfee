from __future__ import annotations

from pathlib import Path

import pytest

from edge_asc.data.dataset import Clip
from edge_asc.errors import EdgeAscError
from edge_asc.training.leakage import check_leakage, clip_id, record_seen, stem_id, trained_on


def clip(name: str) -> Clip:
    return Clip(name, "park", name, "")


def test_clips_of_one_name_in_two_folders_are_different() -> None:
    assert clip_id("a/rec 1.wav") != clip_id("b/rec 1.wav")
    assert clip_id("audio/rec 1.wav") == clip_id("audio/rec 1.flac")  # the same recording in another format
    training = record_seen([clip("a/rec 1.wav")], {}, [])
    assert trained_on(training, ["a/rec 1.wav", "b/rec 1.wav", "a/rec 1.ogg"]) == 2


def test_checkpoints_of_version_0_1_carry_stems() -> None:
    old = {"clip_ids": [stem_id("audio/x.wav")], "taught_clip_ids": [stem_id("audio/y.wav")]}
    assert trained_on(old, ["other/x.flac", "audio/y.wav", "audio/z.wav"]) == 2
    continued = record_seen([clip("audio/z.wav")], old, [])
    assert trained_on(continued, ["audio/x.wav", "audio/y.wav", "audio/z.wav", "audio/w.wav"]) == 3
    taught = record_seen([clip("audio/z.wav")], {}, [old])
    assert taught["clips_seen"] == [clip_id("audio/z.wav")]
    assert trained_on(taught, ["audio/x.wav", "audio/y.wav", "audio/z.wav", "audio/w.wav"]) == 3


def test_clips_of_teachers_and_earlier_trainings_are_remembered() -> None:
    first = record_seen([clip("1.wav")], {}, [])
    second = record_seen([clip("2.wav")], first, [])
    third = record_seen([clip("3.wav")], {}, [second])
    assert second["clips_seen"] == sorted([clip_id("1.wav"), clip_id("2.wav")])
    assert third["clips_seen"] == [clip_id("3.wav")]
    assert trained_on(third, ["1.wav", "2.wav", "3.wav"]) == 3
    assert set(first) == {"clips_seen"}  # nothing empty is kept, but for the clips themselves


def test_leakage_is_an_error() -> None:
    used = [
        (Path("clean"), record_seen([clip("1.wav")], {}, [])),
        (Path("dirty"), record_seen([clip("2.wav")], {}, [])),
    ]
    check_leakage(used, [clip("3.wav")], "fold 1 holds out")
    with pytest.raises(EdgeAscError, match="dirty: was trained on 1 of the 2 clips that fold 4 holds out; expected"):
        check_leakage(used, [clip("2.wav"), clip("3.wav")], "fold 4 holds out")


def test_a_recording_under_another_name_is_known_by_its_content() -> None:
    digests = ["1" * 64, "2" * 64]
    first = record_seen([clip("1.wav"), clip("2.wav")], {}, [], digests)
    assert first["audio_seen"] == ["1" * 10, "2" * 10]
    assert trained_on(first, ["other.wav", "2.wav", "3.wav"], ["1" * 64, "2" * 64, "3" * 64]) == 2
    assert trained_on(first, ["other.wav"]) == 0
    continued = record_seen([clip("3.wav")], first, [], ["3" * 64])
    pupil = record_seen([clip("4.wav")], {}, [first], ["4" * 64])
    assert [trained_on(each, ["other.wav"], ["1" * 64]) for each in (continued, pupil)] == [1, 1]
    with pytest.raises(EdgeAscError, match="all: was trained on 1 of the 1 clips that fold 2 holds out"):
        check_leakage([(Path("all"), first)], [clip("other.wav")], "fold 2 holds out", ["2" * 64])


def test_a_checkpoint_without_digests_is_compared_by_name() -> None:
    old = record_seen([clip("1.wav")], {}, [])
    assert "audio_seen" not in old
    assert trained_on(old, ["1.wav", "2.wav"], ["1" * 64, "2" * 64]) == 1
