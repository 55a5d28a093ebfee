"""Output layers judged by the clips that each was not fitted on, and the rules that these clips give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_asc.adaptation.layer import IntegerLayer, OutputLayer
from edge_asc.adaptation.material import Material
from edge_asc.data.dataset import OTHER
from edge_asc.evaluation.confusions import Confusions
from edge_asc.evaluation.logits import decide
from edge_asc.frontend import Array
from edge_asc.rule import ClipRule
from edge_asc.training.calibration import FALSE_ALARM_RATE, choose_threshold, fit_temperature, posteriors
from edge_asc.unknown import UnknownRule

Layer = OutputLayer | IntegerLayer


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Logits of clips by a layer that was not fitted on their groups.

    Attributes:
        material: all clips.
        indices: of the clips that were held out, each once.
        logits: of these, (steps, classes) each.
        decision: the rule for a clip.
    """

    material: Material
    indices: tuple[int, ...]
    logits: tuple[Array, ...]
    decision: ClipRule

    @property
    def targets(self) -> list[int]:
        """The index of the label of each clip."""
        return [self.material.targets[index] for index in self.indices]

    @property
    def confusions(self) -> Confusions:
        """The last decision on each clip, against its label."""
        return count_confusions(self.logits, self.targets, self.material.labels, self.decision)

    def choose_temperature(self) -> float:
        """Return the temperature that makes probabilities match accuracy on these clips; 1 without clips."""
        clips = [(each, target) for each, target in zip(self.logits, self.targets, strict=True) if len(each)]
        if not clips:
            return 1.0
        logits, targets = zip(*clips, strict=True)
        return fit_temperature(logits, targets, self.decision)

    def choose_unknown(self, temperature: float) -> UnknownRule | None:
        """Return the rule for unknown sounds; None without the label `other`, or without a known clip."""
        if OTHER not in self.material.labels:
            return None
        other = self.material.labels.index(OTHER)
        scores = [
            posteriors(each, self.decision, temperature)[-1, other]
            for each, target in zip(self.logits, self.targets, strict=True)
            if target != other and len(each)
        ]
        if not scores:
            return None
        measured_on = f"{len(scores)} held-out clips of {self.material.name}, the last decision on each"
        return UnknownRule(OTHER, choose_threshold(scores), FALSE_ALARM_RATE, measured_on)


def hold_out(material: Material, layers: Sequence[Layer], embeddings: Sequence[Array], decision: ClipRule) -> HeldOut:
    """Run the layer of each fold on the clips that the fold holds out.

    Args:
        material: with its folds; a clip that several folds hold out counts in the first.
        layers: one for each fold, which was fitted on the fold's other clips.
        embeddings: of each clip.
        decision: the rule for a clip.
    """
    logits: dict[int, Array] = {}
    for (_, evaluate), layer in zip(material.folds, layers, strict=True):
        logits = {index: layer(embeddings[index]) for index in evaluate} | logits
    indices = tuple(sorted(logits))
    return HeldOut(material, indices, tuple(logits[index] for index in indices), decision)


def count_confusions(
    logits: Sequence[Array], targets: Sequence[int], labels: Sequence[str], decision: ClipRule
) -> Confusions:
    """Count the last decision on each clip; clips that are too short for one are left out.

    Args:
        logits: (steps, classes) of each clip.
        targets: index into `labels` of each clip.
        labels: of the model.
        decision: the rule that turns logits into decisions.
    """
    known = [(decide(clip, decision)[-1], target) for clip, target in zip(logits, targets, strict=True) if len(clip)]
    decided, given = np.array(known, np.intp).reshape(-1, 2).T
    return Confusions.of(decided, given, labels)
