"""Trained checkpoints that come with the package."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "fuse"


def zoo() -> tuple[str, ...]:
    """The names of the models of the zoo."""
    return tuple(sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/checkpoint.json")))


def zoo_path(name: str) -> Path | None:
    """The checkpoint folder of a model of the zoo, or None if there is none of that name."""
    return Path(__file__).parent / name if name in zoo() else None


def located(model: str | Path) -> Path | None:
    """What a user means by `model`: a path that exists, or the folder of a model of the zoo; None for neither."""
    path = Path(model)
    return path if path.exists() else zoo_path(str(model))
