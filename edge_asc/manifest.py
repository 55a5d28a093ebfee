"""The manifest of a bundle: `manifest.json`, which lists the artefacts of one export with their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from edge_asc.contract import StreamContract
from edge_asc.errors import ContractError
from edge_asc.files import sha256, write_bytes, write_json
from edge_asc.jsonobject import JsonObject, JsonValue, parse_json
from edge_asc.seal import check_seal, replace_contract

MANIFEST = "manifest.json"
KIND = "export"
# Folder in a bundle for artefacts and a manifest that are about to take their place.
PENDING = ".edge-asc-pending"
# Names of devices on Windows, and signs that are in no name of a file there, or separate folders.
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{kind}{number}" for kind in ("COM", "LPT") for number in range(10))}
NOT_IN_NAMES = '/\\:*?"<>|\x7f'
# 1: first version.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One artefact of a bundle.

    Attributes:
        sha256: SHA-256 of the file, in hexadecimal.
        bytes: size of the file.
        format: name of the export format, such as "onnx".
        engine: engine, with its version, in which the artefact was measured at export.
        contract: the contract inside the artefact.
        companions: SHA-256 of files that belong to the artefact, by name, such as the header of C source.
    """

    sha256: str
    bytes: int
    format: str
    engine: str
    contract: StreamContract
    companions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The artefacts of one export.

    Attributes:
        name: name of the model.
        files: each artefact, by its file name beside the manifest.
        plan: the quantisation plan of the artefacts, as JSON.
    """

    name: str
    files: Mapping[str, Entry]
    plan: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of every file, by name: of the artefacts and of what belongs to them."""
        hashes = {name: entry.sha256 for name, entry in self.files.items()}
        for entry in self.files.values():
            hashes.update(entry.companions)
        return hashes

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `read` reads back to an equal manifest."""
        files: dict[str, JsonValue] = {
            name: {
                "sha256": entry.sha256,
                "bytes": entry.bytes,
                "format": entry.format,
                "engine": entry.engine,
                "contract": entry.contract.to_json(),
                **({"companions": dict(entry.companions)} if entry.companions else {}),
            }
            for name, entry in self.files.items()
        }
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "name": self.name,
            "files": files,
            "plan": self.plan,
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
            value = _load(path)
        except OSError as error:
            raise ContractError(f"{path}: cannot be read ({error.strerror}); expected an exported folder") from error
        except ValueError as error:
            raise ContractError(f"{path}: not JSON ({error}); copy the whole folder again") from error
        if not _is_ours(value):
            raise ContractError(f"{path}: not the manifest of an export; expected a folder that edge-asc export wrote")
        try:
            return cls._read(JsonObject(value, "manifest"))
        except (ValueError, ContractError) as error:
            raise ContractError(f"{path}: {error}; copy the whole folder again, or export again") from error

    @classmethod
    def _read(cls, value: JsonObject) -> Self:
        if (version := value.integer("schema_version")) != SCHEMA_VERSION:
            advice = "upgrade edge-asc" if version > SCHEMA_VERSION else "export again"
            raise ValueError(f"got schema version {version!r}, expected {SCHEMA_VERSION}: {advice}")
        files = {name: _read_entry(entry) for name, entry in value.named_children("files").items()}
        manifest = cls(name=value.text("name"), files=files, plan=value.raw("plan") or {})
        for name in manifest.hashes:
            check_name(name)
        return manifest


def update_contract(path: Path, contract: StreamContract) -> None:
    """Give an artefact another contract, in the file and in the manifest beside it if that lists it.

    Raises:
        ContractError: the artefact is damaged, or has no room for the contract.
        OutputError: a file cannot be written.
    """
    check_seal(path)
    data = replace_contract(path.read_bytes(), contract)
    if not has_manifest(path.parent) or path.name not in (manifest := Manifest.read(path.parent)).files:
        write_bytes(path, data)
        return
    entry = replace(manifest.files[path.name], sha256=hashlib.sha256(data).hexdigest(), contract=contract)
    write_listed(path, data, replace(manifest, files={**manifest.files, path.name: entry}))


def write_listed(path: Path, data: bytes, manifest: Manifest) -> None:
    """Write an artefact and the manifest that lists it beside it, over those that are there.

    Each file is replaced as a whole. The manifest comes first, with the hash of the new file among those that are
    about to take their place, so that an interruption leaves a bundle that opens.

    Raises:
        OutputError: a file cannot be written.
    """
    pending = path.parent / PENDING
    pending.mkdir(parents=True, exist_ok=True)
    manifest.write(pending)
    write_bytes(path, data)
    manifest.write(path.parent)
    (pending / MANIFEST).unlink()
    pending.rmdir()


def check_name(name: str) -> None:
    """Check that a name means one file beside the manifest, on every system.

    Raises:
        ValueError: it is empty, names another folder or a drive, or is reserved on some system.
    """
    reserved = name.partition(".")[0].rstrip(" ").upper() in RESERVED or name.startswith(".") or name[-1:] in (".", " ")
    if not name or reserved or name == MANIFEST or any(sign in NOT_IN_NAMES or sign < " " for sign in name):
        raise ValueError(f"lists {name!r}, expected names of files beside it")


def check_place(path: Path) -> None:
    """Check that a listed artefact is a file in its bundle's folder.

    Raises:
        ContractError: it is a link that leads outside.
    """
    if path.is_symlink() and path.resolve().parent != path.parent.resolve():
        raise ContractError(
            f"{path}: a link to {path.resolve()}, outside of its bundle; expected a file: copy it there instead"
        )


def has_manifest(folder: Path) -> bool:
    """Return whether a folder is a bundle: it holds the manifest of an export, which may be damaged.

    The manifests of other tools, JSON of another kind, do not count.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return False
    try:
        return _is_ours(_load(path))
    except (OSError, ValueError):
        return True


def verify(path: Path) -> None:
    """Compare an artefact with the hash in the manifest beside it, if that lists it.

    Raises:
        ContractError: the file is not the one that was exported, or the manifest is damaged.
    """
    if not has_manifest(path.parent):
        return
    entry = Manifest.read(path.parent).files.get(path.name)
    if entry is None:
        return
    check_place(path)
    if (digest := sha256(path)) != entry.sha256 and digest != _read_pending(path):
        raise ContractError(
            f"{path}: SHA-256 is {digest[:12]}…, {MANIFEST} says {entry.sha256[:12]}…: "
            "the file is damaged or was replaced; copy the whole folder again, or export again"
        )


def _read_pending(path: Path) -> str:
    """The hash of an artefact in a bundle that an export was interrupted in while it took its place; "" if none."""
    try:
        return Manifest.read(path.parent / PENDING).files[path.name].sha256
    except (ContractError, KeyError):
        return ""


def _load(path: Path) -> object:
    return parse_json(path.read_bytes())


def _is_ours(value: object) -> bool:
    return isinstance(value, dict) and value.get("kind") == KIND


def _read_entry(value: JsonObject) -> Entry:
    return Entry(
        sha256=value.text("sha256"),
        bytes=value.integer("bytes"),
        format=value.text("format"),
        engine=value.text("engine"),
        contract=StreamContract.from_json(value.raw("contract")),
        companions=companions.text_items() if (companions := value.optional_child("companions")) else {},
    )
