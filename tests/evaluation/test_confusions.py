from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edge_asc.evaluation.confusions import Confusion, Confusions


def test_confusions() -> None:
    def clip(*decided: int) -> npt.NDArray[np.float32]:
        return 5.0 * np.eye(3, dtype=np.float32)[list(decided)]

    labels = ("a", "b", "c")
    first = Confusions.of([clip(0, 1), clip(1), clip(2, 2, 0)], [0, 1, 0], labels, "last")
    assert first.counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    mean = Confusions.of([clip(2, 2, 0), clip(2), np.zeros((0, 3), np.float32)], [0, 2, 1], labels, "mean")
    assert mean.counts.tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 1]]  # the clip without a decision is left out
    both = first + mean
    assert (both.clips, both.right) == (5, 3)
    assert both.largest() == [Confusion("a", "b", 1, 3), Confusion("a", "c", 1, 3)]
    assert both.to_json() == {"labels": ["a", "b", "c"], "counts": [[1, 1, 1], [0, 1, 0], [0, 0, 1]]}
