"""The new output layer: multinomial logistic regression on embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edge_asc.adaptation.layer import OutputLayer
from edge_asc.errors import EdgeAscError, require
from edge_asc.frontend import Array

Floats = npt.NDArray[np.float64]

# Weight of the squared weights, of standardised embeddings, against the mean loss of all classes.
REGULARISATION = 0.1
# Consecutive embeddings that are averaged to one example: about 1 s.
STEPS = 4
# Added to the standard deviation of each unit; some units are zero on all clips.
LEAST_DEVIATION = 1e-3
# The bias of a class without a clip, which is then never decided.
NEVER = -100.0
ITERATIONS = 200


def fit_layer(
    embeddings: Sequence[Array], targets: Sequence[int], classes: int, regularisation: float = REGULARISATION
) -> OutputLayer:
    """Return the output layer with the least regularised loss; the same input gives the same layer.

    All classes weigh alike, and so do the clips of a class, whatever their lengths.

    Args:
        embeddings: of each clip, (steps, width); a clip at several levels is several clips.
        targets: index of the class of each clip.
        classes: number of classes; one without a clip is never decided.
        regularisation: weight of the squared weights, more than 0.

    Raises:
        EdgeAscError: fewer than two classes have a clip with a decision.
    """
    minimize = require("scipy.optimize", "adapt").minimize
    examples, labels, weights = _average(embeddings, targets)
    present = np.unique(labels)
    if len(present) < 2:
        raise EdgeAscError(f"clips of {len(present)} classes are long enough for a decision; expected two or more")
    mean = np.average(examples, axis=0, weights=weights)
    deviation = np.sqrt(np.average((examples - mean) ** 2, axis=0, weights=weights)) + LEAST_DEVIATION
    x = np.column_stack([(examples - mean) / deviation, np.ones(len(examples))])
    y = (labels[:, None] == present).astype(np.float64)

    def loss(flat: Floats) -> tuple[float, Floats]:
        w = flat.reshape(x.shape[1], len(present))
        scores = x @ w
        scores -= scores.max(axis=1, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=1, keepdims=True))
        gradient = x.T @ (weights[:, None] * (np.exp(scores) - y))
        gradient[:-1] += regularisation * w[:-1]
        value = -float(np.sum(weights * np.sum(y * scores, axis=1)))
        return value + 0.5 * regularisation * float(np.sum(w[:-1] ** 2)), gradient.ravel()

    start = np.zeros(x.shape[1] * len(present))
    best = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    w = best.reshape(x.shape[1], len(present))
    layer = OutputLayer(np.zeros((classes, len(mean)), np.float32), np.full(classes, NEVER, np.float32))
    layer.weight[present] = (w[:-1] / deviation[:, None]).T
    layer.bias[present] = w[-1] - (mean / deviation) @ w[:-1]
    return layer


def _average(embeddings: Sequence[Array], targets: Sequence[int]) -> tuple[Floats, npt.NDArray[np.intp], Floats]:
    """Return means of STEPS embeddings, the class of each, and weights of sum 1."""
    parts: list[Floats] = []
    labels: list[int] = []
    weights: list[Floats] = []
    counts = np.bincount([target for clip, target in zip(embeddings, targets, strict=True) if len(clip)])
    for clip, target in zip(embeddings, targets, strict=True):
        if not len(clip):
            continue
        starts = np.arange(0, max(1, len(clip) - STEPS + 1), STEPS)
        # A rest of less than STEPS belongs to the mean before it.
        lengths = np.diff(np.append(starts, len(clip)))
        parts.append(np.add.reduceat(clip.astype(np.float64), starts, axis=0) / lengths[:, None])
        labels += [target] * len(starts)
        weights.append(lengths / (len(clip) * counts[target]))
    if not parts:
        return np.empty((0, 0)), np.empty(0, np.intp), np.empty(0)
    pooled = np.concatenate(weights)
    return np.concatenate(parts), np.array(labels, np.intp), pooled / pooled.sum()
