"""The result of a benchmark: frozen types, which are the schema of the file.

`docs/schemas/result.json` is the JSON Schema of these types. Fields that are `UNSET` are absent from the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from edge_asc.closeness import Closeness
from edge_asc_bench import consistency, document
from edge_asc_bench.latency import Distribution
from edge_asc_bench.machine import Machine
from edge_asc_bench.part import Count, Counts, NotNegative, Part, Positive, Share, Size
from edge_asc_bench.streamscore import Stream, StreamScore

KIND: Final = "bench"
# 1: first version. 2: measured on any target: conditions over the run, incomplete results, models without times.
SCHEMA_VERSION: Final = 2
ADVICE = "measure again with this version"


class Made(Part, frozen=True, kw_only=True):
    """Origin of the result.

    Attributes:
        edge_asc: version of edge-asc.
        at: start of the measurement, ISO 8601.
        seconds: duration of the measurement.
        target: URL of the target.
        command: that measures the same again; "" where it is not known.
    """

    edge_asc: str
    at: str
    seconds: NotNegative
    target: str
    command: str


class Sample(Part, frozen=True, kw_only=True):
    """The machine's conditions at one moment; None where they are unknown.

    Attributes:
        at: s since the start.
        phase: of the measurement, such as "latency".
        frequency_mhz: of each core.
        temperature_c: of the hottest zone.
        load: average over one minute.
        throttling: flags that the firmware reports.
        thermal_status: Android's, 0 to 6; absent elsewhere.
    """

    at: NotNegative
    phase: str
    frequency_mhz: tuple[NotNegative, ...] | None
    temperature_c: float | None
    load: NotNegative | None
    throttling: tuple[str, ...] | None
    thermal_status: int | UnsetType = UNSET


class MeasuredSettings(Part, frozen=True, kw_only=True):
    """The benchmark settings; see `edge_asc_bench.job.Settings`. A count of instructions has `threads` alone."""

    threads: Size
    lengths: tuple[Size, ...] | UnsetType = UNSET
    rounds: Size | UnsetType = UNSET
    duration: NotNegative | UnsetType = UNSET
    warm_up: Count | UnsetType = UNSET
    lead: Count | UnsetType = UNSET
    burst: Size | UnsetType = UNSET
    window_burst: Size | UnsetType = UNSET


class Data(Part, frozen=True, kw_only=True):
    """The clips of a data set.

    Attributes:
        sha256: over all clips; two results with the same hash are about the same audio.
        labels: of the data; empty for unlabelled clips.
    """

    name: str
    clips: Count
    sha256: str
    labels: tuple[str, ...] = ()


class Graph(Part, frozen=True, kw_only=True):
    """The operations inside an artefact, and its arena; see `edge_asc_export.inspection.Inspection`."""

    operations: dict[str, Counts]
    arithmetic: dict[str, Counts]
    float_operations: dict[str, tuple[str, ...]]
    partitions: Count | None
    outside: Count | None
    arena: Count | UnsetType | None = UNSET


class Sustained(Part, frozen=True, kw_only=True):
    """Inference without a pause.

    Attributes:
        seconds: of inference.
        audio_seconds: of the audio that was classified.
        resident: memory before and after, bytes.
        first_ms, last_ms: median decision of the first and the last tenth of the run.
        ratio: last_ms / first_ms.
        medians_ms: of equal parts of the run, 60 at most.
    """

    seconds: NotNegative
    audio_seconds: NotNegative
    resident: tuple[Count | None, Count | None]
    first_ms: Positive
    last_ms: Positive
    ratio: Positive
    medians_ms: Annotated[tuple[Positive, ...], Meta(min_length=1)]


class Latency(Part, frozen=True, kw_only=True):
    """The times of a model in one form.

    Attributes:
        front_end: None where it was not measured; then `total` is the model's.
        model: features to probabilities.
        engine: the engine's own part of the model's time; absent on a phone.
        total: samples to probabilities.
        rounds_ms: median of the total in each round.
        period_s: audio between two decisions.
        real_time_factor: mean total / period.
        load_ms: opening the model.
        cold_start_ms: opening the model and the first decision.
        sustained: None where it was not measured.
        unstable: reasons why the times cannot be trusted.
    """

    front_end: Distribution | None
    model: Distribution
    engine: Distribution | UnsetType = UNSET
    total: Distribution
    rounds_ms: Annotated[tuple[Positive, ...], Meta(min_length=1)]
    period_s: Positive
    real_time_factor: Positive
    load_ms: NotNegative
    cold_start_ms: NotNegative
    sustained: Sustained | None
    unstable: tuple[str, ...]


class Memory(Part, frozen=True, kw_only=True):
    """Resident memory of a process with one model, bytes; None where the system does not report it.

    Attributes:
        peak: since the model was opened.
        now: at the end.
        bare: of the interpreter.
        front_end: with the front end.
        imported: with the engine, before the model is opened.
    """

    peak: Size | None
    now: Size | None
    bare: Size | None
    front_end: Size | None
    imported: Size | None


class StepAccuracy(Part, frozen=True, kw_only=True):
    """Accuracy of some decisions; see `edge_asc.evaluation.accuracy.Tally`."""

    decision: str
    count: Size
    right: Count
    right_last: Count
    right_mean: Count
    accuracy: Share
    agreement: Share | None
    recall: dict[str, Share | None]
    macro_recall: Share
    count_by_class: Counts
    right_by_class: dict[str, Counts]


class LengthAccuracy(StepAccuracy, frozen=True, kw_only=True):
    """Accuracy of the last decision within `seconds` of a clip's start, with its 95 % interval.

    `right_clips` holds "1" or "0" for each clip that is long enough.
    """

    seconds: Size | Positive
    low: Share
    high: Share
    right_clips: Annotated[str, Meta(pattern="^[01]+$")]


class LogitError(Part, frozen=True, kw_only=True):
    """Absolute differences from the reference's logits."""

    mean: NotNegative
    max: NotNegative
    count: Size


