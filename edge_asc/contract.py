"""The stream contract: all that a consumer of an artefact must know, inside the artefact, as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal, Self, get_args

from edge_asc.detection.rules import EventRules, default_rules
from edge_asc.errors import ContractError
from edge_asc.frontend import FrontEnd
from edge_asc.jsonobject import JsonObject, JsonValue, parse_json
from edge_asc.provenance import Measured, Provenance
from edge_asc.rule import CLIP_RULES, DEFAULT_LIVE, ClipRule, DecisionRule
from edge_asc.tensors import DTYPES as DTYPES  # these are a part of the contract for those that read it
from edge_asc.tensors import INPUT_KINDS as INPUT_KINDS
from edge_asc.tensors import INT16 as INT16
from edge_asc.tensors import ROLES as ROLES
from edge_asc.tensors import Affine as Affine
from edge_asc.tensors import AnyArray as AnyArray
from edge_asc.tensors import InputKind as InputKind
from edge_asc.tensors import Kinds as Kinds
from edge_asc.tensors import Role as Role
from edge_asc.tensors import Signature as Signature
from edge_asc.tensors import Tensors as Tensors
from edge_asc.tensors import TensorSpec as TensorSpec
from edge_asc.tensors import check_label, check_signature, read_signature
from edge_asc.tensors import check_tensors as check_tensors
from edge_asc.unknown import UnknownRule

# 1: first version. 2: `live` and `events`, which have defaults. 3: `input`, which is "features" before.
SCHEMA_VERSION = 3
OLDEST_VERSION = 1

# The name of the ONNX metadata property and of the TFLite metadata buffer that hold the contract.
METADATA_KEY = "edge_asc_contract"

# The digest of an artefact in a contract that is in none.
UNSEALED = "0" * 64

# Log-mel frames of one step, which a backbone turns into one embedding.
STEP_FRAMES = 8

Form = Literal["causal", "windowed"]
OutputMode = Literal["multi", "single"]
FORMS: tuple[Form, ...] = get_args(Form)
OUTPUT_MODES: tuple[OutputMode, ...] = get_args(OutputMode)

# Signatures of windows, by their length, s.
WINDOW = re.compile("window_[1-9][0-9]?s")
# Bounds of what a contract may say: far beyond any model of this kind.
MOST_LABELS = 10_000
LARGEST_COUNT = 10**15
LONGEST = 60  # s of one signature
LONGEST_TEXT = 2**24  # bytes


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
        decision: the rule for one clip from a reset: "last", softmax of the last logits, or "mean", softmax of the
            running mean of log-softmax since the reset.
        live: the rule for streams without an end.
        parameters: at inference, without the auxiliary layer.
        macs: multiply-accumulates of each signature.
        scheme: name of the quantisation scheme, such as "none", "int8-dynamic" or "int8".
        signatures: what can be computed.
        input: what a step or a window takes: "features" of the front end; the "samples" that they are of, float in
            [−1, 1]; or these as "int16", over 2¹⁵. With samples, the front end is a part of the artefact.
        temperature: divisor of the logits before the softmax, which makes probabilities match accuracy on held-out
            clips; finite and more than 0, 1 where it was not fitted. The most probable class does not depend on it.
        unknown: when a decision is unknown; None for a model without a label for unknown sounds.
        events: when a label's probability is an event, calibrated on streams; None where it was not calibrated.
        provenance: how the artefact was made.
        measured: measurements at export.
        file_sha256: of the artefact that the contract is in (see `edge_asc.seal`); zeros outside an artefact. Contracts
            that differ in it alone are equal.

    Raises:
        ContractError: a field makes no sense by itself, or contradicts another one.
    """

    name: str
    backbone: str
    form: Form
    output: OutputMode
    labels: tuple[str, ...]
    front_end: FrontEnd
    decision: ClipRule
    parameters: int
    macs: Mapping[str, int]
    scheme: str
    signatures: tuple[Signature, ...]
    temperature: float = 1.0
    unknown: UnknownRule | None = None
    live: DecisionRule = DEFAULT_LIVE
    events: EventRules | None = None
    input: InputKind = "features"
    provenance: Provenance = field(default_factory=Provenance)
    measured: Measured = field(default_factory=Measured)
    file_sha256: str = field(default=UNSEALED, compare=False, repr=False)

    def __post_init__(self) -> None:
        check_label("contract: name", self.name)
        check_label("contract: backbone", self.backbone)
        check_label("contract: scheme", self.scheme)
        if not 2 <= len(self.labels) <= MOST_LABELS or len(set(self.labels)) != len(self.labels):
            shown = f"{len(self.labels)} labels" if len(self.labels) > MOST_LABELS else f"labels {self.labels!r}"
            raise ContractError(f"contract: got {shown}; expected 2 to {MOST_LABELS} distinct names")
        for label in self.labels:
            check_label("contract: label", label)
        if not re.fullmatch("[0-9a-f]{64}", self.file_sha256):
            raise ContractError(f"contract: file_sha256 is {self.file_sha256[:80]!r}; expected 64 hexadecimal digits")
        names = [signature.name for signature in self.signatures]
        if len(set(names)) != len(names):
            raise ContractError(f"contract: got signatures {names}; expected distinct names")
        if not 0.0 < self.temperature < math.inf:
            raise ContractError(f"contract: temperature is {self.temperature}; expected a finite number above 0")
        if self.unknown is not None and self.unknown.label not in self.labels:
            raise ContractError(
                f"contract: unknown sounds have the label {self.unknown.label!r}; expected one of "
                f"{', '.join(self.labels)}"
            )
        if self.events is not None and (strange := self.events.labels - set(self.labels)):
            raise ContractError(
                f"contract: events have rules for {', '.join(sorted(strange))}; expected some of "
                f"{', '.join(self.labels)}"
            )
        for signature in self.signatures:
            check_signature(signature)
            self._check_computation(signature)
        self._check_form(names)
        for name, count in (("parameters", self.parameters), *self.macs.items()):
            if not 0 <= count <= LARGEST_COUNT:
                raise ContractError(f"contract: {name} is {count}; expected 0 to {LARGEST_COUNT}")
        if unknown := sorted(self.macs.keys() - set(names)):
            raise ContractError(f"contract: macs of {', '.join(unknown)}; expected some of {', '.join(names)}")

    def _check_computation(self, signature: Signature) -> None:
        """Compare a signature with labels and front end."""
        where, front_end = f"signature {signature.name}", self.front_end
        for spec in signature.outputs:
            if spec.role == "logits" and spec.shape[-1] != len(self.labels):
                raise ContractError(f"{where}: {spec.shape[-1]} logits for {len(self.labels)} labels")
        if signature.name == "gru":
            frames = 0
            signature.input("embedding")
        else:
            frames = max(1, signature.frames)
            if self.input == "features":
                self._check_features(where, signature.input("features"), frames)
            else:
                self._check_samples(where, signature.input("samples"), frames * front_end.hop)
        samples = frames * front_end.hop
        if (signature.frames, signature.samples) != (frames, samples) or samples > LONGEST * front_end.sample_rate:
            raise ContractError(
                f"{where}: got {signature.frames} frames for {signature.samples} samples; expected {frames} frames, "
                f"{samples} samples, at most {LONGEST} s"
            )

    def _check_features(self, where: str, features: TensorSpec, frames: int) -> None:
        sizes = dict(zip(features.axes, features.shape, strict=True))
        mels = self.front_end.mels
        if math.prod(features.shape) != frames * mels or sizes.get("time") != frames:
            raise ContractError(
                f"{where}: features have shape {features.shape} ({', '.join(features.axes)}); expected {frames} "
                f"frames of {mels} mel bins"
            )

    def _check_samples(self, where: str, samples: TensorSpec, count: int) -> None:
        sizes = dict(zip(samples.axes, samples.shape, strict=True))
        if math.prod(samples.shape) != count or sizes.get("time") != count:
            raise ContractError(
                f"{where}: samples have shape {samples.shape} ({', '.join(samples.axes)}); expected {count} of them"
            )
        dtype, qparams = ("int16", INT16) if self.input == "int16" else ("float32", None)
        if (samples.dtype, samples.quantisation) != (dtype, qparams):
            raise ContractError(
                f"{where}: samples are {samples.dtype} with quantisation {samples.quantisation}; expected {dtype} with "
                f"{qparams} for input {self.input!r}"
            )

    def _check_form(self, names: Sequence[str]) -> None:
        """Make sure that the signatures are those of the form."""
        if self.form == "causal":
            if names != ["step"]:
                raise ContractError(f"contract: got signatures {names}; expected step alone in a causal artefact")
            self.signatures[0].output("logits")
            return
        windows = [name for name in names if WINDOW.fullmatch(name)]
        if not windows or set(names) - {*windows, "gru"}:
            raise ContractError(
                f"contract: got signatures {names}; expected window_1s or its like, and gru, in a windowed artefact"
            )
        for name in windows:
            signature = self.signature(name)
            rate, hop = self.front_end.sample_rate, self.front_end.hop
            if signature.frames != (expected := int(name[7:-1]) * rate // hop):
                raise ContractError(f"signature {name}: got {signature.frames} frames; expected {expected}")
            signature.output("embedding" if "gru" in names else "logits")
        if "gru" in names:
            self.signature("gru").output("logits")

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
        names = (s.name for s in self.signatures if WINDOW.fullmatch(s.name))
        return tuple(sorted(int(name[7:-1]) for name in names))

    @property
    def step_seconds(self) -> float:
        """Seconds of audio of one decision of a causal model.

        Raises:
            ContractError: a windowed model.
        """
        return self.signature("step").samples / self.front_end.sample_rate

    @property
    def event_rules(self) -> EventRules:
        """The rules for events: `events`, or those for a model without calibrated ones."""
        return self.events or default_rules(self.labels, self.unknown)

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
        if type(version) is not int or not OLDEST_VERSION <= version <= SCHEMA_VERSION:
            newer = type(version) is int and version > SCHEMA_VERSION
            advice = "upgrade edge-asc" if newer else "export the artefact again"
            raise ContractError(
                f"contract: got schema version {version!r}, expected {OLDEST_VERSION} to {SCHEMA_VERSION}: {advice}"
            )
        try:
            return cls._read(JsonObject(value, "contract"))
        except ValueError as error:
            raise ContractError(f"{error}; export the artefact again") from error

    @classmethod
    def _read(cls, value: JsonObject) -> Self:
        value.check_names(["schema_version", *cls.__dataclass_fields__])
        unknown, live, events, provenance, measured = map(
            value.optional_child, ("unknown", "live", "events", "provenance", "measured")
        )
        return cls(
            name=value.text("name"),
            backbone=value.text("backbone"),
            form=value.choice("form", FORMS),
            output=value.choice("output", OUTPUT_MODES),
            labels=value.texts("labels"),
            front_end=FrontEnd.from_json(value.raw("front_end")),
            decision=value.choice("decision", CLIP_RULES),
            parameters=value.integer("parameters"),
            macs=value.child("macs").integer_items(),
            scheme=value.text("scheme"),
            signatures=tuple(map(read_signature, value.children("signatures"))),
            temperature=value.number("temperature", 1.0),
            unknown=None if unknown is None else UnknownRule.from_json(unknown),
            live=DEFAULT_LIVE if live is None else DecisionRule.from_json(live),
            events=None if events is None else EventRules.from_json(events),
            input=value.choice("input", INPUT_KINDS, "features"),
            provenance=Provenance() if provenance is None else Provenance.from_json(provenance),
            measured=Measured() if measured is None else Measured.from_json(measured),
            file_sha256=value.text("file_sha256", UNSEALED),
        )

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a contract from JSON text.

        Raises:
            ContractError: not JSON, or not a contract.
        """
        if len(text) > LONGEST_TEXT:
            raise ContractError(f"contract: {len(text)} bytes long; expected at most {LONGEST_TEXT}")
        try:
            value = parse_json(text)
        except ValueError as error:
            raise ContractError(f"contract: not JSON ({error}); the artefact is damaged") from error
        return cls.from_json(value)

    def dumps(self, spare: int = 0) -> str:
        """Return the contract as compact JSON text, with so many spaces behind it."""
        fields = asdict(self) | {"provenance": self.provenance.to_json(), "measured": self.measured.to_json()}
        text = json.dumps({"schema_version": SCHEMA_VERSION, **fields}, separators=(",", ":"), allow_nan=False)
        return text + " " * spare
