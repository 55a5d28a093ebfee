"""The stream contract: all that a consumer of an artefact must know, inside the artefact, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ContractError
from edge_asc.frontend import FrontEnd

# 1: first version.
SCHEMA_VERSION = 1

# The name of the ONNX metadata property and of the TFLite metadata buffer that hold the contract.
METADATA_KEY = "edge_asc_contract"

DTYPES = ("float32", "int8", "uint8", "int16")

Role = Literal["features", "state", "embedding", "logits"]
Decision = Literal["last", "mean"]
# Shape and numpy type of tensors, by name.
Kinds = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]


@dataclass(frozen=True)
class Affine:
    """An integer tensor's meaning: real = scale · (integer − zero_point)."""

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

    def initial(self) -> npt.NDArray[Any]:
        """The value of a state at the start of a stream: real zero, in the tensor's own type."""
        zero = self.quantisation.zero_point if self.quantisation else 0
        return np.full(self.shape, zero, self.dtype)

    def empty(self) -> npt.NDArray[Any]:
        """Memory for a value, which holds anything."""
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
    def input_kinds(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape and numpy type of each input, by name."""
        return {spec.name: (spec.shape, np.dtype(spec.dtype)) for spec in self.inputs}

    def states(self) -> tuple[TensorSpec, ...]:
        """The input states."""
        return tuple(spec for spec in self.inputs if spec.role == "state")

    def input(self, role: Role) -> TensorSpec:
        """The one input of a role."""
        return _only(self.inputs, role, self.name, "input")

    def output(self, role: Role) -> TensorSpec:
        """The one output of a role."""
        return _only(self.outputs, role, self.name, "output")


@dataclass(frozen=True)
class StreamContract:
    """What a consumer needs to stream with an artefact, and how the artefact came to be.

    Attributes:
        name: of the model.
        backbone, form, output: what the model is ("fuse"; "causal" or "windowed"; "multi" or "single").
        labels: in the order of the logits.
        front_end: what turns samples into features.
        decision: "last": softmax of the last logits; "mean": the running mean of log-softmax since reset.
        parameters: at inference, without the auxiliary layer.
        macs: multiply-accumulates of each signature.
        scheme: name of the quantisation scheme, such as "none", "int8-dynamic" or "int8".
        signatures: what can be computed.
        provenance: tool versions, checkpoint hash, where activation ranges come from, what stayed float.
        measured: parity with PyTorch, seen at export.
    """

    name: str
    backbone: str
    form: Literal["causal", "windowed"]
    output: Literal["multi", "single"]
    labels: tuple[str, ...]
    front_end: FrontEnd
    decision: Decision
    parameters: int
    macs: Mapping[str, int]
    scheme: str
    signatures: tuple[Signature, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, choices in (("decision", ("last", "mean")), ("form", ("causal", "windowed"))):
            if getattr(self, name) not in choices:
                found = getattr(self, name)
                raise ContractError(f"contract: {name} is {found!r}; expected {' or '.join(map(repr, choices))}")
        if isinstance(self.labels, str) or len(set(self.labels)) != len(self.labels):
            raise ContractError(f"contract: labels are {self.labels!r}; expected distinct names")
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
        """The signature of that name.

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
        """Window lengths, s, that a windowed artefact offers."""
        names = (s.name for s in self.signatures if s.name.startswith("window_"))
        return tuple(sorted(int(name.removeprefix("window_").removesuffix("s")) for name in names))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal contract."""
        value: dict[str, Any] = json.loads(self.dumps())
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ContractError: another schema version, or a field that is missing, unknown or malformed.
        """
        try:
            version = value["schema_version"]
        except (KeyError, TypeError):
            raise ContractError("contract: no schema_version; this is not an edge-asc stream contract") from None
        if type(version) is not int or version != SCHEMA_VERSION:
            newer = type(version) is int and version > SCHEMA_VERSION
            advice = "upgrade edge-asc" if newer else "export the artefact again"
            raise ContractError(f"contract: schema version {version!r}; this edge-asc reads {SCHEMA_VERSION}: {advice}")
        try:
            fields = {k: v for k, v in value.items() if k != "schema_version"}
            if not isinstance(fields["labels"], list | tuple):
                raise TypeError("labels are no list")
            fields["labels"] = tuple(fields["labels"])
            fields["front_end"] = FrontEnd.from_json(fields["front_end"])
            fields["signatures"] = tuple(_read_signature(s) for s in fields["signatures"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError) as error:
            raise ContractError(f"contract: malformed ({error!r}); export the artefact again") from error

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
        """The contract as compact JSON text."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, separators=(",", ":"), allow_nan=False)


def check_tensors(signature: str, what: str, expected: Kinds, found: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse tensors that are not the expected ones; `what` they are, as an error says.

    Raises:
        ContractError: one is missing, unknown, of another shape or type, or a float one is not finite.
    """
    if expected.keys() != found.keys():
        raise ContractError(f"{signature}: got {what}s {sorted(found)}; expected {sorted(expected)}")
    for name, (shape, dtype) in expected.items():
        value = found[name]
        if value.shape != shape or value.dtype != dtype:
            raise ContractError(f"{signature}: {what} {name} is {value.dtype} {value.shape}; expected {dtype} {shape}")
        if dtype.kind == "f" and not np.isfinite(value).all():
            raise ContractError(f"{signature}: {what} {name} holds NaN or infinite values; reset the stream")


def _only(specs: tuple[TensorSpec, ...], role: Role, signature: str, side: str) -> TensorSpec:
    found = [spec for spec in specs if spec.role == role]
    if len(found) != 1:
        raise ContractError(f"signature {signature}: {len(found)} {side}s of role {role}; expected one")
    return found[0]


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


def _read_spec(value: Mapping[str, Any]) -> TensorSpec:
    quantisation = value["quantisation"]
    return TensorSpec(
        **{
            **value,
            "shape": tuple(value["shape"]),
            "axes": tuple(value["axes"]),
            "quantisation": Affine(**quantisation) if quantisation else None,
        }
    )


def _read_signature(value: Mapping[str, Any]) -> Signature:
    inputs, outputs = (tuple(_read_spec(v) for v in value[side]) for side in ("inputs", "outputs"))
    return Signature(**{**value, "inputs": inputs, "outputs": outputs})
