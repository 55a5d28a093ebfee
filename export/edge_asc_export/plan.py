"""The quantisation plan of a model: the one place that says on which grid every tensor lies."""

from __future__ import annotations

import fnmatch
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc.models import CRNN
from edge_asc_export.equalisation import equalise
from edge_asc_export.graph import Add, Concat, Graph, MaxPool, Multiply, Reshape, Sigmoid, Slice, Tanh, united
from edge_asc_export.quantisation import asymmetric, symmetric
from edge_asc_export.scheme import SCHEMES, Scheme

# 1: ranges of each tensor. 2: shared ranges, the scheme, and the model they belong to.
SCHEMA_VERSION = 2

# [0, 1) and [−1, 1): what integer kernels of the logistic function and of tanh give. A GRU's hidden state cannot leave
# the second one either.
UNIT = (0.0, 255.0 / 256.0)
SIGNED = (-1.0, 127.0 / 128.0)

# 16 bits have room to spare: other audio may go beyond what was recorded.
HEADROOM = 4.0


@dataclass(frozen=True)
class SharedRange:
    """A range of real values and the tensors that share its integers.

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

    def grid(self, scheme: Scheme) -> Affine:
        """The integers of the range."""
        if scheme.activations == "int8":
            return asymmetric(self.low, self.high)
        if self.fixed:
            return Affine(2.0**-15, 0) if self.low >= -1.0 else symmetric(self.low, self.high)
        return symmetric(HEADROOM * self.low, HEADROOM * self.high)


@dataclass(frozen=True)
class Equalisation:
    """Factors of the channels of tensors that are scaled as one."""

    tensors: tuple[str, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that quantises a model; both writers and the simulation read it, and nothing else.

    Attributes:
        scheme: what is integer, and how wide.
        model: digest of the weights that the ranges belong to; "" in a plan without ranges.
        ranges: of the tensors of the expanded and equalised export form; empty where the scheme is not static. What
            only scales and shifts features has none and stays float.
        equalisation: factors, in the order of the graph.
        provenance: what the ranges were recorded on, and how.
    """

    scheme: Scheme
    model: str = ""
    ranges: tuple[SharedRange, ...] = ()
    equalisation: tuple[Equalisation, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wide(self) -> bool:
        """Whether activations have 16 bits."""
        return self.scheme.activations == "int16"

    def with_scheme(self, scheme: Scheme) -> Plan:
        """The same ranges under another scheme.

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
    def grids(self) -> Mapping[str, Affine]:
        """The grid of every integer tensor; tensors that are not in it are real."""
        if not self.scheme.static:
            return {}
        found: dict[str, Affine] = {}
        for shared in self.ranges:
            if not any(map(self.scheme.keeps_real, shared.tensors)):
                found.update(dict.fromkeys(shared.tensors, shared.grid(self.scheme)))
        return found

    def prepared(self, graph: Graph) -> Graph:
        """A graph, not expanded, as the scheme computes it: equalised where activations have grids.

        Raises:
            ExportError: the plan belongs to another model.
        """
        if not self.scheme.static:
            return graph
        scales = {tensor: found.scales for found in self.equalisation for tensor in found.tensors}
        known = set(graph.shapes)
        return equalise(graph, {tensor: values for tensor, values in scales.items() if tensor in known})

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
        known = [tensor for shared in self.ranges for tensor in shared.tensors]
        if idle := [pattern for pattern in self.scheme.real if not fnmatch.filter(known, pattern)]:
            raise ExportError(f"scheme {self.scheme.name}: no tensor of this model is called {', '.join(idle)}")
        planned = {tensor: shared for shared in self.ranges for tensor in shared.tensors}
        for tensors, _ in sharing(graph, 1.0):
            if missing := [tensor for tensor in tensors if tensor not in planned]:
                raise ExportError(f"no activation range for {', '.join(missing)}: the plan belongs to another model")
            if len({id(planned[tensor]) for tensor in tensors}) != 1:
                raise ExportError(f"{', '.join(tensors)} share their integers, but not their range in the plan")

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal plan."""
        return {
            "schema_version": SCHEMA_VERSION,
            "scheme": self.scheme.to_json(),
            "model": self.model,
            "ranges": [
                {"tensors": list(r.tensors), "low": r.low, "high": r.high, "fixed": r.fixed} for r in self.ranges
            ],
            "equalisation": [{"tensors": list(e.tensors), "scales": list(e.scales)} for e in self.equalisation],
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; an empty object is a plan without ranges.

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
        try:
            ranges = tuple(
                SharedRange(tuple(r["tensors"]), float(r["low"]), float(r["high"]), bool(r["fixed"]))
                for r in value["ranges"]
            )
            scales = tuple(
                Equalisation(tuple(e["tensors"]), tuple(map(float, e["scales"]))) for e in value["equalisation"]
            )
            scheme = Scheme.from_json(value["scheme"])
            return cls(scheme, str(value["model"]), ranges, scales, dict(value["provenance"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ExportError(f"a malformed quantisation plan ({error!r}); record it again") from error


def sharing(graph: Graph, clip: float) -> list[tuple[tuple[str, ...], tuple[float, float] | None]]:
    """The tensors of an expanded graph that share their integers, and the range that follows from the arithmetic.

    A state and what feeds it, the parts of a concatenation, and what is sliced, pooled or reshaped share one grid.
    Features span ±clip; gates and hidden states have the fixed ranges of integer kernels; of others the range is None.
    What only scales and shifts features stays real, so that they are rounded once, and is left out.
    """
    unrounded = _scaled_features(graph)
    ties: list[tuple[str, ...]] = [(source.tensor, target.tensor) for source, target in graph.states()]
    fixed: dict[str, tuple[float, float]] = {}
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
            fixed[port.tensor] = (-clip, clip)
    rounded = [tensor for tensor in graph.shapes if tensor not in unrounded]
    return [
        (tensors, next((fixed[tensor] for tensor in tensors if tensor in fixed), None))
        for tensors in united(rounded, ties)
    ]


def _scaled_features(graph: Graph) -> set[str]:
    """Features and constants that are only read to scale and shift features by bin, and the steps in between."""
    found: set[str] = set()
    chain = {port.tensor for port in graph.inputs if port.role == "features"}
    for node in graph.nodes:
        if isinstance(node, Multiply | Add) and node.left in chain and node.right in graph.constants:
            found |= {node.left, node.right}
            chain.add(node.output)
    return found


def digest(model: CRNN) -> str:
    """SHA-256 of a model's weights, without the auxiliary layer, which is not exported."""
    found = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("auxiliary."):
            found.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()
