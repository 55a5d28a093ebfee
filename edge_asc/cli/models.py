"""The models that a command was given: checkpoints, artefacts, bundles and models of the zoo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_asc.data.dataset import Clip


def checkpoint_folder(model: str) -> Path | None:
    """The folder of a checkpoint; None for an artefact or a bundle."""
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import located

    path = located(model)
    return path if path is not None and is_checkpoint(path) else None


def named(models: Sequence[str], names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """A name for each model, and the model.

    The name is that of `names`, or the last part of its path; where two are alike, as many parts as tell them apart.
    """
    names = names or [Path(model).name for model in models]
    count = Counter(names)
    alike = [Path(model).parts for name, model in zip(names, models, strict=True) if count[name] > 1]
    depth = next((n for n in range(1, 100) if len({parts[-n:] for parts in alike}) == len(alike)), None)
    apart = [str(Path(*Path(model).parts[-depth:])) if depth else model for model in models]
    found = zip(names, apart, models, strict=True)
    return [(name if count[name] == 1 else longer, model) for name, longer, model in found]


def heard_notes(models: Sequence[str], clips: Sequence[Clip]) -> list[str]:
    """A note for each checkpoint that was trained on some of the clips, since accuracy on them is no measure."""
    from edge_asc.training.checkpoint import read_metadata
    from edge_asc.training.run import trained_on

    notes = []
    for name, model in named(models):
        path = checkpoint_folder(model)
        if path is None:
            continue
        if count := trained_on(read_metadata(path)["training"], [clip.filename for clip in clips]):
            notes.append(
                f"{name} was trained on {count} of these {len(clips)} clips: accuracy here says how "
                "alike the models are, not how good; the checkpoint's card has it on held-out clips"
            )
    return notes
