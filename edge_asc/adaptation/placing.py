"""The place of an adapted artefact: a file, or a folder with a manifest."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edge_asc.adaptation.base import EDITORS, Base
from edge_asc.contract import StreamContract
from edge_asc.errors import OutputError
from edge_asc.files import write_bytes
from edge_asc.manifest import MANIFEST, Entry, Manifest, has_manifest, write_listed
from edge_asc.output import claim_folder


def choose_path(base: Base, output: Path, name: str) -> Path:
    """Return the path of the artefact that an output means: itself, or a file in it named as exports are.

    Raises:
        OutputError: the output has the suffix of another format, is that of the base, is a file that exists, or is a
            folder with the manifest of other artefacts.
    """
    suffix = base.path.suffix
    if output.suffix in EDITORS and not output.is_dir():
        if output.suffix != suffix:
            raise OutputError(f"{output}: the base is a {suffix} file; expected an output that ends in {suffix}")
        if output.exists() and output.resolve() != base.path.resolve():
            raise OutputError(f"{output}: exists, and would be lost; choose another --output, or move the file away")
        path = output
    else:
        former = base.contract.name
        path = output / (
            f"{name}{base.path.name.removeprefix(former)}" if base.path.name.startswith(former) else name + suffix
        )
    if path.resolve() == base.path.resolve():
        raise OutputError(f"{path}: is the artefact that would be adapted; choose another --output")
    if has_manifest(path.parent) and (others := Manifest.read(path.parent).files.keys() - {path.name}):
        raise OutputError(
            f"{path.parent / MANIFEST}: lists {', '.join(sorted(others))}; expected a folder without other artefacts: "
            "choose another --output"
        )
    return path


def place(base: Base, data: bytes, contract: StreamContract, output: Path) -> Path:
    """Write an adapted artefact to a file, or to a folder with its manifest; return the path of the artefact.

    It appears whole or not at all.

    Raises:
        OutputError: as `choose_path` does, or it cannot be written.
    """
    path = choose_path(base, output, contract.name)
    if path == output and not has_manifest(path.parent):
        write_bytes(path, data)
        return path
    with claim_folder(path.parent):
        digest = hashlib.sha256(data).hexdigest()
        entry = Entry(digest, len(data), path.suffix[1:], base.runtime.engine, contract)
        write_listed(path, data, Manifest(contract.name, {path.name: entry}))
    return path
