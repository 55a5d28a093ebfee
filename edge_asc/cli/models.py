"""The models that a command was given: checkpoints, artefacts, bundles and models of the zoo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path


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
