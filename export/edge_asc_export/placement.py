"""Artefacts take their place in an output folder: all of them or none, and nothing that is not an export's is touched.

New artefacts and their manifest wait in a folder inside the output, whose renaming is the one moment that decides. From
then on whatever interrupts the rest, the next export finishes it first; until then each artefact is whole, old or new.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from edge_asc.errors import ContractError, OutputError
from edge_asc.files import explain_failure, sha256, write_json
from edge_asc.jsonobject import JsonObject, parse_json
from edge_asc.manifest import MANIFEST, PENDING, Manifest, check_place

OBSOLETE = "obsolete.json"
TITLE = "is in the way: it was not written by an export, or was changed since"


def check_output(output: Path, names: Iterable[str]) -> None:
    """Make sure that artefacts of these names can take their place in a folder, which may not exist.

    Raises:
        OutputError: the folder holds a manifest that is not an export's, or a file that is in the way.
    """
    old = read_own(output)
    for name in names:
        path = output / name
        if not os.path.lexists(path) or _is_own(path, old):
            continue
        raise OutputError(f"{path}: {TITLE}; move it, or choose another --output")


def read_own(output: Path) -> Manifest | None:
    """Return the manifest of the export that a folder holds; None if it holds none.

    Raises:
        OutputError: there is a manifest that no export wrote, or a damaged one.
    """
    if not os.path.lexists(output / MANIFEST):
        return None
    try:
        return Manifest.read(output)
    except ContractError as error:
        raise OutputError(
            f"{output / MANIFEST}: not a manifest that an export wrote ({error}); move it, or choose another --output"
        ) from error


def place(staging: Path, output: Path, manifest: Manifest) -> None:
    """Move the artefacts of a manifest from a folder in `output` to their place, and remove those of the last export.

    Raises:
        OutputError: a file is in the way, or cannot be written; each artefact is whole, old or new.
    """
    check_output(output, manifest.hashes)
    old = read_own(output)
    names = manifest.hashes
    obsolete = {name: digest for name, digest in (old.hashes if old else {}).items() if name not in names}
    write_json(staging / OBSOLETE, obsolete)
    manifest.write(staging)
    try:
        staging.rename(output / PENDING)
    except OSError as error:
        raise explain_failure(output, error) from error
    finish(output)


def finish(output: Path) -> None:
    """Finish what an interrupted export has begun to put in its place, if there is something.

    Raises:
        OutputError: a file cannot be written.
    """
    pending = output / PENDING
    if not pending.is_dir():
        return
    try:
        manifest = Manifest.read(pending)
        removed = JsonObject(parse_json((pending / OBSOLETE).read_bytes()), OBSOLETE).text_items()
    except (ContractError, OSError, ValueError):  # all was done but this:
        shutil.rmtree(pending, ignore_errors=True)
        return
    try:
        for name in manifest.hashes:
            if (pending / name).exists():
                (pending / name).replace(output / name)
        manifest.write(output)
        for name, digest in removed.items():
            if (output / name).is_file() and not (output / name).is_symlink() and sha256(output / name) == digest:
                (output / name).unlink()
        (pending / MANIFEST).unlink()
    except OSError as error:
        raise explain_failure(output, error) from error
    shutil.rmtree(pending, ignore_errors=True)


def _is_own(path: Path, manifest: Manifest | None) -> bool:
    """Whether a file is as the manifest beside it lists it."""
    digest = manifest.hashes.get(path.name) if manifest else None
    if digest is None or not path.is_file():
        return False
    try:
        check_place(path)
    except ContractError:
        return False
    return sha256(path) == digest
