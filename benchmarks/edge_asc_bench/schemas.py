"""JSON Schemas of the documents that edge-asc writes: `python -m edge_asc_bench.schemas docs/schemas`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge_asc import contract, manifest, provenance
from edge_asc.evaluation import document
from edge_asc.files import write_bytes
from edge_asc_bench import kinds, result

# Fields whose name in JSON differs from the attribute's.
RENAMED = {"Provenance": {"float_parts": "float"}}
BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Kind:
    """One kind of document.

    Attributes:
        title: of the schema.
        type: of the document, as it is in Python.
        constants: fields that the document has besides those of the type.
    """

    title: str
    type: type
    constants: dict[str, str | int]


KINDS = {
    "result.json": Kind("Result of a benchmark", result.Result, {}),
    "contract.json": Kind("Stream contract", contract.StreamContract, {"schema_version": contract.SCHEMA_VERSION}),
    "manifest.json": Kind(
        "Manifest of an export",
        manifest.Manifest,
        {"kind": manifest.KIND, "schema_version": manifest.SCHEMA_VERSION},
    ),
    "evaluation.json": Kind(
        "Models on labelled clips",
        kinds.Evaluation,
        {"kind": document.KIND, "schema_version": document.SCHEMA_VERSION},
    ),
}


def describe(kind: Kind) -> str:
    """Return the JSON Schema of a kind of document."""
    with _any_json_value():
        (root,), components = msgspec.json.schema_components([kind.type], ref_template="#/$defs/{name}")
    for name, definition in components.items():
        definition["description"] = definition.get("description", "").partition("\n\n")[0]
        for attribute, field in RENAMED.get(name, {}).items():
            definition["properties"][field] = definition["properties"].pop(attribute)
    # The contract inside a manifest has its constants, too.
    for each in KINDS.values():
        if each.type.__name__ in components:
            _add_constants(components[each.type.__name__], each.constants)
    schema = {"$schema": DIALECT, "title": kind.title, **root, "$defs": dict(sorted(components.items()))}
    plain = json.loads(json.dumps(schema), object_hook=_shorten_bounds)
    return json.dumps(plain, indent=1, ensure_ascii=False) + "\n"


def _shorten_bounds(schema: dict[str, object]) -> dict[str, object]:
    """Write bounds alike, whether they were 1 or 1.0: Python takes two such types for one, the first that it meets."""
    whole = {name: int(bound) for name in BOUNDS if isinstance(bound := schema.get(name), float) and bound % 1 == 0}
    return {**schema, **whole}


@contextmanager
def _any_json_value() -> Iterator[None]:
    """Let `JsonValue`, a recursive type that msgspec does not support, mean any value."""
    modules = [module for module in (contract, manifest, provenance) if hasattr(module, "JsonValue")]
    before = [module.JsonValue for module in modules]
    for module in modules:
        vars(module)["JsonValue"] = Any
    try:
        yield
    finally:
        for module, value in zip(modules, before, strict=True):
            vars(module)["JsonValue"] = value


def _add_constants(schema: dict[str, object], constants: dict[str, str | int]) -> None:
    properties, required = schema["properties"], schema.setdefault("required", [])
    assert isinstance(properties, dict)
    assert isinstance(required, list)
    schema["properties"] = {**{name: {"const": value} for name, value in constants.items()}, **properties}
    schema["required"] = [*constants, *required]


def main(folder: Path) -> None:
    """Write the schemas of all kinds to a folder."""
    for name, kind in KINDS.items():
        write_bytes(folder / name, describe(kind).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