class Accuracy(Part, frozen=True, kw_only=True):
    """Accuracy of a model by length; see `edge_asc.evaluation.accuracy.Accuracy`."""

    schema_version: Literal[1]
    model: str
    engine: str
    clips: Size
    labels: tuple[str, ...]
    decision: str
    gain: float
    lengths: Annotated[tuple[LengthAccuracy, ...], Meta(min_length=1)]
    all_steps: StepAccuracy
    reference: str | None
    logit_error: LogitError | None
    closeness: Closeness | UnsetType | None = UNSET
    notes: tuple[str, ...]

    def at(self, seconds: float) -> LengthAccuracy | None:
        """Return the accuracy at a length; None if it was not measured."""
        return next((row for row in self.lengths if row.seconds == seconds), None)


class Agreement(Part, frozen=True, kw_only=True):
    """Agreement with the reference on unlabelled clips: the share of equal last outputs, and errors of logits."""

    steps: Size
    share: Share
    mean_error: NotNegative
    max_error: NotNegative
    closeness: Closeness | UnsetType = UNSET


class Loss(Part, frozen=True, kw_only=True):
    """Points of accuracy lost by each step of a deployment, by length ("1", "2" …) and in all ("all").

    A part is None where the rows that it compares were not measured together.
    """

    streaming: dict[str, float] | None
    export: dict[str, float] | None
    quantisation: dict[str, float] | None


class Instructions(Part, frozen=True, kw_only=True):
    """aarch64 instructions of a decision on one processor."""

    front_end: Count
    model: Size
    total: Size
    runtime: Count
    dot_products: Count
    matrix_products: Count


