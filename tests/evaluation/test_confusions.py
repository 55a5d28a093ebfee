from __future__ import annotations

import numpy as np

from edge_asc.evaluation.confusions import ClassCounts, Confusion, Confusions


def test_confusions() -> None:
    labels = ("a", "b", "c", "unused")
    confusions = Confusions.of(np.array([0, 0, 1, 2, 1]), np.array([0, 0, 0, 0, 1]), labels)
    assert confusions.counts == ((2, 1, 1, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 0))
    assert (confusions.clips, confusions.right) == (5, 3)
    assert confusions.largest() == [Confusion("a", "b", 1, 4), Confusion("a", "c", 1, 4)]
    occurring = confusions.occurring()
    assert occurring == Confusions(("a", "b", "c"), ((2, 1, 1), (0, 1, 0), (0, 0, 0)))
    assert occurring.to_json() == {"labels": ("a", "b", "c"), "counts": ((2, 1, 1), (0, 1, 0), (0, 0, 0))}
    by_class = occurring.by_class()
    assert by_class == [ClassCounts("a", 4, 2, 2), ClassCounts("b", 1, 2, 1), ClassCounts("c", 0, 1, 0)]
    assert [each.recall for each in by_class] == [0.5, 1.0, None]
    assert [each.precision for each in by_class] == [1.0, 0.5, 0.0]
