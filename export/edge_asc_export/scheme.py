"""Quantisation schemes: what is stored and what is computed in which type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, Self, get_args

from edge_asc.errors import ExportError

Weights = Literal["float32", "float16", "int8"]
Activations = Literal["float32", "dynamic", "int8", "int16"]

# What of both a file can hold and an engine can compute.
COMBINATIONS: Mapping[tuple[Weights, Activations], tuple[str, ...]] = {
    ("float32", "float32"): ("onnx", "tflite"),
    ("float16", "float32"): ("onnx", "tflite"),
    ("int8", "dynamic"): ("onnx", "tflite"),
    ("int8", "int8"): ("onnx", "tflite"),
    ("int8", "int16"): ("tflite",),
}


@dataclass(frozen=True)
class Scheme:
    """How a model is quantised; the same for every format that can express it.

    Attributes:
        name: what files and contracts call it: letters, digits and dashes.
        weights: "float32", "float16" (stored, computed in float32) or "int8" (symmetric, one scale per output channel).
        activations: "float32"; "dynamic": rounded to 8 bits at each step on a grid of its own, before convolutions that
            are not depthwise; "int8": on fixed asymmetric grids; "int16": on fixed symmetric ones.
        real: patterns (`*`, `?`) of tensors that stay float where activations have fixed grids, with all tensors that
            share their grids.
    """

    name: str
    weights: Weights = "float32"
    activations: Activations = "float32"
    real: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, choices in (("weights", get_args(Weights)), ("activations", get_args(Activations))):
            if getattr(self, field) not in choices:
                found = getattr(self, field)
                raise ExportError(f"scheme {field} is {found!r}; expected {', '.join(choices)}")
        if (self.weights, self.activations) not in COMBINATIONS:
            known = "; ".join(f"{w} with {a}" for w, a in COMBINATIONS)
            raise ExportError(
                f"scheme {self.name}: {self.weights} weights with {self.activations} activations; expected {known}"
            )
        if not self.name or not self.name.replace("-", "").isalnum() or not self.name.isascii():
            raise ExportError(f"scheme name is {self.name!r}; expected letters, digits and dashes")
        if self.real and not self.static:
            raise ExportError(
                f"scheme {self.name}: float tensors are named, but activations are {self.activations} anyway"
            )

    @property
    def static(self) -> bool:
        """Whether activations have fixed grids, which need recorded ranges."""
        return self.activations in ("int8", "int16")

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that can express it."""
        return COMBINATIONS[self.weights, self.activations]

    def keeps_real(self, tensor: str) -> bool:
        """Whether a tensor is named as float."""
        return any(fnmatchcase(tensor, pattern) for pattern in self.real)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal scheme."""
        return {**asdict(self), "real": list(self.real)}

    @classmethod
    def from_json(cls, value: Any) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ExportError: a field is unknown, missing or has another type.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ExportError(f"a scheme is {value!r}; expected an object with a name")
        if unknown := sorted(set(value) - known):
            raise ExportError(f"unknown scheme field {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
        real = value.get("real", ())
        if not isinstance(real, list | tuple) or not all(isinstance(pattern, str) for pattern in real):
            raise ExportError(f"scheme real is {real!r}; expected a list of names of tensors")
        return cls(**{**value, "real": tuple(real)})


GRU_AND_OUTPUT = ("gru_*", "hidden_*", "logits")

SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("none"),
        Scheme("fp16", "float16"),
        Scheme("int8-dynamic", "int8", "dynamic"),
        Scheme("int8", "int8", "int8"),
        Scheme("int8-float-gru", "int8", "int8", GRU_AND_OUTPUT),
        Scheme("int16x8", "int8", "int16"),
    )
}


def find_scheme(name: str) -> Scheme:
    """A scheme by its name, or from a JSON file.

    Raises:
        ExportError: there is none, or the file is no scheme.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    path = Path(name)
    if not path.is_file():
        raise ExportError(f"{name}: no such scheme; expected {', '.join(SCHEMES)} or a JSON file")
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ExportError(f"{name}: not JSON ({error}); expected a scheme") from error
    scheme = Scheme.from_json(value)
    if scheme.name in (*SCHEMES, "auto") and scheme != SCHEMES.get(scheme.name):
        raise ExportError(f"{name}: {scheme.name} is the name of another scheme; give this one its own")
    return scheme