class Variant(Part, frozen=True, kw_only=True):
    """One model.

    Attributes:
        name: unique in the result.
        file: name of the file or folder.
        sha256: of the file, or of the weights of a checkpoint.
        checkpoint_sha256: of the weights that the model was made from.
        bytes: size.
        engine: with its version.
        form: "causal" or "windowed".
        scheme: of the quantisation.
        parameters: of the model.
        macs: multiply-accumulates by signature.
        state_bytes: of all states of a stream.
        graph: None for checkpoints.
        latency: by form: "step", or the seconds of a window; empty where the model was not timed.
        memory: None where it was not measured.
        accuracy: None on unlabelled clips.
        agreement: None on labelled clips, and for the reference.
        loss: None where there is nothing to compare with.
        instructions: by processor; None where they were not counted.
        failed: why the model failed, and nothing of it was measured.
        stream: events on an endless stream; absent where none was run.
    """

    name: str
    file: str
    sha256: str
    checkpoint_sha256: str
    bytes: Size
    engine: str
    form: Literal["causal", "windowed"]
    scheme: str
    parameters: Count
    macs: Counts
    state_bytes: Count
    graph: Graph | None
    latency: dict[str, Latency]
    memory: Memory | None
    accuracy: Accuracy | None
    agreement: Agreement | None
    loss: Loss | None
    instructions: dict[str, Instructions] | None
    failed: str | UnsetType = UNSET
    stream: StreamScore | UnsetType = UNSET

    @property
    def agreed_share(self) -> float | None:
        """The share of decisions that equal the reference's; None where it was not measured."""
        if self.accuracy is not None:
            return self.accuracy.all_steps.agreement
        return None if self.agreement is None else self.agreement.share

    @property
    def closeness(self) -> Closeness | None:
        """How close its outputs are to the reference's; None where it was not measured."""
        measured = self.accuracy or self.agreement
        return (measured.closeness or None) if measured else None

    @property
    def arena(self) -> int | None:
        """Bytes that TensorFlow Lite Micro takes for the artefact beside the file; None where it was not measured."""
        return (self.graph.arena or None) if self.graph else None

    def accuracy_at(self, form: str) -> LengthAccuracy | None:
        """Return the accuracy that belongs to a form: at a window's length, or at the longest length for a step."""
        rows = () if self.accuracy is None else self.accuracy.lengths
        chosen = [row for row in rows if form == "step" or f"{row.seconds:g}" == form]
        return chosen[-1] if chosen else None


class Conversions(Part, frozen=True, kw_only=True):
    """Conversions to other runtimes: largest errors of a logit by name, and reasons why some are absent."""

    errors: dict[str, NotNegative]
    absent: dict[str, str]


class Result(Part, frozen=True, kw_only=True):
    """The result of a benchmark on one target.

    Attributes:
        complete: everything was measured.
        incomplete: why not; None if complete.
        made: how the result was made.
        machine: that was measured.
        conditions: of the machine, at most once a second.
        settings: of the benchmark.
        data: clips.
        reference: name of the variant that the others are compared with.
        whole_clip: accuracy of the reference on whole clips in one pass.
        variants: the models.
        peers: of a comparison with other runtimes.
        stream: the endless stream of the variants' scores; absent where none was run.
    """

    kind: Literal["bench"] = KIND
    schema_version: Literal[2] = SCHEMA_VERSION
    complete: bool
    incomplete: str | None
    made: Made
    machine: Machine
    conditions: tuple[Sample, ...]
    settings: MeasuredSettings
    data: Data
    reference: str | None
    whole_clip: Accuracy | None
    variants: tuple[Variant, ...]
    peers: Conversions | UnsetType = UNSET
    stream: Stream | UnsetType = UNSET

    def variant(self, name: str) -> Variant | None:
        """Return the variant of this name; None if there is none."""
        return next((variant for variant in self.variants if variant.name == name), None)

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that `read` reads."""
        value: dict[str, object] = msgspec.to_builtins(self)
        return value


def read(path: Path) -> Result:
    """Read a result.

    Args:
        path: what `edge-asc bench` wrote, or the JSON of a result of `bench_models`.

    Raises:
        EdgeAscError: not JSON, another kind of file, another schema version, a field is missing, unknown, of another
            type or out of its range, or two fields contradict each other.
    """
    value = document.load(path, "what edge-asc bench writes")
    document.check_version(path, value, KIND, SCHEMA_VERSION, "edge-asc bench")
    result = document.convert(path, value, Result, ADVICE)
    document.validate(path, lambda: consistency.check_result(result), ADVICE)
    return result
