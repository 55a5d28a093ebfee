"""Models on an endless stream of known sounds: events, false alarms, and what quantisation adds to them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from edge_asc.evaluation.endless import DAY, Followed, follow, match_detections, score_stream
from edge_asc.evaluation.mixing import mix_stream
from edge_asc.evaluation.soundscape import Interval, Mixture
from edge_asc.progress import SILENT, Progress
from edge_asc_bench.inputs import Model
from edge_asc_bench.quality import find_float
from edge_asc_bench.result import Variant
from edge_asc_bench.streamscore import Stream, StreamScore


@dataclass(frozen=True)
class StreamPlan:
    """The stream of a benchmark.

    Attributes:
        data: folder of the data set of the sounds.
        fold: fold whose held-out clips are used; None for all clips.
        background: folder of the data set of the background; None for faint noise.
        mixture: how it is mixed.
    """

    data: Path
    fold: int | None
    background: Path | None
    mixture: Mixture


@dataclass(frozen=True)
class Streamed:
    """A stream, and the decisions of models on it.

    Attributes:
        stream: it, described.
        intervals: its sounds.
        followed: by the name of a model; windowed models have none.
    """

    stream: Stream
    intervals: tuple[Interval, ...]
    followed: dict[str, tuple[Model, Followed]]


def run_stream(models: Sequence[Model], plan: StreamPlan, progress: Progress = SILENT) -> Streamed:
    """Run the causal models on a stream, on this machine.

    Raises:
        EdgeAscError: a data set cannot be used, or a model does not know its labels.
    """
    soundscape = mix_stream(plan.data, plan.fold, plan.background, plan.mixture, progress)
    causal = [model for model in models if model.contract.form == "causal"]
    followed = [(model.runtime, model.contract.live, model.contract.event_rules) for model in causal]
    results = follow(soundscape, followed, progress)
    listed = "".join(f"{each.label} {each.start:.6f} {each.end:.6f}\n" for each in soundscape.intervals)
    stream = Stream(
        data=plan.data.name,
        fold=plan.fold,
        background=None if plan.background is None else plan.background.name,
        background_pause=plan.mixture.background_pause,
        seconds=plan.mixture.seconds,
        seed=plan.mixture.seed,
        sounds=len(soundscape.intervals),
        sha256=hashlib.sha256(listed.encode()).hexdigest(),
    )
    by_name = {model.name: (model, each) for model, each in zip(causal, results, strict=True)}
    return Streamed(stream, tuple(soundscape.intervals), by_name)


def add_streams(variants: Sequence[Variant], streamed: Streamed) -> tuple[Variant, ...]:
    """Return variants with their scores on the stream.

    A quantised artefact is compared with the float artefact of the same checkpoint: its false alarms are counted where
    it detects at least as many sounds.
    """
    scored = {name: _score(name, streamed) for name in streamed.followed}
    done = []
    for variant in variants:
        if variant.name not in scored:
            done.append(variant)
            continue
        score, twin = scored[variant.name], None if variant.scheme == "none" else find_float(variant, variants)
        if twin is not None and twin.name in scored:
            model, followed = streamed.followed[variant.name]
            detected = scored[twin.name].detected
            matched = match_detections(followed, streamed.intervals, model.contract.event_rules, detected)
            score = msgspec.structs.replace(
                score,
                float_twin=twin.name,
                matched_false_alarms=None if matched is None else matched.false_alarms,
                twin_false_alarms=scored[twin.name].false_alarms,
            )
        done.append(msgspec.structs.replace(variant, stream=score))
    return tuple(done)


def _score(name: str, streamed: Streamed) -> StreamScore:
    model, followed = streamed.followed[name]
    score = score_stream(followed, streamed.intervals, model.contract.event_rules)
    total = score.total
    return StreamScore(
        decision=str(followed.decision),
        seconds=score.seconds,
        sounds=total.sounds,
        detected=total.detected,
        false_alarms=total.false_alarms,
        false_alarms_per_day=total.false_alarms * DAY / score.seconds,
        seconds_to_detection=total.delay,
        error_rate=score.error_rate,
        changes_per_minute=score.changes_per_minute,
        float_twin=None,
        matched_false_alarms=None,
        twin_false_alarms=None,
    )
