"""The paper's Figure 4: recall at each step of a stream, by window length, with and without carried hidden states."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from edge_asc import audio
from edge_asc.contract import StreamContract
from edge_asc.data import FeatureCache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import Indices, decide, stream_logits
from edge_asc.evaluation.windows import PERIOD, stream_recordings
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.streaming import Carry

KIND: Final = "figure4"
# 1: first version.
SCHEMA_VERSION: Final = 1
CARRIES: tuple[Carry, ...] = ("final", "aligned", "none")

Hits = dict[tuple[int | None, str], npt.NDArray[np.bool_]]
"""Which decisions are right, (clips, steps), by window length (None for a causal model) and carry mode."""


@dataclass(frozen=True)
class Curve:
    """Shares of right decisions at each step, for one window length and carry mode.

    Attributes:
        seconds: of the window; None for the step of a causal model.
        carry: the state that a window starts from; "exact" for a causal model.
        times: s since the start of a clip.
        recall: among the clips that the same model classifies rightly from all of the audio; None without such clips.
        macro_recall: its mean over labels.
        accuracy: among all clips.
    """

    seconds: int | None
    carry: str
    times: tuple[float, ...]
    recall: tuple[float, ...] | None
    macro_recall: tuple[float, ...] | None
    accuracy: tuple[float, ...]


@dataclass(frozen=True)
class Whole:
    """Decisions from all of the audio: their number, the right ones, and their share."""

    count: int
    right: int
    accuracy: float


@dataclass(frozen=True)
class ModelCurves:
    """The curves of one model.

    Attributes:
        name: of the model.
        engine: with its version.
        seeds: number of trainings that are pooled.
        form, backbone, output, scheme: of the model.
        whole: decisions from all of the audio.
        curves: one for each window length and carry mode.
        notes: what was left out.
    """

    name: str
    engine: str
    seeds: int
    form: str
    backbone: str
    output: str
    scheme: str
    whole: Whole
    curves: tuple[Curve, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Figure4:
    """The figure.

    Attributes:
        data: name of the data set.
        clips: number of clips that were streamed.
        left_out: number of shorter clips.
        seconds: the longest length, from which the clips that count are decided.
        period: between two windows, s.
        models: in the order they were given.
        fold: whose held-out clips these are; 0 or None for all clips.
    """

    data: str
    clips: int
    left_out: int
    seconds: int
    period: float
    models: tuple[ModelCurves, ...]
    fold: int | None = None
    kind: Literal["figure4"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION


@dataclass(frozen=True)
class Windows:
    """Windows to stream.

    Attributes:
        lengths: s; those that less than half of the clips reach are left out.
        carries: states that a window starts from; one that an artefact does not have is left out with a note.
    """

    lengths: tuple[int, ...] = tuple(range(1, 11))
    carries: tuple[Carry, ...] = CARRIES


@dataclass(frozen=True)
class _Setup:
    """Inputs common to all models: the data, clips that are long enough, windows, and the longest length."""

    dataset: Dataset
    clips: Sequence[Clip]
    cache: FeatureCache
    windows: Windows
    progress: Progress

    @property
    def full(self) -> int:
        return self.windows.lengths[-1]


def make_figure(
    models: Sequence[tuple[str, Sequence[Runtime]]],
    dataset: Dataset,
    clips: Sequence[Clip],
    cache: FeatureCache,
    windows: Windows | None = None,
    progress: Progress = SILENT,
) -> Figure4:
    """Measure the recall of each model at each step.

    A windowed model has a curve for each length and carry mode, over windows that begin every 0.25 s (paper, 3.3); a
    causal one has a single curve over its steps, the hidden state and the caches carried on, which is our addition.
    `recall` is the share of right decisions among the clips that the same model classifies rightly from all of the
    audio, over all labels together (the paper does not say how it averages).

    Args:
        models: name and engines, several where a model was trained with several seeds: their decisions are pooled,
            each counting on the clips that it classifies rightly itself.
        dataset: of the clips.
        clips: to stream; those that are shorter than the longest length are left out.
        cache: for the features of causal models.
        windows: of windowed models.
        progress: receives a phase for each windowed model.

    Raises:
        EdgeAscError: no clip is long enough, a label of the data is unknown to a model, or a windowed one has no window
            of the longest length, or none of the carry modes.
    """
    windows = windows or Windows()
    seconds_of = {clip.filename: audio.duration(dataset.path(clip)) for clip in clips}
    # Lengths that at least half of the clips reach: one long recording must not leave out all others.
    longest = sorted(seconds_of.values())[len(clips) // 2] if clips else 0.0
    reached = tuple(length for length in sorted(set(windows.lengths)) if length <= longest)
    if not reached:
        raise EdgeAscError(f"less than half of the clips are {min(windows.lengths)} s long; ask for a shorter length")
    streamed = [clip for clip in clips if seconds_of[clip.filename] >= reached[-1]]
    setup = _Setup(dataset, streamed, cache, Windows(reached, windows.carries), progress)
    return Figure4(
        data=dataset.name,
        clips=len(streamed),
        left_out=len(clips) - len(streamed),
        seconds=setup.full,
        period=PERIOD,
        models=tuple(_measure(name, runtimes, setup) for name, runtimes in models),
    )


def _measure(name: str, runtimes: Sequence[Runtime], setup: _Setup) -> ModelCurves:
    contract = runtimes[0].contract
    causal = contract.form == "causal"
    possible, notes = (setup.windows, []) if causal else _select_windows(name, contract, setup.windows)
    parts = []
    for runtime in runtimes:
        targets = _find_targets(name, runtime, setup.clips)
        if causal:
            hits = _compute_step_hits(runtime, setup, targets)
        else:
            tracked = setup.progress.track(setup.clips, f"{name}, windows")
            samples = _read_samples(setup.dataset, tracked, contract.front_end.sample_rate)
            logits = stream_recordings(runtime, samples, setup.full, possible.lengths, possible.carries, PERIOD)
            hits = {key: rows.argmax(2) == targets[:, None] for key, rows in logits.items()}
        parts.append((targets, hits))
    whole, curves = _pool(parts, setup.full, contract)
    return ModelCurves(
        name=name,
        engine=runtimes[0].engine,
        seeds=len(runtimes),
        form=contract.form,
        backbone=contract.backbone,
        output=contract.output,
        scheme=contract.scheme,
        whole=whole,
        curves=curves,
        notes=tuple(notes),
    )


def _find_targets(name: str, runtime: Runtime, clips: Sequence[Clip]) -> Indices:
    labels = runtime.contract.labels
    if unknown := sorted({clip.label for clip in clips} - set(labels)):
        raise EdgeAscError(f"{name} does not know {', '.join(unknown)}; it was trained on {', '.join(labels)}")
    return np.array([labels.index(clip.label) for clip in clips], np.intp)


def _select_windows(name: str, contract: StreamContract, windows: Windows) -> tuple[Windows, list[str]]:
    """The carry modes and lengths that a windowed model has, and notes of those that it does not have."""
    full, notes = windows.lengths[-1], []
    if full not in contract.windows:
        raise EdgeAscError(
            f"{name} has no window of {full} s, the length that decides which clips count; "
            f"it offers {', '.join(map(str, contract.windows))} s"
        )
    offered = tuple(length for length in windows.lengths if length in contract.windows)
    if missing := [str(length) for length in windows.lengths if length not in offered]:
        notes.append(f"{name} has no window of {', '.join(missing)} s")
    inside = any(signature.name == "gru" for signature in contract.signatures)
    carries = tuple(carry for carry in windows.carries if carry != "aligned" or inside)
    if len(carries) < len(windows.carries):
        reason = f"{name} does not output the state inside a window, which 'aligned' carries on"
        if not carries:
            raise EdgeAscError(
                f"{reason}; add --carry final or --carry none, or give the TFLite artefact or the checkpoint"
            )
        notes.append(reason)
    return Windows(offered, carries), notes


def _read_samples(dataset: Dataset, clips: Iterable[Clip], sample_rate: int) -> Iterator[Array]:
    return (audio.read(dataset.path(clip), sample_rate) for clip in clips)


def _compute_step_hits(runtime: Runtime, setup: _Setup, targets: Indices) -> Hits:
    step = runtime.contract.signature("step")
    frames = setup.full * runtime.contract.front_end.sample_rate // step.samples * step.frames
    features = [clip[:frames] for clip in setup.cache.features(setup.dataset, setup.clips)]
    decided = np.stack([decide(logits, "last") for logits in stream_logits(runtime, features)])
    return {(None, "exact"): decided == targets[:, None]}


def _pool(
    parts: Sequence[tuple[Indices, Hits]], full: int, contract: StreamContract
) -> tuple[Whole, tuple[Curve, ...]]:
    """The clips that count, and the curve of each length and mode, over all seeds."""
    causal = contract.form == "causal"
    step = contract.step_seconds if causal else PERIOD
    targets = np.concatenate([own for own, _ in parts])
    hits = {key: np.concatenate([own[key] for _, own in parts]) for key in parts[0][1]}
    # All windows of the full length start from zeros, whatever the mode: there is one of them.
    right = next(own[:, -1] for (length, _), own in hits.items() if length in (None, full))
    curves = tuple(
        _make_curve(length, carry, step, own, Counted(right, targets)) for (length, carry), own in hits.items()
    )
    return Whole(len(right), int(right.sum()), float(right.mean())), curves


class Counted(NamedTuple):
    """Clips that count for the recall, and the target of each clip."""

    right: npt.NDArray[np.bool_]
    targets: Indices


def _make_curve(seconds: int | None, carry: str, step: float, hits: npt.NDArray[np.bool_], counted: Counted) -> Curve:
    """The curve of hits, (clips, steps); the first decision is after `seconds`, or after one step."""
    right, targets = counted
    by_class = [hits[right & (targets == label)].mean(0) for label in np.unique(targets[right])]
    return Curve(
        seconds=seconds,
        carry=carry,
        times=tuple(round((seconds or step) + step * i, 6) for i in range(hits.shape[1])),
        recall=tuple(hits[right].mean(0).tolist()) if by_class else None,
        macro_recall=tuple(np.mean(by_class, axis=0).tolist()) if by_class else None,
        accuracy=tuple(hits.mean(0).tolist()),
    )
