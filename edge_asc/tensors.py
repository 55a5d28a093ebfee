"""Tensors and signatures of an artefact, as its contract describes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ContractError
from edge_asc.jsonobject import JsonObject

DTYPES = ("float32", "int8", "uint8", "int16")

Role = Literal["features", "samples", "state", "embedding", "logits"]
ROLES: tuple[Role, ...] = get_args(Role)
# What a signature takes: features of the front end, float samples in [−1, 1], or integers of 16 bits.
InputKind = Literal["features", "samples", "int16"]
INPUT_KINDS: tuple[InputKind, ...] = get_args(InputKind)
AXES = ("batch", "channel", "mel", "time", "unit")

# Bounds of what a contract may say: far beyond any model of this kind.
LONGEST_NAME = 256  # characters
MOST_VALUES = 2**24  # of one tensor
MOST_AXES = 6
LARGEST_SCALE = 1e6
# Far above log-mel of any audio, which lies within ±60, and above states, embeddings and logits.
LARGEST = 1e6

AnyArray: TypeAlias = npt.NDArray[Any]
"""An array of any shape and type."""
Tensors: TypeAlias = dict[str, AnyArray]
"""Inputs, outputs or states of a signature, by name."""
Kinds: TypeAlias = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Shape and numpy type of tensors, by name."""


@dataclass(frozen=True)
class Affine:
    """Quantisation parameters of an integer tensor: float value = scale · (integer − zero_point)."""

    scale: float
    zero_point: int


