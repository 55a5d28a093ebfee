"""The quantisation plan of a model: the one place that states the quantisation parameters of every tensor."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc.frontend import FrontEnd
from edge_asc.jsonobject import JsonObject, JsonValue
from edge_asc.provenance import Calibration
from edge_asc.quantisation import asymmetric, symmetric
from edge_asc_export.graph import Add, Concat, Graph, MaxPool, Multiply, Reshape, Sigmoid, Slice, Tanh, group_tied
from edge_asc_export.scheme import SCHEMES, Scheme

if TYPE_CHECKING:
    from edge_asc.models import CRNN

# 1: ranges of each tensor. 2: shared ranges, the scheme, and the model they belong to.
SCHEMA_VERSION = 2

# [0, 1) and [−1, 1): what integer kernels of the logistic function and of tanh return. A GRU's hidden state cannot
# leave the second one either.
UNIT = (0.0, 255.0 / 256.0)
SIGNED = (-1.0, 127.0 / 128.0)

# Where the logistic function and tanh are within half an integer of their limits: ln(511) and artanh(255/256).
SATURATED = {Sigmoid: math.log(511.0), Tanh: math.atanh(255.0 / 256.0)}

# 16 bits have room to spare: other audio, or what a narrow range leaves out, may exceed the range.
HEADROOM = 4.0

Range = tuple[float, float]
# Tensors that share their integers, and the range that follows from the arithmetic; None where it is recorded.
Sharing = tuple[tuple[str, ...], Range | None]


@dataclass(frozen=True)
class SharedRange:
    """A range of float values and the tensors that share its integers.

    Attributes:
        tensors: names in the expanded export form.
        low, high: low ≤ 0 ≤ high, low < high.
        fixed: whether it follows from the arithmetic and was not recorded.
    """

    tensors: tuple[str, ...]
    low: float
    high: float
    fixed: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= 0.0 <= self.high):
            raise ExportError(
                f"the range of {self.tensors[0]} is {self.low} to {self.high}; expected finite values around zero"
            )

    def qparams(self, scheme: Scheme) -> Affine:
        """Return the quantisation parameters of the range under a static scheme."""
        if scheme.activations == "int8":
            return asymmetric(self.low, self.high)
        if self.fixed:
            return Affine(2.0**-15, 0) if max(-self.low, self.high) <= 1.0 else symmetric(self.low, self.high)
        return symmetric(HEADROOM * self.low, HEADROOM * self.high)


@dataclass(frozen=True)
class Equalisation:
    """Factors of the channels of tensors that are scaled as one."""

    tensors: tuple[str, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that quantises a model; the writers and the simulation read it, and nothing else.

    Attributes:
        scheme: which types tensors have.
        model: digest of the weights that the ranges belong to; "" in a plan without ranges.
        ranges: of the tensors of the expanded and equalised export form; empty where the scheme is not static. What
            only scales and shifts features has none and stays float.
        equalisation: factors, in the order of the graph.
        provenance: what the ranges were recorded on; None in a plan without ranges.
        front_end: digest of the front end that the ranges belong to; "" in a plan without ranges, and in one that was
            recorded before plans had this field.
    """

    scheme: Scheme
    model: str = ""
    ranges: tuple[SharedRange, ...] = ()
    equalisation: tuple[Equalisation, ...] = ()
    provenance: Calibration | None = None
    front_end: str = ""

    @property
    def int16(self) -> bool:
        """Whether activations are int16."""
        return self.scheme.activations == "int16"

    def with_scheme(self, scheme: Scheme) -> Plan:
        """Return the same ranges under another scheme.

        Raises:
            ExportError: the scheme needs ranges, and there are none.
        """
        if scheme.static and not self.ranges:
            raise ExportError(
                f"{scheme.name} needs activation ranges, and the checkpoint holds none; "
                "give recordings with --calibration DIR, or choose another --quantize"
            )
        return replace(self, scheme=scheme)

    @cached_property
    def qparams(self) -> Mapping[str, Affine]:
        """The quantisation parameters of every integer tensor; all other tensors are float."""
        if not self.scheme.static:
            return {}
        qparams: dict[str, Affine] = {}
        for shared in self.ranges:
            if not any(map(self.scheme.keeps_float, shared.tensors)):
                qparams.update(dict.fromkeys(shared.tensors, shared.qparams(self.scheme)))
        return qparams

    def find_idle(self) -> list[str]:
        """Return the patterns of float tensors that name no tensor of this model."""
        known = [tensor for shared in self.ranges for tensor in shared.tensors]
        return [pattern for pattern in self.scheme.float_tensors if not fnmatch.filter(known, pattern)]

    def scales_of(self, graph: Graph) -> dict[str, tuple[float, ...]]:
        """Return the equalisation factors of a graph's tensors; none where activations are not static."""
        if not self.scheme.static:
            return {}
        scales = {tensor: group.scales for group in self.equalisation for tensor in group.tensors}
        return {tensor: values for tensor, values in scales.items() if tensor in graph.shapes}

    def check_front_end(self, front_end: FrontEnd) -> None:
        """Make sure that the ranges were recorded with this front end.

        Raises:
            ExportError: they were recorded with another one.
        """
        if self.scheme.static and self.front_end not in ("", front_end_digest(front_end)):
            raise ExportError(
                "the quantisation plan was recorded with another front end or normalisation than the checkpoint's; "
                "record it again with --calibration DIR"
            )

    def check(self, graph: Graph, digest: str) -> None:
        """Make sure that the plan fits a model.

        Args:
            graph: expanded.
            digest: of the model's weights.

        Raises:
            ExportError: the plan belongs to another model, or tensors that share integers have different ranges.
        """
        if not self.scheme.static:
            return
        if self.model != digest:
            raise ExportError(
                f"the quantisation plan belongs to other weights ({self.model[:12]}…, expected {digest[:12]}…); name "
                "the checkpoint that it was recorded on, or record it again with --calibration DIR"
            )
        if idle := self.find_idle():
            raise ExportError(f"scheme {self.scheme.name}: no tensor of this model is called {', '.join(idle)}")
        planned = {tensor: shared for shared in self.ranges for tensor in shared.tensors}
        for tensors, _ in sharing(graph, SIGNED):
            if missing := [tensor for tensor in tensors if tensor not in planned]:
                raise ExportError(
                    f"the quantisation plan has no activation range for {', '.join(missing)}: it belongs to another "
                    "model, or to an older version; record it again with --calibration DIR"
                )
            if len({id(planned[tensor]) for tensor in tensors}) != 1:
                raise ExportError(f"{', '.join(tensors)} share their integers, but not their range in the plan")

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads back to an equal plan."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scheme": self.scheme.to_json(),
            "model": self.model,
            "ranges": [{**asdict(shared), "tensors": list(shared.tensors)} for shared in self.ranges],
            "equalisation": [{"tensors": list(e.tensors), "scales": list(e.scales)} for e in self.equalisation],
            "provenance": self.provenance.to_json() if self.provenance else {},
            **({"front_end": self.front_end} if self.front_end else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Read the JSON object of `to_json`; an empty object is a plan without ranges.

        Raises:
            ExportError: another version, or malformed.
        """
        if not value:
            return cls(SCHEMES["none"])
        if (version := value.get("schema_version")) != SCHEMA_VERSION:
            raise ExportError(
                f"a quantisation plan of schema version {version}; expected {SCHEMA_VERSION}: "
                "record it again with --calibration DIR"
            )
        document = JsonObject(value, "plan")
        try:
            ranges = tuple(
                SharedRange(each.texts("tensors"), each.number("low"), each.number("high"), each.flag("fixed"))
                for each in document.children("ranges")
            )
            equalisation = tuple(
                Equalisation(each.texts("tensors"), tuple(map(float, each.numbers("scales"))))
                for each in document.children("equalisation")
            )
            record = Calibration.from_json(document.child("provenance")) if value["provenance"] else None
            scheme, model = Scheme.from_json(value["scheme"]), document.text("model")
            front_end = document.text("front_end", "")
        except (KeyError, ValueError) as error:
            raise ExportError(f"a malformed quantisation plan ({error}); record it again") from error
        return cls(scheme, model, ranges, equalisation, record, front_end)


def sharing(graph: Graph, features: Range) -> list[Sharing]:
    """Return the tensors of an expanded graph that share their integers, and their range where arithmetic fixes it.

    A state and the output that feeds it, the parts of a concatenation, and what is sliced, pooled or reshaped share
    their quantisation parameters. Features have the range given, gates and hidden states the fixed ranges of integer
    kernels; of other tensors the range is None. What only scales and shifts features stays float, so that they are
    rounded once, and is left out.
    """
    unrounded = _scaled_features(graph)
    ties: list[tuple[str, ...]] = [(source.tensor, target.tensor) for source, target in graph.states()]
    fixed: dict[str, Range] = {}
    for node in graph.nodes:
        if isinstance(node, Concat | Slice | MaxPool | Reshape):
            ties.append((node.output, *node.inputs))
        elif isinstance(node, Sigmoid):
            fixed[node.output] = UNIT
        elif isinstance(node, Tanh):
            fixed[node.output] = SIGNED
    for port in graph.inputs:
        if port.tensor.startswith("hidden_"):
            fixed[port.tensor] = SIGNED
        if port.role == "features":
            fixed[port.tensor] = features
    rounded = [tensor for tensor in graph.shapes if tensor not in unrounded]
    return _with_ranges(group_tied(rounded, ties), fixed)


def sharing_of_all(graphs: list[Graph], features: Range) -> list[Sharing]:
    """Return `sharing` over several graphs of one model, in which a shared tensor has one name."""
    each = [entry for graph in graphs for entry in sharing(graph, features)]
    fixed = {tensor: span for tensors, span in each if span is not None for tensor in tensors}
    parts = [tensors for tensors, _ in each]
    names = dict.fromkeys(tensor for tensors in parts for tensor in tensors)
    return _with_ranges(group_tied(names, parts), fixed)


def saturation(graphs: Iterable[Graph]) -> dict[str, float]:
    """Return how far from zero a tensor matters that only gates read: beyond, their 8-bit results do not change."""
    limits: dict[str, float] = {}
    elsewhere: set[str] = set()
    for graph in graphs:
        elsewhere |= {port.tensor for port in graph.outputs}
        for node in graph.nodes:
            if isinstance(node, Sigmoid | Tanh):
                limits[node.input] = max(limits.get(node.input, 0.0), SATURATED[type(node)])
            else:
                elsewhere |= set(node.inputs)
    return {tensor: limit for tensor, limit in limits.items() if tensor not in elsewhere}


def _with_ranges(groups: list[tuple[str, ...]], fixed: Mapping[str, Range]) -> list[Sharing]:
    return [(tensors, next((fixed[tensor] for tensor in tensors if tensor in fixed), None)) for tensors in groups]


def _scaled_features(graph: Graph) -> set[str]:
    """Return features and constants that are only read to scale and shift features by bin, and the steps between."""
    tensors: set[str] = set()
    chain = {port.tensor for port in graph.inputs if port.role == "features"}
    for node in graph.nodes:
        if isinstance(node, Multiply | Add) and node.left in chain and node.right in graph.constants:
            tensors |= {node.left, node.right}
            chain.add(node.output)
    return tensors


def front_end_digest(front_end: FrontEnd) -> str:
    """Return the SHA-256 of the parameters of a front end, with its normalisation."""
    return hashlib.sha256(json.dumps(front_end.to_json(), sort_keys=True).encode()).hexdigest()


def digest(model: CRNN) -> str:
    """Return the SHA-256 of a model's weights, without the auxiliary layer, which is not exported."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("auxiliary."):
            sha.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
