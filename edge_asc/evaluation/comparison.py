"""Models on the same labelled clips: each model's accuracy, and its agreement with a reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import Accuracy, LengthResult, LogitError, Tally, count_by_class
from edge_asc.evaluation.logits import Indices, choose_inputs, clip_logits, decide, steps_at
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.evaluation.predictions import Ends
from edge_asc.frontend import Array, FrontEnd
from edge_asc.progress import SILENT, Progress
from edge_asc.rule import CLIP_RULES, ClipRule
from edge_asc.runtime import Runtime


@dataclass(frozen=True)
class LabelledClips:
    """Clips with their labels.

    Attributes:
        features: raw log-mel of each clip, (frames, mels).
        targets: index into `labels` of each clip.
        labels: labels of the data.
        samples: of each clip, (n,), for models that take these; None where there are features alone.
    """

    features: Sequence[Array]
    targets: Sequence[int]
    labels: Sequence[str]
    samples: Sequence[Array] | None = None


@dataclass(frozen=True)
class ClipLogits:
    """The outputs of one model on some clips.

    Attributes:
        name: name of the model.
        engine: name and version of the engine that ran it.
        contract: contract of the model.
        logits: outputs for each clip: (steps, classes) of a causal model; (lengths, classes) of a windowed one, without
            the lengths that the clip does not reach.
    """

    name: str
    engine: str
    contract: StreamContract
    logits: Sequence[Array]


def evaluate(
    runtimes: Sequence[tuple[str, Runtime]],
    clips: LabelledClips,
    lengths: Iterable[float],
    *,
    reference: int | None = 0,
    gain: float = 0.0,
    progress: Progress = SILENT,
) -> list[Accuracy]:
    """Run models on the same clips and compare them.

    Args:
        runtimes: name and engine of each model; their labels are matched with those of the data by name.
        clips: clips to evaluate on.
        lengths: seconds since the start of a clip; at each length, shorter clips are left out.
        reference: index of the model that the others are compared with; None for no comparison.
        gain: input gain, dB.
        progress: one phase for each model.

    Raises:
        EdgeAscError: no clips, or none that is long enough; a label that a model does not know; models with
            different front ends; or a bad target, length or reference.
    """
    lengths = sorted(set(lengths))
    contracts = [(name, runtime.contract) for name, runtime in runtimes]
    check_comparable(contracts, len(clips.features), clips.targets, clips.labels, lengths, reference)
    windows = [set(runtime.contract.windows) for _, runtime in runtimes if runtime.contract.form == "windowed"]
    if windows:
        common = [seconds for seconds in lengths if seconds in set.intersection(*windows)]
        if not common and reference is not None and len(runtimes) > 2:
            return _evaluate_pairs(runtimes, clips, lengths, reference, gain, progress)
        if not common:
            raise EdgeAscError("the models have no window of these lengths in common; ask for one that all offer")
        lengths = common
    seconds = [int(length) for length in lengths]
    outputs = [
        ClipLogits(
            name,
            runtime.engine,
            runtime.contract,
            clip_logits(
                runtime,
                choose_inputs(runtime.contract, clips.features, clips.samples),
                seconds,
                gain=gain,
                progress=progress,
            ),
        )
        for name, runtime in runtimes
    ]
    return compare(outputs, clips.targets, clips.labels, lengths, reference, gain)


def _evaluate_pairs(
    runtimes: Sequence[tuple[str, Runtime]],
    clips: LabelledClips,
    lengths: Sequence[float],
    reference: int,
    gain: float,
    progress: Progress,
) -> list[Accuracy]:
    """Evaluate windowed models with no length in common, such as ONNX files of one window, each with the reference."""
    base, results = runtimes[reference], []
    for i, model in enumerate(runtimes):
        pair = [base] if i == reference else [base, model]
        results.append(evaluate(pair, clips, lengths, gain=gain, progress=progress)[-1])
    return results


def compare(
    outputs: Sequence[ClipLogits],
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Iterable[float],
    reference: int | None = 0,
    gain: float = 0.0,
) -> list[Accuracy]:
    """Compute accuracies from the outputs of models on the same clips; arguments and errors are those of `evaluate`."""
    truth, lengths = np.asarray(targets, np.intp), sorted(set(lengths))
    contracts = [(output.name, output.contract) for output in outputs]
    check_comparable(contracts, len(outputs[0].logits) if outputs else 0, targets, labels, lengths, reference)
    # One numbering of all labels, in which the numbers of the data's own labels are the targets.
    names = list(dict.fromkeys([*labels, *(label for output in outputs for label in output.contract.labels)]))
    decided = [_decide_all(output, names) for output in outputs]
    other = None if reference is None else decided[reference]
    settings = _Settings(truth, tuple(labels), tuple(lengths), gain)
    return [_measure(each, None if each is other else other, settings) for each in decided]


def check_comparable(
    models: Sequence[tuple[str, StreamContract]],
    clips: int,
    targets: Sequence[int],
    labels: Sequence[str],
    lengths: Sequence[float],
    reference: int | None = None,
) -> None:
    """Check that `evaluate` and `compare` can measure these models, before hours are spent on it.

    Raises:
        EdgeAscError: as `evaluate` does.
    """
    truth = np.asarray(targets, np.intp)
    if not models or not clips or not lengths:
        raise EdgeAscError(
            f"got {len(models)} models, {clips} clips, {len(lengths)} lengths; expected at least one of each"
        )
    if truth.shape != (clips,):
        raise EdgeAscError(f"got {clips} clips but targets of shape {truth.shape}; expected one target per clip")
    if truth.min() < 0 or truth.max() >= len(labels):
        raise EdgeAscError(f"targets are {truth.min()}..{truth.max()}; expected 0..{len(labels) - 1}")
    if reference is not None and not 0 <= reference < len(models):
        raise EdgeAscError(f"reference is model {reference}; expected 0..{len(models) - 1}")
    first = models[0][1]
    for name, contract in models:
        if unknown := [labels[i] for i in np.unique(truth) if labels[i] not in contract.labels]:
            raise EdgeAscError(
                f"{name} does not know {', '.join(unknown)}; it was trained on {', '.join(contract.labels)}: "
                "evaluate it on clips of these labels"
            )
        if _features_of(contract) != _features_of(first):
            raise EdgeAscError(
                f"{name} has another front end, form or step than {models[0][0]}; evaluate them one at a time"
            )
        if contract.form == "causal" and _rows(contract, lengths[0], lengths) == 0:
            raise EdgeAscError(
                f"length is {lengths[0]:g} s; {name} makes its first decision later: ask for a longer length"
            )


@dataclass(frozen=True)
class _Settings:
    """One comparison: the true label of each clip, all labels, the lengths, s, and the gain, dB."""

    truth: Indices
    labels: tuple[str, ...]
    lengths: tuple[float, ...]
    gain: float


@dataclass(frozen=True)
class _Decided:
    """The outputs of a model and its decisions after every step of each clip, in the common numbering of labels."""

    output: ClipLogits
    decisions: Mapping[ClipRule, list[Indices]]

    @property
    def rule(self) -> ClipRule:
        return self.output.contract.decision

    def select(self, rule: ClipRule, clips: Indices, steps: slice) -> Indices:
        return np.concatenate([self.decisions[rule][clip][steps] for clip in clips])


def _decide_all(output: ClipLogits, names: list[str]) -> _Decided:
    common = np.array([names.index(label) for label in output.contract.labels], np.intp)
    if output.contract.form == "windowed":
        last = [common[decide(logits, "last")] for logits in output.logits]
        return _Decided(output, dict.fromkeys(CLIP_RULES, last))
    return _Decided(output, {rule: [common[decide(x, rule)] for x in output.logits] for rule in CLIP_RULES})


def _measure(model: _Decided, other: _Decided | None, settings: _Settings) -> Accuracy:
    steps = np.array([len(logits) for logits in model.output.logits], np.intp)
    results, notes = [], []
    for seconds in settings.lengths:
        step = _rows(model.output.contract, seconds, settings.lengths)
        if len(clips := np.flatnonzero(steps >= step)):
            results.append(_measure_length(model, other, settings, seconds, clips, step))
        else:
            notes.append(f"no clip is {seconds:g} s long")
    if not results:
        raise EdgeAscError(f"no clip is {min(settings.lengths):g} s long; ask for a shorter length")
    aligned = None if other is None else _align(model.output, other.output)
    error = closeness = None
    if other is not None and aligned is not None:
        error = _logit_error(aligned, other.output.logits)
        closeness = measure_closeness(other.output.logits, aligned, _rule_of(model.output))
    return Accuracy(
        model=model.output.name,
        engine=model.output.engine,
        clips=len(settings.truth),
        labels=settings.labels,
        decision=model.rule,
        gain=settings.gain,
        lengths=tuple(results),
        all_steps=_tally(model, other, settings, np.flatnonzero(steps), slice(None)),
        reference=None if other is None else other.output.name,
        logit_error=error,
        closeness=closeness,
        notes=tuple(notes),
        ends=_find_ends(model.output),
    )


def _find_ends(output: ClipLogits) -> Ends:
    contract = output.contract
    return Ends.of(output.logits, contract.labels, _rule_of(output), contract.temperature)


def _rule_of(output: ClipLogits) -> ClipRule:
    """Return the rule by which the rows of a clip's logits are decided on; each window stands alone."""
    return "last" if output.contract.form == "windowed" else output.contract.decision