# Samples of 16 bits.
INT16 = Affine(2.0**-15, 0)


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        name: as in the artefact.
        role: features or samples go in; an input state is fed from the output state of the step before; logits come
            out.
        shape: all sizes fixed.
        axes: what each axis is: "batch", "channel", "mel", "time" or "unit".
        dtype: numpy's name.
        quantisation: for integer tensors.
        feeds: of an output state: the input that takes it at the next step, raw.
    """

    name: str
    role: Role
    shape: tuple[int, ...]
    axes: tuple[str, ...]
    dtype: str = "float32"
    quantisation: Affine | None = None
    feeds: str | None = None

    def initial(self) -> AnyArray:
        """Return a state at the start of a stream: zero, or the zero point of an integer state."""
        zero = self.quantisation.zero_point if self.quantisation else 0
        return np.full(self.shape, zero, self.dtype)

    def empty(self) -> AnyArray:
        """Return an uninitialised array of this shape and type."""
        return np.empty(self.shape, self.dtype)


@dataclass(frozen=True)
class Signature:
    """One computation of an artefact.

    Attributes:
        name: "step" (causal), "window_5s" (windowed: embeddings of 5 s) or "gru" (windowed: one embedding).
        frames: log-mel frames that go in, as features or as samples; 0 for "gru".
        samples: new audio samples that these frames stand for.
        inputs, outputs: in the artefact's order.
    """

    name: str
    frames: int
    samples: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    @cached_property
    def input_kinds(self) -> Kinds:
        """Shape and numpy type of each input, by name."""
        return {spec.name: (spec.shape, np.dtype(spec.dtype)) for spec in self.inputs}

    def states(self) -> tuple[TensorSpec, ...]:
        """Return the input states."""
        return tuple(spec for spec in self.inputs if spec.role == "state")

    def input(self, role: Role) -> TensorSpec:
        """Return the one input of a role.

        Raises:
            ContractError: there is none, or several.
        """
        return _only(self.inputs, role, self.name, "input")

    def output(self, role: Role) -> TensorSpec:
        """Return the one output of a role.

        Raises:
            ContractError: there is none, or several.
        """
        return _only(self.outputs, role, self.name, "output")


def input_kind(signatures: Iterable[Signature]) -> InputKind:
    """Return what signatures take."""
    samples = [spec for signature in signatures for spec in signature.inputs if spec.role == "samples"]
    if not samples:
        return "features"
    return "int16" if samples[0].dtype == "int16" else "samples"


def check_tensors(signature: str, noun: str, expected: Kinds, actual: Mapping[str, AnyArray]) -> None:
    """Compare tensors with the expected ones; `noun` says in messages which tensors these are, such as "input".

    Raises:
        ContractError: one is missing, unknown, of another shape or type, or not finite or beyond ±LARGEST.
    """
    if expected.keys() != actual.keys():
        raise ContractError(f"{signature}: got {noun}s {sorted(actual)}; expected {sorted(expected)}")
    for name, (shape, dtype) in expected.items():
        array = actual[name]
        if array.shape != shape or array.dtype != dtype:
            raise ContractError(f"{signature}: {noun} {name} is {array.dtype} {array.shape}; expected {dtype} {shape}")
        check_values(f"{signature}: {noun} {name}", array)


def to_int16(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """Return the integers nearest to samples in [−1, 1], over 2¹⁵; louder ones are clipped."""
    integers: npt.NDArray[np.int16] = np.clip(np.rint(samples * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
    return integers


def are_bounded(arrays: Iterable[AnyArray]) -> bool:
    """Return whether all float values are finite and within ±LARGEST; fast, and False where it is not sure."""
    # The sum of squares takes a third of the time of comparisons, and NaN compares as false.
    with np.errstate(over="ignore", invalid="ignore"):
        for array in arrays:
            if array.dtype.kind == "f":
                flat = array.reshape(-1)
                if not np.dot(flat, flat) <= LARGEST * LARGEST:
                    return False
    return True


def check_values(where: str, array: AnyArray) -> None:
    """Make sure that float values are finite and of a size that audio can cause; integers always are.

    Raises:
        ContractError: they are not.
    """
    if array.dtype.kind != "f":
        return
    if not np.isfinite(array).all():
        raise ContractError(f"{where} holds NaN or infinite values; reset the stream")
    if (peak := float(np.abs(array).max())) > LARGEST:
        raise ContractError(f"{where} reaches {peak:g}, expected at most {LARGEST:g}; reset the stream")


def _only(specs: tuple[TensorSpec, ...], role: Role, signature: str, side: str) -> TensorSpec:
    matching = [spec for spec in specs if spec.role == role]
    if len(matching) != 1:
        raise ContractError(f"signature {signature}: {len(matching)} {side}s of role {role}; expected one")
    return matching[0]


def check_label(where: str, text: str) -> None:
    """Make sure that a text can name something: printable, and neither empty nor very long.

    Raises:
        ContractError: it cannot.
    """
    if not 0 < len(text) <= LONGEST_NAME or not text.isprintable() or text != text.strip():
        raise ContractError(f"{where} is {text[:40]!r}; expected 1 to {LONGEST_NAME} printable characters")


def check_signature(signature: Signature) -> None:
    """Make sure that tensors of a signature are described without contradiction, and states can be fed back.

    Raises:
        ContractError: a name, shape, axis, type or quantisation makes no sense, or states do not match.
    """
    where = f"signature {signature.name}"
    _check_states(signature)
    for side, specs in (("input", signature.inputs), ("output", signature.outputs)):
        names = [spec.name for spec in specs]
        if not names or len(set(names)) != len(names):
            raise ContractError(f"{where}: got {side}s {names}; expected at least one, with distinct names")
        for spec in specs:
            _check_spec(f"{where}: {side}", spec)


def _check_spec(where: str, spec: TensorSpec) -> None:
    check_label(f"{where} name", spec.name)
    where = f"{where} {spec.name}"
    if spec.dtype not in DTYPES:
        raise ContractError(f"{where} is {spec.dtype!r}; expected {', '.join(DTYPES)}")
    if not 0 < len(spec.shape) <= MOST_AXES or min(spec.shape) < 1 or math.prod(spec.shape) > MOST_VALUES:
        raise ContractError(
            f"{where} has shape {spec.shape}; expected 1 to {MOST_AXES} sizes above 0, at most {MOST_VALUES} values"
        )
    if len(spec.axes) != len(spec.shape) or len(set(spec.axes)) != len(spec.axes) or not set(spec.axes) <= set(AXES):
        raise ContractError(
            f"{where} has axes {spec.axes} for shape {spec.shape}; expected one of {AXES} for each size"
        )
    _check_quantisation(where, spec)


def _check_quantisation(where: str, spec: TensorSpec) -> None:
    dtype, qparams = np.dtype(spec.dtype), spec.quantisation
    if (qparams is None) == (dtype.kind in "iu"):
        raise ContractError(
            f"{where} is {spec.dtype} with quantisation {qparams}; expected scale and zero point of integers alone"
        )
    if qparams is None:
        return
    if not 0.0 < qparams.scale <= LARGEST_SCALE:
        raise ContractError(f"{where} has scale {qparams.scale}; expected more than 0, at most {LARGEST_SCALE:g}")
    limits = np.iinfo(dtype)
    if not limits.min <= qparams.zero_point <= limits.max:
        raise ContractError(f"{where} has zero point {qparams.zero_point}; expected {limits.min} to {limits.max}")


def _check_states(signature: Signature) -> None:
    inputs = {spec.name: spec for spec in signature.states()}
    fed = {spec.feeds: spec for spec in signature.outputs if spec.role == "state"}
    if set(inputs) != set(fed):
        raise ContractError(
            f"signature {signature.name}: input states {sorted(inputs)} are fed by outputs for {sorted(map(str, fed))}"
        )
    for name, spec in inputs.items():
        source = fed[name]
        if (spec.shape, spec.dtype, spec.quantisation) != (source.shape, source.dtype, source.quantisation):
            raise ContractError(
                f"signature {signature.name}: state {name} differs between input and output in shape, type or "
                "quantisation, so that it cannot be fed back raw"
            )


def read_signature(value: JsonObject) -> Signature:
    """Read a signature of a contract.

    Raises:
        ValueError: a field is missing, unknown or of another type.
    """
    value.check_names(tuple(Signature.__dataclass_fields__))
    return Signature(
        name=value.text("name"),
        frames=value.integer("frames"),
        samples=value.integer("samples"),
        inputs=tuple(map(_read_spec, value.children("inputs"))),
        outputs=tuple(map(_read_spec, value.children("outputs"))),
    )


def _read_spec(value: JsonObject) -> TensorSpec:
    value.check_names(tuple(TensorSpec.__dataclass_fields__))
    quantisation = value.optional_child("quantisation")
    return TensorSpec(
        name=value.text("name"),
        role=value.choice("role", ROLES),
        shape=value.integers("shape"),
        axes=value.texts("axes"),
        dtype=value.text("dtype"),
        quantisation=None
        if quantisation is None
        else Affine(quantisation.number("scale"), quantisation.integer("zero_point")),
        feeds=value.optional_text("feeds"),
    )
