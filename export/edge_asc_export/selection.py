"""Choosing a scheme: exports are tried from the smallest and fastest to the safest, until one keeps its accuracy."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc.evaluation.accuracy import Accuracy, evaluate
from edge_asc.frontend import Array
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc_export.bundle import Job, export
from edge_asc_export.scheme import SCHEMES, Scheme

# From the smallest and fastest to the safest.
ORDER = ("int8", "int8-float-gru", "int8-dynamic", "int16x8", "fp16", "none")
TIMED_STEPS = 200


@dataclass(frozen=True)
class Attempt:
    """What one artefact of a tried scheme came to.

    Attributes:
        scheme: its name.
        artefact: file name.
        size: bytes.
        accuracy: share of right decisions of all, and by length in seconds.
        reference: the same of float PyTorch.
        agreement: share of decisions that equal those of float PyTorch.
        step_ms: median time of a step here, ms; None for a windowed model.
        holds: whether it keeps the accuracy asked for.
        reason: where it does not.
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

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def select(
    job: Job,
    features: Sequence[Array],
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Sequence[int],
    max_drop: float,
    *,
    progress: Callable[[str], None] | None = None,
) -> tuple[Scheme, list[Attempt]]:
    """The first scheme whose artefacts keep their accuracy in every format of `job`, and all that was tried.

    An artefact holds if its accuracy over all decisions is at most `max_drop` points below float PyTorch, and at each
    length at most `max_drop` points or one clip, whichever is more.

    Schemes that need activation ranges are left out where there are none.

    Args:
        job: its scheme is left aside.
        features: raw log-mel of labelled clips, (frames, mels).
        targets: index into `labels` of each clip.
        labels: of the data.
        lengths: seconds since reset.
        max_drop: points of accuracy, ≥ 0.
        progress: told what is tried.

    Raises:
        ExportError: max_drop is negative, or no scheme fits the formats and holds.
    """
    if not max_drop >= 0.0:
        raise ExportError(f"the drop allowed is {max_drop} points; expected 0 or more")
    reference = open_runtime(job.checkpoint)
    attempts: list[Attempt] = []
    for scheme in (SCHEMES[name] for name in ORDER):
        if not set(job.formats) <= set(scheme.formats):
            continue
        if progress:
            progress(f"trying {scheme.name}")
        if scheme.static and not _has_ranges(replace(job, scheme=scheme)):
            continue
        with tempfile.TemporaryDirectory(prefix="edge-asc-") as folder:
            manifest = export(replace(job, scheme=scheme), Path(folder))
            runtimes = {name: open_runtime(Path(folder) / name) for name in manifest["files"]}
            models = [("float PyTorch", reference), *runtimes.items()]
            base, *results = evaluate(models, features, targets, labels, lengths)
            for result in results:
                size, runtime = manifest["files"][result.model]["bytes"], runtimes[result.model]
                attempts.append(_attempt(scheme.name, size, runtime, features, base, result, max_drop))
        if all(attempt.holds for attempt in attempts if attempt.scheme == scheme.name):
            return scheme, attempts
    raise ExportError(
        f"no scheme keeps accuracy within {max_drop} points in {' and '.join(job.formats)}; allow a larger drop"
    )


def _has_ranges(job: Job) -> bool:
    try:
        job.draft()
    except ExportError:
        return False
    return True


def _attempt(
    scheme: str,
    size: int,
    runtime: Runtime,
    features: Sequence[Array],
    base: Accuracy,
    result: Accuracy,
    max_drop: float,
) -> Attempt:
    reasons = []
    drop = 100 * (base.all_steps.accuracy - result.all_steps.accuracy)
    if drop > max_drop + 1e-9:
        reasons.append(f"{drop:.2f} points lower over all decisions")
    for mine in result.lengths:
        theirs = base.at(mine.seconds)
        lost = theirs.right - mine.right if theirs else 0
        if lost > 1 and 100 * lost / mine.count > max_drop + 1e-9:
            reasons.append(f"{100 * lost / mine.count:.2f} points lower at {mine.seconds:g} s")
    return Attempt(
        scheme=scheme,
        artefact=result.model,
        size=size,
        accuracy=_shares(result),
        reference=_shares(base),
        agreement=result.all_steps.agreement or 0.0,
        step_ms=_step_ms(runtime, features[0]) if runtime.contract.form == "causal" else None,
        holds=not reasons,
        reason="; ".join(reasons),
    )


def _shares(result: Accuracy) -> dict[str, float]:
    return {f"{found.seconds:g}": found.accuracy for found in result.lengths} | {"all": result.all_steps.accuracy}


def _step_ms(runtime: Runtime, clip: Array) -> float:
    """The median time of a step; a rough figure of this machine, for comparing the rows of one table."""
    classifier = StreamingClassifier(runtime)
    frames = runtime.contract.signature("step").frames
    chunk = np.array(clip[:frames], np.float32)
    times = []
    for _ in range(TIMED_STEPS):
        begun = time.perf_counter()
        classifier.push_features(chunk)
        times.append(time.perf_counter() - begun)
    return 1000 * float(np.median(times))
