"""The manifest of a bundle: `manifest.json`, which lists the artefacts of one export with their hashes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from edge_asc.contract import StreamContract
from edge_asc.errors import ContractError
from edge_asc.files import sha256, write_json

MANIFEST = "manifest.json"
KIND = "export"
# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One artefact of a bundle.

    Attributes:
        sha256: of the file, in hexadecimal.
        bytes: size of the file.
        format: name of the export format, such as "onnx".
        engine: that the artefact was measured in at export, with its version.
        contract: the contract inside the artefact.
    """

    sha256: str
    bytes: int
    format: str
    engine: str
    contract: StreamContract


@dataclass(frozen=True)
class Manifest:
    """The artefacts of one export.

    Attributes:
        name: of the model.
        files: each artefact, by its file name beside the manifest.
        plan: the quantisation plan that the artefacts were written by, as JSON.
    """

    name: str
    files: Mapping[str, Entry]
    plan: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `read` reads back to an equal manifest."""
        files = {
            name: {
                "sha256": entry.sha256,
                "bytes": entry.bytes,
                "format": entry.format,
                "engine": entry.engine,
                "contract": entry.contract.to_json(),
            }
            for name, entry in self.files.items()
        }
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "files": files,
            "plan": dict(self.plan),
        }

    def write(self, folder: Path) -> None:
        """Write `manifest.json` to a folder, atomically."""
        write_json(folder / MANIFEST, self.to_json())

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest of a bundle.

        Raises:
            ContractError: there is none, it is damaged or of another version, or a file name leaves the folder.
        """
        path = folder / MANIFEST
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ContractError(f"{path}: cannot be read ({error.strerror}); expected an exported folder") from error
        except (ValueError, RecursionError) as error:
            raise ContractError(f"{path}: not JSON ({error}); copy the whole folder again") from error
        return cls._parse(path, value)

    @classmethod
    def _parse(cls, path: Path, value: Any) -> Self:
        if not isinstance(value, dict) or value.get("kind") != KIND:
            raise ContractError(f"{path}: not the manifest of an export; expected a folder that edge-asc export wrote")
        version = value.get("schema_version")
        if type(version) is not int or version != SCHEMA_VERSION:
            newer = type(version) is int and version > SCHEMA_VERSION
            advice = "upgrade edge-asc" if newer else "export again"
            raise ContractError(f"{path}: got schema version {version!r}, expected {SCHEMA_VERSION}; {advice}")
        try:
            files = {name: _read_entry(entry) for name, entry in value["files"].items()}
            manifest = cls(name=str(value["name"]), files=files, plan=dict(value["plan"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ContractError(f"{path}: damaged ({error!r}); copy the whole folder again") from error
        except ContractError as error:
            raise ContractError(f"{path}: {error}") from error
        for name in manifest.files:
            if name in ("", ".", "..") or "/" in name or "\\" in name:
                raise ContractError(f"{path}: lists {name!r}; expected names of files beside it")
        return manifest


def has_manifest(folder: Path) -> bool:
    """Whether `folder` is a bundle: a folder with a manifest."""
    return (folder / MANIFEST).is_file()


def verify(path: Path) -> None:
    """Compare an artefact with the hash in the manifest beside it, if that lists it.

    Raises:
        ContractError: the file is not the one that was exported, or the manifest is damaged.
    """
    if not has_manifest(path.parent):
        return
    entry = Manifest.read(path.parent).files.get(path.name)
    if entry is not None and (digest := sha256(path)) != entry.sha256:
        raise ContractError(
            f"{path}: SHA-256 is {digest[:12]}…, {MANIFEST} says {entry.sha256[:12]}…: "
            "the file is damaged or was replaced; copy the whole folder again, or export again"
        )


def _read_entry(value: Mapping[str, Any]) -> Entry:
    return Entry(
        sha256=str(value["sha256"]),
        bytes=int(value["bytes"]),
        format=str(value["format"]),
        engine=str(value["engine"]),
        contract=StreamContract.from_json(value["contract"]),
    )
