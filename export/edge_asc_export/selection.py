"""Choosing a scheme: exports are tried from the cheapest to the safest, until one is near enough to float."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from edge_asc.closeness import Closeness
from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc.evaluation.accuracy import Accuracy
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.evaluation.logits import choose_inputs, count_inputs
from edge_asc.models import CRNN
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc.training.checkpoint import Checkpoint, read_metadata
from edge_asc_export import cost
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.format import FORMATS
from edge_asc_export.lowering import lower_step
from edge_asc_export.parity import ParityError
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.scheme import MIXED, SCHEMES, SELECTION_ORDER, Scheme
from edge_asc_export.search import Search

TIMED_STEPS = 200
# Engines round a little differently from the simulation that a search relies on: where an artefact fails, the search is
# repeated with a share of the difference that is allowed.
MIXED_TRIALS = 3
STRICTER = 0.8


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
        kl: mean divergence of the probabilities from those of float PyTorch, nats; None for a windowed model.
        instructions: of a step in LiteRT on the processor asked for, predicted; None where they are not known.
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
    kl: float | None
    instructions: float | None
    step_ms: float | None
    holds: bool
    reason: str

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return asdict(self)


@dataclass(frozen=True)
class Trial:
    """Clips that artefacts are tried on, and how near to float PyTorch they have to be.

    Attributes:
        clips: to measure on.
        lengths: seconds since reset to measure at.
        max_drop: allowed drop of the accuracy, points, ≥ 0; None for any.
        min_agreement: least share of equal decisions, 0 to 1; None for any.
        max_kl: largest mean divergence of the probabilities, nats, > 0; None for any.
        processor: whose instructions decide what is cheapest (`cost.PROCESSORS`).
    """

    clips: LabelledClips
    lengths: Sequence[int]
    max_drop: float | None
    min_agreement: float | None = None
    max_kl: float | None = None
    processor: str = cost.DEFAULT

    def __post_init__(self) -> None:
        if self.max_drop is not None and not self.max_drop >= 0.0:
            raise ExportError(f"the allowed drop is {self.max_drop} points; expected 0 or more")
        if self.min_agreement is not None and not 0.0 < self.min_agreement <= 1.0:
            raise ExportError(f"the least agreement is {self.min_agreement}; expected a share above 0, up to 1")
        if self.max_kl is not None and not self.max_kl > 0.0:
            raise ExportError(f"the largest divergence is {self.max_kl} nats; expected more than 0")

    @property
    def has_budget(self) -> bool:
        """Whether decisions or probabilities have to be near those of float, beside the accuracy."""
        return self.min_agreement is not None or self.max_kl is not None

    def describe(self) -> str:
        """Return what has to be kept, in words."""
        parts = [] if self.max_drop is None else [f"accuracy within {self.max_drop} points"]
        if self.min_agreement is not None:
            parts.append(f"agreement of {self.min_agreement:g}")
        if self.max_kl is not None:
            parts.append(f"divergence below {self.max_kl:g} nats")
        return " and ".join(parts) or "the bounds of its types"

    def stricter(self, share: float) -> Trial:
        """Return a trial that allows a share of the difference from float."""
        least = None if self.min_agreement is None else 1.0 - share * (1.0 - self.min_agreement)
        return replace(self, min_agreement=least, max_kl=None if self.max_kl is None else share * self.max_kl)

    def is_kept_by(self, closeness: Closeness) -> bool:
        """Whether decisions and probabilities are near enough to float."""
        return not self.reasons_against(closeness)

    def reasons_against(self, closeness: Closeness | None) -> list[str]:
        """Return where decisions and probabilities are further from float than is allowed."""
        reasons = []
        if self.min_agreement is not None and (closeness is None or closeness.agreement < self.min_agreement):
            reasons.append("no decisions" if closeness is None else f"agreement {closeness.agreement:.4f}")
        if self.max_kl is not None and (closeness is None or closeness.kl > self.max_kl):
            reasons.append("no probabilities" if closeness is None else f"KL {closeness.kl:.2g} nats")
        return reasons


@dataclass(frozen=True)
class Selection:
    """The scheme that was chosen, and all artefacts that were tried, in order."""

    scheme: Scheme
    attempts: tuple[Attempt, ...]


def select(request: ExportRequest, trial: Trial, *, progress: Progress = SILENT) -> Selection:
    """Return the cheapest scheme whose artefacts are near enough to float in every format of a request.

    An artefact holds if it keeps the budget of the trial, and if its accuracy over all decisions is at most `max_drop`
    points below float PyTorch, at each length at most `max_drop` points or one clip, whichever is more. Schemes of a
    causal model are tried in the order of their predicted instructions, others from the smallest to the safest. With a
    budget, a mixed scheme is searched for as well if TFLite is among the formats: in other engines it costs more to
    change between integers and float. Schemes that need activation ranges are left out where there are none.

    Args:
        request: its scheme is not used.
        trial: what artefacts are tried on.
        progress: receives which scheme is tried.

    Raises:
        ExportError: no scheme fits the formats and holds.
    """
    reference, attempts = open_runtime(request.checkpoint), list[Attempt]()
    for candidate in _Candidates(request, trial, progress):
        scheme = candidate.scheme
        with progress.phase(f"trying {scheme.name}"):
            try:
                tried = _try(replace(request, scheme=scheme), trial, reference, candidate.instructions)
            except ParityError as error:
                progress.note(f"{scheme.name} does not hold: {error}")
                continue
        attempts += tried
        if all(attempt.holds for attempt in tried):
            return Selection(scheme, tuple(attempts))
    raise ExportError(
        f"no scheme keeps {trial.describe()} in {' and '.join(request.formats)}; allow more difference from float"
    )


@dataclass(frozen=True)
class _Candidate:
    """A scheme to try, and the instructions that are predicted for a step; None where they are not known."""

    scheme: Scheme
    instructions: float | None = None


class _Candidates:
    """The schemes of a request, cheapest first; with a budget, mixed ones among them."""

    def __init__(self, request: ExportRequest, trial: Trial, progress: Progress) -> None:
        self.trial, self.progress = trial, progress
        self.checkpoint = Checkpoint.load(request.checkpoint)
        self.waiting = sorted((self._predict(request, each) for each in _applicable_schemes(request)), key=_cost)
        self.strictness, self.found = 0, list[Scheme]()
        self.search: Search | None = None
        base = next((each for each in self.waiting if each.scheme == SCHEMES["int8"]), None)
        if trial.has_budget and "tflite" in request.formats and base and base.instructions is not None:
            plan = replace(request, scheme=base.scheme).plan_of(self.checkpoint.quantisation)
            self.search = Search(self.checkpoint, plan, trial.clips.features, trial.processor)

    def __iter__(self) -> Iterator[_Candidate]:
        """Yield candidates until one is kept; the next mixed one is stricter than the one before."""
        self._add_mixed()
        while self.waiting:
            candidate = self.waiting.pop(0)
            yield candidate
            if candidate.scheme.name == MIXED:
                self._add_mixed()

    def _add_mixed(self) -> None:
        """Search for a mixed scheme, and put it where its cost places it."""
        while self.search is not None and self.strictness < MIXED_TRIALS:
            with self.progress.phase("searching for what stays float"):
                trial = self.trial.stricter(STRICTER**self.strictness)
                self.strictness += 1
                found = self.search.find(trial.is_kept_by)
            if found and found.scheme.name == MIXED and found.scheme not in self.found:
                self.found.append(found.scheme)
                self.waiting.append(_Candidate(found.scheme, found.instructions))
                self.waiting.sort(key=_cost)
                return

    def _predict(self, request: ExportRequest, scheme: Scheme) -> _Candidate:
        model = self.checkpoint.model
        if not isinstance(model, CRNN) or model.config.form != "causal" or scheme.activations == "int16":
            return _Candidate(scheme)
        plan = replace(request, scheme=scheme).plan_of(self.checkpoint.quantisation)
        lowered = run_passes(Lowered.of(lower_step(model), plan), FORMATS.load("tflite").passes)
        return _Candidate(scheme, cost.count_instructions(lowered, self.trial.processor))


def _cost(candidate: _Candidate) -> float:
    """Return what candidates are sorted by; those of unknown cost come last, in their order."""
    return math.inf if candidate.instructions is None else candidate.instructions


def _applicable_schemes(request: ExportRequest) -> Iterator[Scheme]:
    """Yield the schemes that every format supports, in order; those with ranges only where the checkpoint has some."""
    formats = [FORMATS.load(name) for name in request.formats]
    recorded = read_metadata(request.checkpoint)["quantisation"]
    for name in SELECTION_ORDER:
        scheme = SCHEMES[name]
        if not all(fmt.supports(scheme) for fmt in formats):
            continue
        try:
            plan = replace(request, scheme=scheme).plan_of(recorded)
        except ExportError:
            continue
        if not plan.find_idle():
            yield scheme


def _try(request: ExportRequest, trial: Trial, reference: Runtime, instructions: float | None) -> list[Attempt]:
    """Export one scheme to a temporary folder and measure each of its artefacts."""
    with tempfile.TemporaryDirectory(prefix="edge-asc-") as folder:
        manifest = export(request, Path(folder))
        runtimes = {name: open_runtime(Path(folder) / name) for name in manifest.files}
        models = [("float PyTorch", reference), *runtimes.items()]
        base, *results = evaluate(models, trial.clips, trial.lengths)
        attempts = []
        for result in results:
            runtime, closeness = runtimes[result.model], result.closeness
            reasons = [*_reasons_against(base, result, trial.max_drop), *trial.reasons_against(closeness)]
            causal = runtime.contract.form == "causal"
            attempts.append(
                Attempt(
                    scheme=request.scheme.name,
                    artefact=result.model,
                    size=manifest.files[result.model].bytes,
                    accuracy=_shares(result),
                    reference=_shares(base),
                    agreement=result.all_steps.agreement or 0.0,
                    kl=closeness.kl if closeness else None,
                    instructions=instructions,
                    step_ms=_step_ms(runtime, trial.clips) if causal else None,
                    holds=not reasons,
                    reason="; ".join(reasons),
                )
            )
        return attempts


def _reasons_against(base: Accuracy, result: Accuracy, max_drop: float | None) -> list[str]:
    """Return where a result is lower than float PyTorch by more than is allowed."""
    if max_drop is None:
        return []
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
