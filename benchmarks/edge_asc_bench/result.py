"""The result of a benchmark: its schema, checked when it is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_asc.errors import EdgeAscError

KIND = "bench"
# 1: first version. 2: measured on any target: conditions over the run, incomplete results, models without times.
SCHEMA_VERSION = 2

# Fields of a result and of its variants, with their types.
FIELDS: dict[str, type | tuple[type, ...]] = {
    "complete": bool,
    "incomplete": (str, type(None)),
    "made": dict,
    "machine": dict,
    "conditions": list,
    "settings": dict,
    "data": dict,
    "reference": (str, type(None)),
    "whole_clip": (dict, type(None)),
    "variants": list,
}
VARIANT_FIELDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "file": str,
    "sha256": str,
    "bytes": int,
    "engine": str,
    "form": str,
    "scheme": str,
    "parameters": int,
    "macs": dict,
    "state_bytes": int,
    "checkpoint_sha256": str,
    "graph": (dict, type(None)),
    "latency": dict,
    "memory": (dict, type(None)),
    "accuracy": (dict, type(None)),
    "agreement": (dict, type(None)),
    "loss": (dict, type(None)),
    "instructions": (dict, type(None)),
}


def read(path: Path) -> dict[str, Any]:
    """A result, checked.

    Raises:
        EdgeAscError: not JSON, another kind of file, another schema version, or a field is missing or of another type.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        kind, version = value["kind"], value["schema_version"]
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be read ({error.strerror}); expected what edge-asc bench writes") from error
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeAscError(f"{path}: not a result ({error!r}); expected what edge-asc bench writes") from error
    if kind != KIND:
        raise EdgeAscError(f"{path}: a result of kind {kind!r}; expected {KIND!r}, which edge-asc bench writes")
    if version != SCHEMA_VERSION:
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        raise EdgeAscError(
            f"{path}: schema version {version!r}; this edge-asc reads {SCHEMA_VERSION}: "
            f"{'upgrade edge-asc' if newer else 'measure again'}"
        )
    _check(path, value, FIELDS, "result")
    _check(path, value["data"], {"name": str, "clips": int, "sha256": str}, "data")
    _check(path, value["machine"], {"emulated": (str, type(None))}, "machine")
    _check(path, value["settings"], {"threads": int}, "settings")
    for variant in value["variants"]:
        if not isinstance(variant, dict):
            raise EdgeAscError(f"{path}: a variant is {type(variant).__name__}; expected an object: measure again")
        what = f"variant {variant.get('name')!r}"
        _check(path, variant, VARIANT_FIELDS, what)
        if variant["memory"]:
            _check(path, variant["memory"], {"peak": (int, type(None))}, f"memory of {what}")
        for form, latency in variant["latency"].items():
            _check(path, latency, {"total": dict, "rounds_ms": list, "unstable": list}, f"latency {form} of {what}")
            _check(path, latency["total"], {"p50": (int, float)}, f"latency {form} of {what}")
        if variant["accuracy"]:
            _check(path, variant["accuracy"], {"lengths": list, "all_steps": dict}, f"accuracy of {what}")
        if variant["agreement"]:
            _check(path, variant["agreement"], {"share": (int, float)}, f"agreement of {what}")
    return value


def agreement(variant: Mapping[str, Any]) -> float | None:
    """The share of a variant's decisions that equal the reference's; None where it was not measured."""
    found = variant["agreement"]["share"] if variant["agreement"] else None
    return variant["accuracy"]["all_steps"]["agreement"] if variant["accuracy"] else found


def accuracy_at(variant: Mapping[str, Any], form: str) -> Mapping[str, Any] | None:
    """The accuracy that goes with a form: at the length of a window, at the longest length for a step; or None."""
    rows = variant["accuracy"]["lengths"] if variant["accuracy"] else []
    chosen: list[Mapping[str, Any]] = [row for row in rows if form == "step" or f"{row['seconds']:g}" == form]
    return chosen[-1] if chosen else None


def form_title(form: str) -> str:
    """The form of a latency in words: "step", or the length of the window."""
    return form if form == "step" else f"{form} s"


def titled(name: str, form: str) -> str:
    """A model in one of its forms: its name, and the length of a window."""
    return name if form == "step" else f"{name}, {form_title(form)}"


def _check(path: Path, value: dict[str, Any], fields: dict[str, Any], what: str) -> None:
    for name, kind in fields.items():
        if name not in value or not isinstance(value[name], kind):
            found = type(value[name]).__name__ if name in value else "nothing"
            raise EdgeAscError(f"{path}: {what} has {found} as {name}; measure again with this version")
