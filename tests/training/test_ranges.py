from __future__ import annotations

import numpy as np

from edge_asc.training.ranges import MOST_LENGTHS, _even_out


def test_clips_of_many_lengths_are_brought_to_one() -> None:
    few = [np.full((20 + number % MOST_LENGTHS, 2), number, np.float32) for number in range(20)]
    assert all(mine is theirs for mine, theirs in zip(_even_out(few), few, strict=True))
    many = [np.arange(2 * length, dtype=np.float32).reshape(-1, 2) for length in range(20, 41)]
    even = _even_out(many)
    assert {clip.shape for clip in even} == {(24, 2)}  # the median, 30, in whole steps of 8
    np.testing.assert_array_equal(even[0], np.concatenate([many[0], many[0][:4]]))
    np.testing.assert_array_equal(even[-1], many[-1][:24])
