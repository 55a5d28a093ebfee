"""The stream contract: all that a consumer of an artefact must know, inside the artefact, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ContractError
from edge_asc.frontend import FrontEnd
from edge_asc.jsonobject import JsonObject, JsonValue
from edge_asc.provenance import Measured, Provenance
from edge_asc.unknown import UnknownRule

# 1: first version.
SCHEMA_VERSION = 1

# The name of the ONNX metadata property and of the TFLite metadata buffer that hold the contract.
METADATA_KEY = "edge_asc_contract"

DTYPES = ("float32", "int8", "uint8", "int16")

# Log-mel frames of one step, which a backbone turns into one embedding.
STEP_FRAMES = 8

Role = Literal["features", "state", "embedding", "logits"]
Form = Literal["causal", "windowed"]
OutputMode = Literal["multi", "single"]
DecisionRule = Literal["last", "mean"]
ROLES: tuple[Role, ...] = get_args(Role)
FORMS: tuple[Form, ...] = get_args(Form)
OUTPUT_MODES: tuple[OutputMode, ...] = get_args(OutputMode)
DECISION_RULES: tuple[DecisionRule, ...] = get_args(DecisionRule)

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


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        name: as in the artefact.
        role: features go in; an input state is fed from the output state of the step before; logits come out.
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
        frames: log-mel frames that go in; 0 for "gru".
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


@dataclass(frozen=True)
class StreamContract:
    """Everything that a program needs to stream with an artefact, and how the artefact was made.

    Attributes:
        name: of the model.
        backbone: name of the backbone, such as "fuse".
        form: "causal" (exact streaming) or "windowed" (the paper's).
        output: "multi" (trained on the output of every step) or "single" (on the last one).
        labels: in the order of the logits.
        front_end: what turns samples into features.
        decision: "last": softmax of the last logits; "mean": softmax of the running mean of log-softmax since reset.
        parameters: at inference, without the auxiliary layer.
        macs: multiply-accumulates of each signature.
        scheme: name of the quantisation scheme, such as "none", "int8-dynamic" or "int8".
        signatures: what can be computed.
        temperature: divisor of the logits before the softmax, which makes probabilities match accuracy on held-out
            clips; finite and more than 0, 1 where it was not fitted. The most probable class does not depend on it.
        unknown: when a decision is unknown; None for a model without a label for unknown sounds.
        provenance: how the artefact was made.
        measured: measurements at export.
    """

    name: str
    backbone: str
    form: Form
    output: OutputMode
    labels: tuple[str, ...]
    front_end: FrontEnd
    decision: DecisionRule
    parameters: int
    macs: Mapping[str, int]
    scheme: str
    signatures: tuple[Signature, ...]
    temperature: float = 1.0
    unknown: UnknownRule | None = None
    provenance: Provenance = field(default_factory=Provenance)
    measured: Measured = field(default_factory=Measured)

    def __post_init__(self) -> None:
        if len(set(self.labels)) != len(self.labels):
            raise ContractError(f"contract: got labels {self.labels!r}; expected distinct names")
        if not 0.0 < self.temperature < math.inf:
            raise ContractError(f"contract: temperature is {self.temperature}; expected a finite number above 0")
        if self.unknown is not None and self.unknown.label not in self.labels:
            raise ContractError(
                f"contract: unknown sounds have the label {self.unknown.label!r}; expected one of "
                f"{', '.join(self.labels)}"
            )
        for signature in self.signatures:
            _check_states(signature)
            for spec in (*signature.inputs, *signature.outputs):
                if spec.dtype not in DTYPES:
                    raise ContractError(
                        f"signature {signature.name}: {spec.name} is {spec.dtype!r}; expected {', '.join(DTYPES)}"
                    )
                if spec.role == "logits" and spec.shape[-1] != len(self.labels):
                    raise ContractError(
                        f"signature {signature.name}: {spec.shape[-1]} logits for {len(self.labels)} labels"
                    )

    def signature(self, name: str) -> Signature:
        """Return the signature of that name.

        Raises:
            ContractError: there is none.
        """
        for signature in self.signatures:
            if signature.name == name:
                return signature
        known = ", ".join(s.name for s in self.signatures)
        raise ContractError(f"{self.name}: no signature {name!r}; this artefact has {known}")

    @property
    def windows(self) -> tuple[int, ...]:
        """Window lengths, s, that a windowed artefact offers, ascending."""
        names = (s.name for s in self.signatures if s.name.startswith("window_"))
        return tuple(sorted(int(name.removeprefix("window_").removesuffix("s")) for name in names))

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads back to an equal contract."""
        value: dict[str, JsonValue] = json.loads(self.dumps())
        return value

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `to_json` wrote. Provenance and measurements may hold unknown fields, which are ignored.

        Raises:
            ContractError: another schema version, or another field that is missing, unknown or malformed.
        """
        if not isinstance(value, Mapping) or "schema_version" not in value:
            raise ContractError("contract: no schema_version; expected the stream contract of an edge-asc artefact")
        version = value["schema_version"]
        if type(version) is not int or version != SCHEMA_VERSION:
            newer = type(version) is int and version > SCHEMA_VERSION
            advice = "upgrade edge-asc" if newer else "export the artefact again"
            raise ContractError(f"contract: got schema version {version!r}, expected {SCHEMA_VERSION}: {advice}")
        try:
            return cls._read(JsonObject(value, "contract"))
        except ValueError as error:
            raise ContractError(f"{error}; export the artefact again") from error

    @classmethod
    def _read(cls, value: JsonObject) -> Self:
        value.check_names(["schema_version", *cls.__dataclass_fields__])
        unknown, provenance, measured = map(value.optional_child, ("unknown", "provenance", "measured"))
        return cls(
            name=value.text("name"),
            backbone=value.text("backbone"),
            form=value.choice("form", FORMS),
            output=value.choice("output", OUTPUT_MODES),
            labels=value.texts("labels"),
            front_end=FrontEnd.from_json(value.raw("front_end")),
            decision=value.choice("decision", DECISION_RULES),
            parameters=value.integer("parameters"),
            macs=value.child("macs").integer_items(),
            scheme=value.text("scheme"),
            signatures=tuple(map(_read_signature, value.children("signatures"))),
            temperature=value.number("temperature", 1.0),
            unknown=None if unknown is None else UnknownRule.from_json(unknown),
            provenance=Provenance() if provenance is None else Provenance.from_json(provenance),
            measured=Measured() if measured is None else Measured.from_json(measured),
        )

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a contract from JSON text.

        Raises:
            ContractError: not JSON, or not a contract.
        """
        try:
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ContractError(f"contract: not JSON ({error}); the artefact is damaged") from error
        return cls.from_json(value)

    def dumps(self) -> str:
        """Return the contract as compact JSON text."""
        fields = asdict(self) | {"provenance": self.provenance.to_json(), "measured": self.measured.to_json()}
        return json.dumps({"schema_version": SCHEMA_VERSION, **fields}, separators=(",", ":"), allow_nan=False)


def check_tensors(signature: str, noun: str, expected: Kinds, actual: Mapping[str, AnyArray]) -> None:
    """Compare tensors with the expected ones; `noun` says in messages which tensors these are, such as "input".

    Raises:
        ContractError: one is missing, unknown, of another shape or type, or a float one is not finite.
    """
    if expected.keys() != actual.keys():
        raise ContractError(f"{signature}: got {noun}s {sorted(actual)}; expected {sorted(expected)}")
    for name, (shape, dtype) in expected.items():
        array = actual[name]
        if array.shape != shape or array.dtype != dtype:
            raise ContractError(f"{signature}: {noun} {name} is {array.dtype} {array.shape}; expected {dtype} {shape}")
        if dtype.kind == "f" and not np.isfinite(array).all():
            raise ContractError(f"{signature}: {noun} {name} holds NaN or infinite values; reset the stream")


def _only(specs: tuple[TensorSpec, ...], role: Role, signature: str, side: str) -> TensorSpec:
    matching = [spec for spec in specs if spec.role == role]
    if len(matching) != 1:
        raise ContractError(f"signature {signature}: {len(matching)} {side}s of role {role}; expected one")
    return matching[0]


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


def _read_signature(value: JsonObject) -> Signature:
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
