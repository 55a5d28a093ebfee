"""Closeness: how far the outputs of a model are from those of a reference, where it matters and where it does not.

Rounding changes decisions between labels that are nearly as likely, which says little about a model. So decisions are
counted by the margin of the reference's, and probabilities are compared by their divergence.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge_asc.closeness import Closeness, MarginRange
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import Scores, score
from edge_asc.frontend import Array
from edge_asc.rule import ClipRule

# Starts of the ranges of margins.
MARGINS = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


def measure_closeness(expected: Sequence[Array], actual: Sequence[Array], rule: ClipRule) -> Closeness:
    """Compare the outputs of a model with those of a reference.

    Args:
        expected, actual: logits of the reference and of the model for each stream, (steps, classes) since a reset; the
            classes of both in the same order, and at least one step in all.
        rule: how both decide.

    Raises:
        EdgeAscError: there are no steps, or the streams differ in shape; or as `score` does.
    """
    if [x.shape for x in expected] != [x.shape for x in actual] or not any(map(len, expected)):
        raise EdgeAscError("got other streams than the reference's, or none; expected the same ones")
    pairs = [(score(e, rule), score(a, rule)) for e, a in zip(expected, actual, strict=True) if len(e)]
    wanted, got = (np.concatenate(side) for side in zip(*pairs, strict=True))
    last, own_last = (np.concatenate([score(x, "last") for x in side if len(x)]) for side in (expected, actual))
    equal = wanted.argmax(axis=1) == got.argmax(axis=1)
    ranges = np.searchsorted(MARGINS, _measure_margins(wanted), side="right") - 1
    return Closeness(
        agreed=int(equal.sum()),
        last_agreed=int((last.argmax(axis=1) == own_last.argmax(axis=1)).sum()),
        # Not negative but for the last bits.
        kl=max(0.0, float((np.exp(last) * (last - own_last)).sum(axis=1).mean())),
        margins=tuple(
            MarginRange(least=least, steps=int((ranges == i).sum()), agreed=int((equal & (ranges == i)).sum()))
            for i, least in enumerate(MARGINS)
        ),
    )


def _measure_margins(scores: Scores) -> Scores:
    """Return the difference between the two largest scores of each step; 0 for a single class."""
    if scores.shape[1] < 2:
        return np.zeros(len(scores))
    two = np.partition(scores, -2, axis=1)[:, -2:]
    margins: Scores = two[:, 1] - two[:, 0]
    return margins
