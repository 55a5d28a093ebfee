"""Pretrained models: checkpoints that come with the package."""

from __future__ import annotations

from pathlib import Path

DEFAULT = "fuse"


def zoo() -> tuple[str, ...]:
    """Return the names of the pretrained models."""
    return tuple(sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/checkpoint.json")))


def zoo_path(name: str) -> Path | None:
    """Return the checkpoint folder of a pretrained model, or None if there is none of that name."""
    return Path(__file__).parent / name if name in zoo() else None


def locate_model(model: str | Path) -> Path | None:
    """Return the path that `model` is, or the folder of the pretrained model of that name; None where it is neither."""
    path = Path(model)
    return path if path.exists() else zoo_path(str(model))
