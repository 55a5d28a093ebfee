"""Provenance of a checkpoint: clips, licences, authors, and the checkpoints before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from edge_asc.training.compute import Compute
from edge_asc.training.leakage import record_seen
from edge_asc.training.listener import Epoch
from edge_asc.training.material import Material, merge_credits

if TYPE_CHECKING:
    from edge_asc.training.run import Run


def describe_training(
    run: Run,
    material: Material,
    history: Sequence[Epoch],
    before: Mapping[str, Any],
    taught: Sequence[Mapping[str, Any]],
    compute: Compute,
) -> dict[str, Any]:
    """The provenance of a trained model, as JSON; credits include the clips of earlier trainings and of teachers.

    Args:
        material: its clips.
        history: its epochs.
        before: provenance of the checkpoint that it started from.
        taught: provenance of its teachers.
    """
    clips = material.clips
    credits = run.credited()
    for training in (before, *taught):
        credits = merge_credits(credits, training.get("credits", {}))
    last = history[-1]
    checks = [epoch for epoch in history if epoch.validation is not None]
    return {
        "data": run.dataset.name,
        "fold": run.fold,
        "folds_of": run.folds_of.name if run.folds_of else None,
        "other": run.other.describe() if run.other else None,
        "left_out": f"{len(run.left_out.clips)} clips of {run.left_out.name}" if run.left_out else None,
        "clips": len(clips),
        "clips_sha256": material.digest,
        "per_class": dict(sorted(Counter(clip.label for clip in clips).items())),
        "licences": list(run.licences),
        "teachers": [path.name for path in run.teachers],
        "started_from": run.initial.name if run.initial else None,
        "before": [{"name": run.initial.name, **_brief(before)}, *before.get("before", ())] if run.initial else [],
        **record_seen(clips, before, taught, material.recorded),
        "credits": credits,
        "computed_with": f"torch {torch.__version__}, {compute}",
        "seconds": round(sum(epoch.seconds for epoch in history), 1),
        "final_loss": round(last.loss, 4),
        "final_accuracy": round(last.accuracy, 4),
        "validation": [[epoch.number, round(epoch.validation or 0.0, 4)] for epoch in checks],
    }


def _brief(training: Mapping[str, Any]) -> dict[str, Any]:
    return {name: training.get(name) for name in ("data", "clips", "licences")}
