"""Quantisation schemes: the types that weights are stored in and that activations are computed in.

A scheme says nothing about formats. A format states which schemes it supports (edge_asc_export/format.py). A new
combination of types is a row of `COMBINATIONS`; a new scheme is a row of `SCHEMES`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Self, get_args

from edge_asc.errors import ExportError
from edge_asc.jsonobject import JsonValue
from edge_asc.tensors import InputKind

Weights = Literal["float32", "float16", "int8"]
Activations = Literal["float32", "dynamic", "int8", "int16"]

# The combinations that a file can hold and an engine can compute, and what computes in float in each of them.
COMBINATIONS: Mapping[tuple[Weights, Activations], str] = {
    ("float32", "float32"): "everything",
    ("float16", "float32"): "all arithmetic; weights are stored in half precision",
    ("int8", "dynamic"): "depthwise convolutions, GRU and output layer",
    ("int8", "int8"): "",
    ("int8", "int16"): "",
}


@dataclass(frozen=True)
class Bounds:
    """How near to float PyTorch an artefact must be on generated scenes, in logits of single steps.

    Attributes:
        agreement: lowest share of decisions with the same arg-max.
        sqnr: lowest signal-to-quantisation-noise ratio of the logits, dB.
        clear_agreement: lowest share of equal decisions, under the rule for clips, where the margin is clear.
    """

    agreement: float
    sqnr: float
    clear_agreement: float


# Below all pretrained models (docs/quantisation-results.md), and far above models whose ranges belong to other weights.
# What computes in float32 alone must be exact: see `parity.TOLERANCE`.
BOUNDS: Mapping[tuple[Weights, Activations], Bounds] = {
    ("float16", "float32"): Bounds(0.99, 40.0, 1.0),
    ("int8", "dynamic"): Bounds(0.95, 25.0, 1.0),
    ("int8", "int8"): Bounds(0.85, 12.0, 0.995),
    ("int8", "int16"): Bounds(0.95, 20.0, 1.0),
}


@dataclass(frozen=True)
class Scheme:
    """How a model is quantised; the same for every format that supports it.

    Attributes:
        name: in file names and contracts: ASCII letters, digits and dashes.
        weights: "float32", "float16" (stored in half precision, computed in float32) or "int8" (symmetric, one scale
            per output channel).
        activations: "float32"; "dynamic": quantised at each step to int8 with a scale of that step, before
            convolutions that are not depthwise; "int8": static and asymmetric; "int16": static and symmetric.
        float_tensors: patterns (`*`, `?`) of tensors that stay float where activations are static, with all tensors
            that share their quantisation parameters. Called "real" in JSON.

    Raises:
        ExportError: a type, a combination or the name is not allowed.
    """

    name: str
    weights: Weights = "float32"
    activations: Activations = "float32"
    float_tensors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, choices in (("weights", get_args(Weights)), ("activations", get_args(Activations))):
            if getattr(self, field) not in choices:
                raise ExportError(f"scheme {field} is {getattr(self, field)!r}; expected {', '.join(choices)}")
        if (self.weights, self.activations) not in COMBINATIONS:
            known = "; ".join(f"{w} with {a}" for w, a in COMBINATIONS)
            raise ExportError(
                f"scheme {self.name}: {self.weights} weights with {self.activations} activations; expected {known}"
            )
        if not self.name or not self.name.replace("-", "").isalnum() or not self.name.isascii():
            raise ExportError(f"scheme name is {self.name!r}; expected letters, digits and dashes")
        if self.float_tensors and not self.static:
            raise ExportError(
                f'scheme {self.name}: "real" names float tensors, but activations are {self.activations} anyway'
            )

    @property
    def static(self) -> bool:
        """Whether activations have static quantisation parameters, which need recorded ranges."""
        return self.activations in ("int8", "int16")

    @property
    def bounds(self) -> Bounds | None:
        """How near to float PyTorch an artefact must be; None where it must be exact."""
        return BOUNDS.get((self.weights, self.activations))

    @property
    def label(self) -> str:
        """The scheme's name in file names."""
        return file_label(self.name)

    @property
    def float_part(self) -> str:
        """The part that computes in float in every format, in words; "" where nothing does."""
        if self.float_tensors == OUTPUT:
            return "the output layer"
        named = f"tensors named {', '.join(self.float_tensors)}" if self.float_tensors else ""
        return named or COMBINATIONS[self.weights, self.activations]

    def keeps_float(self, tensor: str) -> bool:
        """Whether a tensor is named as float."""
        return any(fnmatchcase(tensor, pattern) for pattern in self.float_tensors)

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads back to an equal scheme."""
        return {
            "name": self.name,
            "weights": self.weights,
            "activations": self.activations,
            "real": list(self.float_tensors),
        }

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read the JSON object of `to_json`.

        Raises:
            ExportError: a field is unknown, missing or of another type.
        """
        if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
            raise ExportError(f"a scheme is {value!r}; expected an object with a name")
        known = ("name", "weights", "activations", "real")
        if unknown := sorted(set(value) - set(known)):
            raise ExportError(f"unknown scheme field {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
        real = value.get("real", ())
        if not isinstance(real, list | tuple) or not all(isinstance(pattern, str) for pattern in real):
            raise ExportError(f"scheme real is {real!r}; expected a list of tensor names")
        weights, activations = value.get("weights", "float32"), value.get("activations", "float32")
        return cls(value["name"], weights, activations, tuple(real))


def file_label(name: str) -> str:
    """Return what file names say of the scheme of this name."""
    return "float" if name == "none" else name


def input_label(kind: InputKind) -> str:
    """Return what file names say of what an artefact takes, behind the scheme."""
    return {"features": "", "samples": "-samples", "int16": "-samples-int16"}[kind]


# The output layer is a thousandth of the arithmetic, and rounding logits to 8 bits costs as much agreement as all other
# rounding of a model whose logits lie close together.
OUTPUT = ("logits",)
GRU_AND_OUTPUT = ("gru_*", "hidden_*", *OUTPUT)

SCHEMES: Mapping[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        Scheme("none"),
        Scheme("fp16", "float16"),
        Scheme("int8-dynamic", "int8", "dynamic"),
        Scheme("int8", "int8", "int8", OUTPUT),
        Scheme("int8-float-gru", "int8", "int8", GRU_AND_OUTPUT),
        Scheme("int16x8", "int8", "int16"),
    )
}

# The order in which `auto` tries schemes whose instructions are not known: from the smallest and fastest to the safest.
SELECTION_ORDER = ("int8", "int8-float-gru", "int8-dynamic", "int16x8", "fp16", "none")

AUTO = "auto"

# What `auto` names an int8 scheme with the float tensors that it has found.
MIXED = "int8-mixed"


def find_scheme(name: str) -> Scheme:
    """Return a scheme by its name, or read it from a JSON file.

    Raises:
        ExportError: there is no such scheme, or the file holds none.
    """
    if name in SCHEMES:
        return SCHEMES[name]
    path = Path(name)
    if not path.is_file():
        raise ExportError(f"{name}: no such scheme; expected {', '.join(SCHEMES)} or a JSON file")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{name}: not JSON ({error}); expected a scheme") from error
    scheme = Scheme.from_json(value)
    if scheme.name in (*SCHEMES, AUTO) and scheme != SCHEMES.get(scheme.name):
        raise ExportError(f"{name}: {scheme.name} is the name of another scheme; give this one its own")
    return scheme
