"""What a model answers at the end of each clip: probabilities, errors, and clips whose label may be wrong."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Self

import numpy as np

from edge_asc.data.dataset import Clip
from edge_asc.evaluation.confusions import Confusions
from edge_asc.evaluation.logits import Indices
from edge_asc.frontend import Array
from edge_asc.jsonobject import JsonValue
from edge_asc.rule import ClipRule
from edge_asc.training.calibration import Floats, posteriors

# Labels of a clip whose probabilities are kept, and digits of each.
KEPT, DIGITS = 3, 4
# Clips that a document lists: those that are worth a look come first.
MOST_CLIPS = 10_000
# Probability of another label from which on a clip may be mislabelled.
CONFIDENT = 0.7


@dataclass(frozen=True)
class Ends:
    """The probabilities of the last decision on each of some clips.

    Attributes:
        labels: of the model.
        temperature: that the logits were divided by; 1 where it was not fitted.
        probabilities: (clips, labels), 0 to 1; NaN for a clip that is too short for a decision.
    """

    labels: tuple[str, ...]
    temperature: float
    probabilities: Floats

    @classmethod
    def of(cls, logits: Sequence[Array], labels: Sequence[str], decision: ClipRule, temperature: float) -> Self:
        """Compute the probabilities from the logits of each clip, (steps, classes) since a reset."""
        rows = np.full((len(logits), len(labels)), np.nan)
        for row, clip in zip(rows, logits, strict=True):
            if len(clip):
                row[:] = posteriors(clip, decision, temperature)[-1]
        return cls(tuple(labels), temperature, rows)

    def __add__(self, other: Self) -> Self:
        """Return those of both, which are of disjoint clips, the same labels and the same temperature."""
        return replace(self, probabilities=np.concatenate([self.probabilities, other.probabilities]))


@dataclass(frozen=True)
class Prediction:
    """The last decision on one clip.

    Attributes:
        file: path relative to the folder of the data set.
        start, end: the piece of the file, s; end is None where it is that of the file.
        label: the label given.
        given: probability of that label, 0 to 1.
        probabilities: of the likeliest labels, in descending order; the first one was decided.
        fold: whose model judged the clip; None where there are no folds.
        suspicious: whether the label given may be wrong: a model that has not seen the clip confidently decided
            another one.
    """

    file: str
    start: float
    end: float | None
    label: str
    given: float
    probabilities: dict[str, float]
    fold: int | None = None
    suspicious: bool = False

    @property
    def decided(self) -> str:
        """The label that was decided."""
        return next(iter(self.probabilities))

    @property
    def confidence(self) -> float:
        """The probability of the label that was decided."""
        return self.probabilities[self.decided]

    @property
    def is_right(self) -> bool:
        """Whether the label given was decided."""
        return self.decided == self.label

    @property
    def doubt(self) -> float:
        """How much likelier than the label given the decided one is, 0 to 1."""
        return self.confidence - self.given


@dataclass(frozen=True)
class Predictions:
    """The last decisions of one model on labelled clips.

    Attributes:
        model: its name.
        held_out: whether each clip was judged by a model that was trained without it; suspicious clips are sought only
            then.
        temperature: of the probabilities; 1 where it was not fitted, and the probabilities are not calibrated.
        confusions: of all clips.
        clips: suspicious ones first, then wrong ones, then right ones; the greatest doubt first. MOST_CLIPS at most.
    """

    model: str
    held_out: bool
    temperature: float
    confusions: Confusions
    clips: tuple[Prediction, ...]

    @classmethod
    def of(
        cls, model: str, ends: Ends, clips: Sequence[Clip], folds: Iterable[int | None], *, held_out: bool = False
    ) -> Self:
        """List the decisions on clips; those too short for one are left out.

        Args:
            model: its name.
            ends: of the clips.
            clips: with labels that the model has.
            folds: the fold whose model judged each clip, or None.
            held_out: whether each clip was judged by a model that was trained without it.
        """
        labels, p = ends.labels, ends.probabilities
        targets = np.array([labels.index(clip.label) for clip in clips], np.intp)
        known = np.flatnonzero(~np.isnan(p[:, 0]))
        decided = p[known].argmax(1)
        suspicious = set(known[_find_suspicious(p[known], targets[known])]) if held_out else set()
        listed = []
        for i, (clip, fold) in enumerate(zip(clips, folds, strict=True)):
            if np.isnan(p[i, 0]):
                continue
            likeliest = np.argsort(-p[i], kind="stable")[:KEPT]
            listed.append(
                Prediction(
                    clip.filename,
                    clip.start,
                    clip.end,
                    clip.label,
                    _round(p[i, targets[i]]),
                    {labels[k]: _round(p[i, k]) for k in likeliest},
                    fold,
                    i in suspicious,
                )
            )
        listed.sort(key=lambda each: (not each.suspicious, each.is_right, -each.doubt))
        confusions = Confusions.of(decided, targets[known], labels)
        return cls(model, held_out, ends.temperature, confusions, tuple(listed[:MOST_CLIPS]))

    @property
    def suspicious(self) -> tuple[Prediction, ...]:
        """The clips whose label may be wrong, the most suspicious one first."""
        return tuple(clip for clip in self.clips if clip.suspicious)

    @property
    def wrong(self) -> tuple[Prediction, ...]:
        """The clips for which another label was decided, suspicious ones first."""
        return tuple(clip for clip in self.clips if not clip.is_right)

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object of all attributes."""
        value: dict[str, JsonValue] = asdict(self)
        return value


def _find_suspicious(probabilities: Floats, targets: Indices) -> Indices:
    """Return the rows whose label may be wrong, after confident learning (Northcutt et al., 2021).

    Another label is decided, with a probability of CONFIDENT or more, and of no less than the clips of that label have
    for it on average.

    Args:
        probabilities: (clips, labels), of models that have not seen the clips.
        targets: index of the label given to each clip.
    """
    usual = np.full(probabilities.shape[1], np.inf)
    for label in np.unique(targets):
        usual[label] = probabilities[targets == label, label].mean()
    decided = probabilities.argmax(1)
    confidence = probabilities.max(1)
    return np.flatnonzero((decided != targets) & (confidence >= np.maximum(CONFIDENT, usual[decided])))


def _round(probability: float) -> float:
    return round(float(probability), DIGITS)
