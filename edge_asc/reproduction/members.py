"""The models of a figure: one each, or all seeds of a system of the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_asc.engine import open_runtime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.evaluation.models import checkpoint_folder, name_models
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint, read_metadata


def list_members(models: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return name and members of each model: itself, or the checkpoints of all seeds in a folder of the table."""
    members, names = [], []
    for model in models:
        seeds = sorted((path for path in Path(model).glob("seed*") if is_checkpoint(path)), key=_seed)
        members.append(list(map(str, seeds)) or [model])
        pooled = f"{Path(model).resolve().parent.name}, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
        names.append(pooled if seeds else model_name(model))
    return [(name, seeds) for (name, _), seeds in zip(name_models(models, names), members, strict=True)]


def model_name(model: str) -> str:
    """Return a checkpoint's own name, since its folder may be that of a seed; the name of a file."""
    folder = checkpoint_folder(model)
    return str(read_metadata(folder)["name"]) if folder else Path(model).name


def open_member(model: str, threads: int, device: str) -> Runtime:
    """Open a model in its engine; a checkpoint on `device`."""
    if folder := checkpoint_folder(model):
        return TorchRuntime(Checkpoint.load(folder), threads, device=device)
    return open_runtime(model, threads=threads)


def _seed(path: Path) -> int:
    digits = path.name.removeprefix("seed")
    return int(digits) if digits.isdecimal() else 0
