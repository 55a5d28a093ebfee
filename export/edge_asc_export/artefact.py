"""One artefact: a file of one format, with its contract; and the draft that artefacts are written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import edge_asc
from edge_asc.contract import InputKind, Signature, StreamContract
from edge_asc.errors import ExportError
from edge_asc.models import CRNN
from edge_asc.provenance import Measured, Provenance
from edge_asc.tensors import check_label
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.training.checkpoint_contract import checkpoint_contract
from edge_asc_export.format import FORMATS, Format, Written, check_support
from edge_asc_export.front_end import attach_front_end
from edge_asc_export.graph import Graph
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan, digest
from edge_asc_export.scheme import Scheme, input_label


@dataclass(frozen=True)
class Origin:
    """Whose a model is: its author and its license, each "" where it is not known.

    Raises:
        ContractError: one of them is too long, or not printable.
    """

    author: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        for name, text in (("author", self.author), ("license", self.license)):
            if text:
                check_label(name, text)


UNKNOWN = Origin()


@dataclass(frozen=True)
class Draft:
    """A model to export: its graphs, each lowered once for all formats, and how they are quantised.

    Attributes:
        checkpoint: the trained model.
        checkpoint_hash: SHA-256 of its weights.
        plan: of quantisation.
        windows: lengths, s, of a windowed model; none for a causal one.
        input: what the artefacts take; with samples, the front end is a part of them.
        origin: author and license of the model.

    Raises:
        ExportError: the model cannot be exported this way, or the plan belongs to another one.
    """

    checkpoint: Checkpoint
    checkpoint_hash: str
    plan: Plan
    windows: tuple[int, ...] = ()
    input: InputKind = "features"
    origin: Origin = UNKNOWN

    def __post_init__(self) -> None:
        model = self.checkpoint.model
        if not isinstance(model, CRNN):
            raise ExportError(f"{self.checkpoint.name} is a CNN with global average pooling; only a CRNN streams")
        if model.config.form == "causal" and self.windows:
            raise ExportError(f"{self.checkpoint.name} is causal: it streams in steps and has no --window")
        if model.config.form == "windowed" and not self.windows:
            raise ExportError(f"{self.checkpoint.name} is windowed: name at least one length with --window SECONDS")
        if self.scheme.static:
            self.plan.check_front_end(self.checkpoint.front_end)
            weights = digest(model)
            for graph in self.graphs:
                self.plan.check(expand_gru(equalise_by_plan(graph, self.plan)), weights)

    @property
    def model(self) -> CRNN:
        """The CRNN."""
        model = self.checkpoint.model
        if not isinstance(model, CRNN):
            raise ExportError(f"{self.checkpoint.name} is no CRNN")
        return model

    @property
    def scheme(self) -> Scheme:
        """The scheme of the plan."""
        return self.plan.scheme

    @cached_property
    def graphs(self) -> tuple[Graph, ...]:
        """The step of a causal model; the windows of a windowed one, to embeddings, and its GRU as the last graph."""
        if self.model.config.form == "causal":
            return (lower_step(self.model),)
        hop, rate = self.checkpoint.front_end.hop, self.checkpoint.front_end.sample_rate
        windows = [lower_window(self.model, seconds, rate * seconds // hop) for seconds in self.windows]
        return (*windows, lower_gru(self.model))

    def with_input(self, lowered: Lowered) -> Lowered:
        """Return a graph that takes the draft's input, of one after its passes."""
        return lowered.with_graph(attach_front_end(lowered.graph, self.checkpoint.front_end, self.input))

    def contract(self, fmt: Format, signatures: Sequence[Signature], graphs: Sequence[Graph]) -> StreamContract:
        """Return the contract of an artefact of these signatures, without measurements."""
        provenance = Provenance(
            edge_asc=edge_asc.__version__,
            tools=fmt.versions(),
            checkpoint_sha256=self.checkpoint_hash,
            scheme=self.scheme.to_json(),
            float_parts=describe_float_part(fmt, self.plan, self.model.config.form, self.input),
            calibration=self.plan.provenance if self.scheme.static else None,
            author=self.origin.author,
            license=self.origin.license,
        )
        kind = "features" if fmt.own_front_end else self.input
        attached = [attach_front_end(graph, self.checkpoint.front_end, kind) for graph in graphs]
        return checkpoint_contract(
            self.checkpoint,
            signatures,
            macs={graph.name: graph.macs() for graph in attached},
            scheme=self.scheme.name,
            provenance=provenance,
        )


@dataclass(frozen=True)
class Artefact:
    """A written file and the contract that it gets.

    Attributes:
        name: of the file.
        format: name of its format.
        contract: goes into the file when `data` is read.
        written: the file without its contract.
    """

    name: str
    format: str
    contract: StreamContract
    written: Written

    @property
    def data(self) -> bytes:
        """The bytes of the file."""
        return self.written.finish(self.contract)

    def with_measured(self, measured: Measured) -> Artefact:
        """Return the same file with measurements in its contract."""
        return replace(self, contract=replace(self.contract, measured=measured))


def write(draft: Draft, name: str) -> list[Artefact]:
    """Write the artefacts of a draft in the format of this name; each file is written once.

    Raises:
        ExportError: the format cannot express the scheme.
    """
    check_support(name, draft.scheme)
    fmt, stem = FORMATS.load(name), f"{draft.checkpoint.name}-{label_of(draft.scheme, draft.input)}"
    artefacts = []
    for file in fmt.files(draft.graphs):
        lowered = [run_passes(Lowered.of(graph, draft.plan), fmt.passes) for graph in file.graphs]
        written = fmt.write([draft.with_input(each) for each in lowered])
        contract = draft.contract(fmt, written.signatures(draft.checkpoint.front_end.hop), file.graphs)
        artefacts.append(Artefact(f"{stem}{file.ending}{fmt.suffix}", name, contract, written))
    return artefacts


def label_of(scheme: Scheme, kind: InputKind) -> str:
    """Return what file names say of scheme and input, such as "int8" or "int8-samples"."""
    return scheme.label + input_label(kind)


def describe_float_part(fmt: Format, plan: Plan, form: str, kind: InputKind = "features") -> str:
    """Return, in words, what computes in float in an artefact of a causal or a windowed model, by its input."""
    parts = [plan.scheme.float_part]
    if kind != "features" and plan.scheme.name != "none":
        parts.append("the front end")
    if plan.scheme.static:
        if not any("features" in shared.tensors for shared in plan.ranges):
            parts.append("the input normalisation, so that features are rounded once")
        parts.append(fmt.float_part(form))
    return "; ".join(part for part in parts if part) or "nothing"
