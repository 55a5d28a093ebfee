"""What a checkpoint was made of: clips, licences, authors, and the checkpoints before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from edge_asc.data.dataset import Clip, Credits
from edge_asc.training.compute import Compute
from edge_asc.training.leakage import seen
from edge_asc.training.listener import Epoch

if TYPE_CHECKING:
    from edge_asc.training.run import Run


def describe_training(
    run: Run,
    clips: Sequence[Clip],
    history: Sequence[Epoch],
    before: Mapping[str, Any],
    taught: Sequence[Mapping[str, Any]],
    compute: Compute,
    digest: str,
) -> dict[str, Any]:
    """The provenance of a trained model, as JSON; credits include the clips of earlier trainings and of teachers.

    Args:
        clips: that this training used.
        history: its epochs.
        before: provenance of the checkpoint that it started from.
        taught: provenance of its teachers.
        digest: hash of the clips' audio and labels.
    """
    credits = run.credited(clips)
    for training in (before, *taught):
        credits = merge_credits(credits, training.get("credits", {}))
    last = history[-1]
    checks = [epoch for epoch in history if epoch.validation is not None]
    return {
        "data": run.dataset.name,
        "fold": run.fold,
        "folds_of": run.folds_of.name if run.folds_of else None,
        "clips": len(clips),
        "clips_sha256": digest,
        "per_class": dict(sorted(Counter(clip.label for clip in clips).items())),
        "licences": list(run.licences),
        "teachers": [path.name for path in run.teachers],
        "started_from": run.initial.name if run.initial else None,
        "before": [{"name": run.initial.name, **_brief(before)}, *before.get("before", ())] if run.initial else [],
        **seen(clips, before, taught),
        "credits": credits,
        "computed_with": f"torch {torch.__version__}, {compute}",
        "seconds": round(sum(epoch.seconds for epoch in history), 1),
        "final_loss": round(last.loss, 4),
        "final_accuracy": round(last.accuracy, 4),
        "validation": [[epoch.number, round(epoch.validation or 0.0, 4)] for epoch in checks],
    }


def merge_credits(mine: Credits, theirs: Credits) -> Credits:
    """Authors and links of both, by licence."""
    both: Credits = {}
    for credits in (mine, theirs):
        for licence, authors in credits.items():
            for author, links in authors.items():
                known = both.setdefault(licence, {}).setdefault(author, [])
                known += [link for link in links if link not in known]
    return {
        licence: {author: sorted(both[licence][author]) for author in sorted(both[licence])} for licence in sorted(both)
    }


def _brief(training: Mapping[str, Any]) -> dict[str, Any]:
    return {name: training.get(name) for name in ("data", "clips", "licences")}
