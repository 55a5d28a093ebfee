"""Pretrained models that come with the package: checkpoints, and the artefacts that were exported from them.

`NAME/` is a checkpoint, `NAME/float/` and `NAME/int8/` are bundles, where they are shipped. `make zoo` writes the
bundles.
"""

from __future__ import annotations

from pathlib import Path

from edge_asc.errors import ContractError
from edge_asc.manifest import has_manifest

DEFAULT = "fuse"
# The model that gets a new last layer, where a folder of your own sounds is trained on.
START = "fuse-50"
# Folders of bundles in that of a checkpoint, the one nearest to the checkpoint first.
BUNDLES = ("float", "int8")


def zoo() -> tuple[str, ...]:
    """Return the names of the pretrained models."""
    return tuple(sorted(folder.parent.name for folder in Path(__file__).parent.glob("*/checkpoint.json")))


def zoo_path(name: str) -> Path | None:
    """Return the checkpoint folder of a pretrained model, or None if there is none of that name."""
    return Path(__file__).parent / name if name in zoo() else None


def list_bundles(checkpoint: Path) -> tuple[Path, ...]:
    """Return the bundles in the folder of a checkpoint, the one nearest to the checkpoint first."""
    return tuple(folder for folder in (checkpoint / name for name in BUNDLES) if has_manifest(folder))


def locate_model(model: str | Path) -> Path | None:
    """Return the path that a user means by the name of a model.

    Args:
        model: a path that exists, the name of a pretrained model, such as "fuse", or the name of its artefacts in one
            scheme, such as "fuse-int8".

    Returns:
        The path, the checkpoint folder, or the bundle; None where it is none of these.
    """
    path = Path(model)
    if path.exists():
        return path
    name, _, scheme = str(model).rpartition("-")
    bundles = {bundle.name: bundle for bundle in list_bundles(folder)} if (folder := zoo_path(name)) else {}
    return zoo_path(str(model)) or bundles.get(scheme)


def find_checkpoint(model: str | Path) -> Path:
    """Return the path that the name of a checkpoint means; see `locate_model`.

    Raises:
        ContractError: nothing of that name is there.
    """
    if (path := locate_model(model)) is None:
        raise ContractError(f"{model}: no such checkpoint; expected a folder or one of {', '.join(zoo())}")
    return path


def list_names() -> tuple[str, ...]:
    """Return the names that `locate_model` knows: of the pretrained models and of their artefacts."""
    folders = [Path(__file__).parent / name for name in zoo()]
    artefacts = [f"{folder.name}-{bundle.name}" for folder in folders for bundle in list_bundles(folder)]
    return (*zoo(), *artefacts)