def _measure_length(
    model: _Decided, other: _Decided | None, settings: _Settings, seconds: float, clips: Indices, step: int
) -> LengthResult:
    """Count the decisions of `clips` at one step."""
    tally = _tally(model, other, settings, clips, slice(step - 1, step))
    right = model.select(model.rule, clips, slice(step - 1, step)) == settings.truth[clips]
    return LengthResult(
        seconds=seconds,
        decision=tally.decision,
        count_by_class=tally.count_by_class,
        right_by_class=tally.right_by_class,
        agreed=tally.agreed,
        right_clips=tuple(right.tolist()),
    )


def _tally(model: _Decided, other: _Decided | None, settings: _Settings, clips: Indices, steps: slice) -> Tally:
    """Count the decisions of `clips` at some steps."""
    lengths = [len(model.output.logits[clip]) for clip in clips]
    expected = np.concatenate(
        [np.repeat(settings.truth[clip], length)[steps] for clip, length in zip(clips, lengths, strict=True)]
    )
    selected = {rule: model.select(rule, clips, steps) for rule in CLIP_RULES}
    agreed = None
    if other is not None:
        agreed = int((selected[model.rule] == other.select(other.rule, clips, steps)).sum())
    return Tally(
        decision=model.rule,
        count_by_class=count_by_class(expected, settings.labels),
        right_by_class={
            rule: count_by_class(expected[selected[rule] == expected], settings.labels) for rule in CLIP_RULES
        },
        agreed=agreed,
    )


def _features_of(contract: StreamContract) -> tuple[FrontEnd, int]:
    """Return what two models must share to take the same features and decide equally often."""
    step = contract.signature("step").samples if contract.form == "causal" else 0
    return replace(contract.front_end.raw, clip=1.0), step


def _rows(contract: StreamContract, seconds: float, lengths: Sequence[float]) -> int:
    """Return the number of rows of logits after `seconds`: steps of a causal model, windows of a windowed one."""
    if contract.form == "causal":
        return steps_at(seconds, contract.front_end.sample_rate, contract.signature("step").samples)
    return list(lengths).index(seconds) + 1


def _align(output: ClipLogits, other: ClipLogits) -> list[Array] | None:
    """Return the logits of a model in the order of the other's labels; None where the labels differ."""
    mine, theirs = output.contract.labels, other.contract.labels
    if set(mine) != set(theirs):
        return None
    order = [mine.index(label) for label in theirs]
    return [logits[:, order] for logits in output.logits]


def _logit_error(own: Sequence[Array], other: Sequence[Array]) -> LogitError:
    errors = np.abs(np.concatenate([x.astype(np.float64) - y for x, y in zip(own, other, strict=True)]))
    return LogitError(float(errors.sum()), errors.size, float(errors.max()))
