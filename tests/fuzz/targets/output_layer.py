"""Artefacts that are adapted: their output layer is found and replaced, though no seal was verified."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_asc.adaptation.base import open_editor
from edge_asc.adaptation.layer import pass_through
from edge_asc.errors import ContractError
from edge_asc.manifest import Manifest
from edge_asc.zoo import zoo_path
from fuzz.target import Seeds, Target


def bundle() -> Path:
    folder = zoo_path("fuse-50")
    assert folder is not None
    return folder / "int8"


def seeds(folder: Path) -> Seeds:
    return {name: (bundle() / name).read_bytes() for name in Manifest.read(bundle()).files}


def read(path: Path) -> str:
    contracts = {Path(name).suffix: entry.contract for name, entry in Manifest.read(bundle()).files.items()}
    contract = contracts[path.suffix]
    editor = open_editor(path.suffix, path.read_bytes(), contract)
    if editor.site.width > 1000:
        raise ContractError("wider than any model")
    return hashlib.sha256(editor.replace(pass_through(editor.site), contract)).hexdigest()


TARGET = Target(seeds, read, other_answers=True)
