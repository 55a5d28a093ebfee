"""The sections of a page about the errors of models on labelled clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_asc.evaluation.confusions import ClassCounts, Confusion, Confusions
from edge_asc.evaluation.predictions import Prediction, Predictions
from edge_asc_bench.kinds import Evaluation
from edge_asc_bench.players import Player, Players

# Clips of each list, labels of a confusion matrix, and confusions beside one with more labels.
MOST_SUSPICIOUS, MOST_WRONG, MOST_LABELS, MOST_CONFUSIONS = 50, 100, 60, 30


@dataclass(frozen=True)
class ListedClip:
    """A clip with its player."""

    clip: Prediction
    player: Player

    @property
    def place(self) -> str:
        """The piece of the file, such as "5 to 10 s"; "" where it is the whole file."""
        clip = self.clip
        if clip.end is not None:
            return f"{clip.start:g} to {clip.end:g} s"
        return f"from {clip.start:g} s" if clip.start else ""


@dataclass(frozen=True)
class ClipList:
    """The first clips of a list, and how many follow that are not shown."""

    clips: list[ListedClip]
    more: int


@dataclass(frozen=True)
class Errors:
    """The errors of one model.

    Attributes:
        predictions: of the model.
        confusions: of the labels that occur.
        largest: the largest confusions, where there are too many labels for a matrix; else none.
        suspicious: clips whose label may be wrong.
        wrong: other clips for which another label was decided.
    """

    predictions: Predictions
    confusions: Confusions
    largest: list[Confusion]
    suspicious: ClipList
    wrong: ClipList

    @property
    def classes(self) -> list[ClassCounts]:
        """Recall and precision of each label."""
        return self.confusions.by_class()

    @property
    def shown(self) -> list[ListedClip]:
        """All clips that are shown."""
        return [*self.suspicious.clips, *self.wrong.clips]

    @property
    def missing(self) -> int:
        """The number of shown clips whose file is not there."""
        return sum(not each.player.link for each in self.shown)

    @property
    def linked(self) -> int:
        """The number of shown clips whose player plays the file."""
        return sum(bool(each.player.link) and not each.player.is_embedded for each in self.shown)


def list_errors(evaluation: Evaluation, players: Players) -> list[Errors]:
    """Return the errors of each model of an evaluation."""
    return [_list_errors(evaluation.folder, each, players) for each in evaluation.predictions]


def _list_errors(folder: str, predictions: Predictions, players: Players) -> Errors:
    confusions = predictions.confusions.occurring()
    wrong = confusions.clips - confusions.right
    suspicious = predictions.suspicious
    others = [clip for clip in predictions.wrong if not clip.suspicious]

    def select(clips: Sequence[Prediction], most: int, count: int) -> ClipList:
        shown = clips[:most]
        return ClipList([ListedClip(clip, players.make(folder, clip)) for clip in shown], count - len(shown))

    return Errors(
        predictions,
        confusions,
        confusions.largest()[:MOST_CONFUSIONS] if len(confusions.labels) > MOST_LABELS else [],
        select(suspicious, MOST_SUSPICIOUS, len(suspicious)),
        select(others, MOST_WRONG, wrong - len(suspicious)),
    )
