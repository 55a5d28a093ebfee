"""Choosing a scheme: exports are tried from the smallest and fastest to the safest, until one keeps its accuracy."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc.evaluation.accuracy import Accuracy
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.evaluation.logits import choose_inputs, count_inputs
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc.training.checkpoint import read_metadata
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.format import FORMATS
from edge_asc_export.parity import ParityError
from edge_asc_export.scheme import SCHEMES, SELECTION_ORDER, Scheme

TIMED_STEPS = 200


@dataclass(frozen=True)
class Attempt:
    """One artefact of a scheme that was tried.

    Attributes:
        scheme: its name.
        artefact: file name.
        size: bytes.
        accuracy: share of right decisions of all, and by length in seconds.
        reference: the same of float PyTorch.
        agreement: share of decisions that equal those of float PyTorch.
        step_ms: median time of a step on this machine, ms; None for a windowed model.
        holds: whether it keeps the accuracy asked for.
        reason: why it does not.
    """

    scheme: str
    artefact: str
    size: int
    accuracy: dict[str, float]
    reference: dict[str, float]
    agreement: float
    step_ms: float | None
    holds: bool
    reason: str

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """Clips that artefacts are tried on, and the accuracy that they have to keep.

    Attributes:
        clips: to measure accuracy on.
        lengths: seconds since reset to measure at.
        max_drop: allowed drop below float PyTorch, points of accuracy, ≥ 0.
    """

    clips: LabelledClips
    lengths: Sequence[int]
    max_drop: float

    def __post_init__(self) -> None:
        if not self.max_drop >= 0.0:
            raise ExportError(f"the allowed drop is {self.max_drop} points; expected 0 or more")


@dataclass(frozen=True)
class Selection:
    """The scheme that was chosen, and all artefacts that were tried, in order."""

    scheme: Scheme
    attempts: tuple[Attempt, ...]


def select(request: ExportRequest, trial: Trial, *, progress: Progress = SILENT) -> Selection:
    """Return the first scheme whose artefacts keep their accuracy in every format of a request.

    An artefact holds if its accuracy over all decisions is at most `max_drop` points below float PyTorch, and at each
    length at most `max_drop` points or one clip, whichever is more. Schemes that need activation ranges are left out
    where there are none.

    Args:
        request: its scheme is not used.
        trial: what artefacts are tried on.
        progress: receives which scheme is tried.

    Raises:
        ExportError: no scheme fits the formats and holds.
    """
    reference = open_runtime(request.checkpoint)
    attempts: list[Attempt] = []
    for scheme in _applicable_schemes(request):
        with progress.phase(f"trying {scheme.name}"):
            try:
                tried = _try(replace(request, scheme=scheme), trial, reference)
            except ParityError as error:
                progress.note(f"{scheme.name} does not hold: {error}")
                continue
        attempts += tried
        if all(attempt.holds for attempt in tried):
            return Selection(scheme, tuple(attempts))
    raise ExportError(
        f"no scheme keeps accuracy within {trial.max_drop} points in {' and '.join(request.formats)}; "
        "allow a larger drop"
    )


def _applicable_schemes(request: ExportRequest) -> Iterator[Scheme]:
    """Yield the schemes that every format supports, in order; those with ranges only where the checkpoint has some."""
    formats = [FORMATS.load(name) for name in request.formats]
    recorded = read_metadata(request.checkpoint)["quantisation"]
    for name in SELECTION_ORDER:
        scheme = SCHEMES[name]
        if not all(fmt.supports(scheme) for fmt in formats):
            continue
        try:
            replace(request, scheme=scheme).plan_of(recorded)
        except ExportError:
            continue
        yield scheme


def _try(request: ExportRequest, trial: Trial, reference: Runtime) -> list[Attempt]:
    """Export one scheme to a temporary folder and measure each of its artefacts."""
    with tempfile.TemporaryDirectory(prefix="edge-asc-") as folder:
        manifest = export(request, Path(folder))
        runtimes = {name: open_runtime(Path(folder) / name) for name in manifest.files}
        models = [("float PyTorch", reference), *runtimes.items()]
        base, *results = evaluate(models, trial.clips, trial.lengths)
        attempts = []
        for result in results:
            runtime, reasons = runtimes[result.model], _reasons_against(base, result, trial.max_drop)
            causal = runtime.contract.form == "causal"
            attempts.append(
                Attempt(
                    scheme=request.scheme.name,
                    artefact=result.model,
                    size=manifest.files[result.model].bytes,
                    accuracy=_shares(result),
                    reference=_shares(base),
                    agreement=result.all_steps.agreement or 0.0,
                    step_ms=_step_ms(runtime, trial.clips) if causal else None,
                    holds=not reasons,
                    reason="; ".join(reasons),
                )
            )
        return attempts


def _reasons_against(base: Accuracy, result: Accuracy, max_drop: float) -> list[str]:
    """Return where a result is lower than float PyTorch by more than is allowed."""
    reasons = []
    drop = 100 * (base.all_steps.accuracy - result.all_steps.accuracy)
    if drop > max_drop + 1e-9:
        reasons.append(f"{drop:.2f} points lower over all decisions")
    for mine in result.lengths:
        theirs = base.at(mine.seconds)
        lost = theirs.right - mine.right if theirs else 0
        if lost > 1 and 100 * lost / mine.count > max_drop + 1e-9:
            reasons.append(f"{100 * lost / mine.count:.2f} points lower at {mine.seconds:g} s")
    return reasons


def _shares(result: Accuracy) -> dict[str, float]:
    return {f"{each.seconds:g}": each.accuracy for each in result.lengths} | {"all": result.all_steps.accuracy}


def _step_ms(runtime: Runtime, clips: LabelledClips) -> float:
    """Return the median time of a step; a rough figure of this machine, for comparing the rows of one table."""
    classifier = StreamingClassifier(runtime)
    clip = choose_inputs(runtime.contract, clips.features, clips.samples)[0]
    step = np.array(clip[: count_inputs(runtime.contract, runtime.contract.signature("step"))], np.float32)
    times = []
    for _ in range(TIMED_STEPS):
        start = time.perf_counter()
        classifier.push_input(step)
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))
