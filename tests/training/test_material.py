from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_asc.data import FeatureCache
from edge_asc.data.dataset import OTHER
from edge_asc.data.generated import write_scenes
from edge_asc.frontend import FrontEnd
from edge_asc.training.material import Joined, Part, gather, merge_credits
from edge_asc.training.synthetic import KINDS, synthesise, synthesise_clips


def test_joined_features_are_those_of_their_parts() -> None:
    first, second = [np.full((2, 4), i, np.float32) for i in range(3)], [np.full((1, 4), 9, np.float32)]
    joined = Joined([first, second])
    assert len(joined) == 4
    assert [int(each[0, 0]) for each in joined] == [0, 1, 2, 9]
    assert [int(each[0, 0]) for each in joined[2:]] == [2, 9]


def test_material_of_several_parts(tmp_path: Path) -> None:
    dataset = write_scenes(tmp_path / "data", 2, 0, seconds=1.0)
    cache = FeatureCache(tmp_path / "cache", FrontEnd())
    own, foreign = Part(dataset, dataset.clips[:4]), Part(dataset, dataset.clips[4:6])
    plain = gather([own], 0, cache)
    assert plain.clips == own.clips
    both = gather([own, foreign], 1, cache)
    assert [clip.label for clip in both.clips[4:]] == [OTHER] * (2 + len(KINDS))
    assert both.targets((*dataset.labels, OTHER))[4:] == [len(dataset.labels)] * (2 + len(KINDS))
    assert len(both.features) == len(both.clips)
    np.testing.assert_array_equal(both.features[4], cache.features(dataset, foreign.clips)[0])
    digests = {plain.digest, both.digest, gather([own, foreign], 2, cache).digest}
    assert len(digests) == 3


def test_credits_are_merged_by_licence_and_author() -> None:
    mine = {"CC0": {"b": ["2"]}, "CC-BY": {"a": ["3", "1"]}}
    theirs = {"CC-BY": {"a": ["1", "0"], "c": ["9"]}}
    assert merge_credits(mine, theirs) == {"CC-BY": {"a": ["0", "1", "3"], "c": ["9"]}, "CC0": {"b": ["2"]}}
    assert list(merge_credits(mine, theirs)) == ["CC-BY", "CC0"]


@pytest.mark.parametrize("kind", KINDS)
def test_synthetic_sounds(kind: str) -> None:
    sounds = [synthesise(kind, number) for number in range(4)]
    for samples in sounds:
        assert samples.shape == (80_000,)
        assert samples.dtype == np.float32
        assert np.abs(samples).max() == pytest.approx(0.0 if kind == "silence" else 0.5)
    np.testing.assert_array_equal(sounds[0], synthesise(kind, 0))
    if kind != "silence":
        assert not np.array_equal(sounds[0], sounds[1])


def test_synthetic_clips() -> None:
    clips, features = synthesise_clips(2, OTHER, FrontEnd(), first=5)
    assert len(clips) == len(features) == 2 * len(KINDS)
    assert {clip.label for clip in clips} == {OTHER}
    assert len({clip.filename for clip in clips}) == len(clips)
    assert clips[0].filename == "synthetic/silence-5"
    assert all(each.shape == (156, 256) for each in features)
