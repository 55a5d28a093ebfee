"""The model that a page about a benchmark is about, beside those that it is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edge_asc_bench.quality import find_float
from edge_asc_bench.result import Latency, Result, Variant
from edge_asc_bench.wording import describe_form

TITLES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "litert": "LiteRT"}


@dataclass(frozen=True)
class Contest:
    """One model of a benchmark and its rivals.

    Attributes:
        subject: the quantised model that is fastest, else the float artefact that is, else the only model. Where
            nothing was timed, the one with the fewest instructions, or the smallest.
        reference: the float checkpoint that decisions are compared with; None where there is none beside the subject.
        float_form: the float artefact in the engine of the subject, else the reference; None where there is none.
    """

    subject: Variant
    reference: Variant | None
    float_form: Variant | None

    @property
    def agreement(self) -> tuple[float, int] | None:
        """The share of decisions that equal the reference's, and the number of decisions; None where unknown."""
        subject = self.subject
        if self.reference is None or subject.agreed_share is None:
            return None
        if subject.accuracy is not None:
            return subject.agreed_share, subject.accuracy.all_steps.count
        return None if subject.agreement is None else (subject.agreed_share, subject.agreement.steps)

    @property
    def form(self) -> str:
        """The form whose times are shown: "step", or the longest window; "" where the subject was not timed."""
        return max(self.subject.latency, key=lambda form: 0.0 if form == "step" else float(form), default="")

    @property
    def latency(self) -> Latency | None:
        """The times of the subject; None where it was not timed."""
        return self.subject.latency.get(self.form)

    def find_latency(self, rival: Variant | None) -> Latency | None:
        """Return the times of a rival in the same form; None where it was not timed in it."""
        return None if rival is None else rival.latency.get(self.form)

    def describe_decision(self) -> str:
        """Return what was timed: "decision", or "decision on 5 s"."""
        return "decision" if self.form in ("", "step") else f"decision on {describe_form(self.form)}"


def list_variants(result: Result) -> list[Variant]:
    """Return the models; those of an emulated machine without times and memory, which are not the device's."""
    if not result.machine.emulated:
        return list(result.variants)
    return [msgspec.structs.replace(variant, latency={}, memory=None) for variant in result.variants]


def find_contest(result: Result) -> Contest | None:
    """Return the model that a page is about; None where nothing of any was measured."""
    variants = [variant for variant in list_variants(result) if not isinstance(variant.failed, str)]
    others = [variant for variant in variants if variant.name != result.reference]
    if not variants:
        return None
    subject = min(others or variants, key=_rank)
    reference = None
    if others:
        name = subject.accuracy.reference if subject.accuracy and subject.accuracy.reference else result.reference
        reference = next((v for v in variants if v.name == name and v is not subject), None)
    float_form = None if subject.scheme == "none" else find_float(subject, variants)
    return Contest(subject, reference, float_form or reference)


def _rank(variant: Variant) -> tuple[bool, bool, float, float, int]:
    """Quantised models first; then those that were timed, the fastest first; then by instructions; then by size."""
    times: Sequence[float] = [latency.total.p50 for latency in variant.latency.values()]
    counts = [float(parts.total) for parts in (variant.instructions or {}).values()]
    return variant.scheme == "none", not times, max(times, default=0.0), max(counts, default=0.0), variant.bytes


def name_engine(variant: Variant) -> str:
    """Return the name of a model's engine, without its version."""
    name = variant.engine.partition(" ")[0]
    return TITLES.get(name, name)
