"""The quality of models on clips: accuracy, or agreement with the reference; and losses between models."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edge_asc.evaluation.accuracy import Accuracy as Evaluation
from edge_asc.evaluation.comparison import ClipLogits, check_comparable, compare
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.frontend import Array
from edge_asc_bench.inputs import Clips, Model
from edge_asc_bench.job import Settings
from edge_asc_bench.observation import Logits
from edge_asc_bench.reference import find_base
from edge_asc_bench.result import Accuracy, Agreement, Loss, Variant

# What two variants have in common where one is the quantised form of the other.
SAME_MODEL = ("engine", "form", "checkpoint_sha256")


def check_measurable(models: Sequence[Model], clips: Clips, settings: Settings) -> None:
    """Check models and clips before anything is measured.

    Raises:
        EdgeAscError: a model has none of the windows asked for, or cannot be compared with its reference.
    """
    for i, model in enumerate(models):
        model.windows(settings.lengths)
        if clips.labels:
            pair = [(models[k].name, models[k].contract) for k in dict.fromkeys([find_base(models, i), i])]
            check_comparable(pair, len(clips.features), clips.targets, clips.labels, sorted(settings.lengths))


def measure_accuracy(
    models: Sequence[Model], clips: Clips, settings: Settings, logits: Sequence[Logits], index: int
) -> Accuracy | None:
    """Return the accuracy of one model, beside the checkpoint that it is compared with, at the lengths of both."""
    pair = [i for i in dict.fromkeys([find_base(models, index), index]) if logits[i] or i == index]
    lengths = set(settings.lengths)
    for i in pair:
        windows = {seconds for seconds in logits[i] if seconds is not None}
        lengths &= windows if windows else lengths if logits[i] else set()
    if not lengths:
        return None
    both = [_make_logits(models[i], _join_rows(logits[i], lengths)) for i in pair]
    return _to_result(compare(both, clips.targets, clips.labels, sorted(lengths))[-1])


def measure_whole_clips(
    whole: ClipLogits, model: Model, streamed: list[Array], clips: Clips, settings: Settings
) -> Accuracy:
    """Return the accuracy of the reference on whole clips, compared with itself streamed."""
    both = [whole, _make_logits(model, streamed)]
    return _to_result(compare(both, clips.targets, clips.labels, settings.lengths, reference=1)[0])


def _to_result(evaluation: Evaluation) -> Accuracy:
    return msgspec.convert(evaluation.to_json(), Accuracy)


def _make_logits(model: Model, logits: list[Array]) -> ClipLogits:
    return ClipLogits(model.name, model.runtime.engine, model.contract, logits)


def _join_rows(logits: Logits, lengths: set[int]) -> list[Array]:
    """Of each clip: its steps, or the rows of its windows one after another."""
    if None in logits:
        return logits[None]
    windows = [logits[seconds] for seconds in sorted(lengths)]
    return [np.concatenate(rows) for rows in zip(*windows, strict=True)]


def measure_agreement(
    models: Sequence[Model], logits: Sequence[Logits], reference: int | None, index: int
) -> Agreement | None:
    """Return the agreement of a causal model with the reference, step by step; None where they are not comparable."""
    if reference is None or index == reference:
        return None
    if None not in logits[reference] or None not in logits[index]:
        return None
    if models[index].contract.labels != models[reference].contract.labels:
        return None
    expected, own = (np.concatenate(logits[i][None]) for i in (reference, index))
    error = np.abs(own - expected)
    return Agreement(
        steps=len(own),
        share=float((own.argmax(1) == expected.argmax(1)).mean()),
        mean_error=float(error.mean()),
        max_error=float(error.max()),
        closeness=measure_closeness(logits[reference][None], logits[index][None], models[index].contract.decision),
    )


def add_losses(variants: Sequence[Variant], reference: str | None, whole_clip: Accuracy | None) -> tuple[Variant, ...]:
    """Return variants with the points of accuracy that streaming, export and quantisation cost each.

    The rows of a deployment, each against the one above: whole clip, stream, float artefact, quantised artefact, all of
    the reference's checkpoint. The float artefact of a quantised one has its engine and form; without one, export and
    quantisation cannot be reported separately and both are None.
    """
    base = next((variant for variant in variants if variant.name == reference), None)
    if base is None or base.accuracy is None:
        return tuple(variants)
    return tuple(_add_loss(variant, variants, base, whole_clip) for variant in variants)


def _add_loss(variant: Variant, variants: Sequence[Variant], base: Variant, whole_clip: Accuracy | None) -> Variant:
    if variant.checkpoint_sha256 != base.checkpoint_sha256 or variant.accuracy is None:
        return variant
    assert base.accuracy is not None
    streaming = None if whole_clip is None else _count_points_lost(whole_clip, base.accuracy)
    export = quantisation = None
    float_twin = variant if variant.scheme == "none" else find_float(variant, [v for v in variants if v.accuracy])
    if variant is not base and float_twin is not None and float_twin.accuracy is not None:
        export = _count_points_lost(base.accuracy, float_twin.accuracy)
        if variant is not float_twin:
            quantisation = _count_points_lost(float_twin.accuracy, variant.accuracy)
    loss = Loss(streaming=streaming, export=export, quantisation=quantisation)
    return msgspec.structs.replace(variant, loss=loss)


def find_float(variant: Variant, variants: Sequence[Variant]) -> Variant | None:
    """Return the float artefact of the same checkpoint in the same engine and form; None if there is none."""
    for other in variants:
        if other.scheme == "none" and all(getattr(other, key) == getattr(variant, key) for key in SAME_MODEL):
            return other
    return None


def _count_points_lost(above: Accuracy, below: Accuracy) -> dict[str, float]:
    """Points of accuracy lost from one row to the next, by length and in all."""
    own = {row.seconds: row.accuracy for row in below.lengths}
    rows = [(row.seconds, row.accuracy) for row in above.lengths if row.seconds in own]
    points = {f"{seconds:g}": round(100 * (share - own[seconds]), 3) for seconds, share in rows}
    return {**points, "all": round(100 * (above.all_steps.accuracy - below.all_steps.accuracy), 3)}
