"""Verdicts: what each document of a page says, in a sentence or two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Self

from edge_asc.reproduction.table1 import Table1
from edge_asc_bench.contest import Contest, find_contest, name_engine
from edge_asc_bench.kinds import Classification, Conformance, Evaluation, Export
from edge_asc_bench.result import Accuracy, LengthAccuracy, Result
from edge_asc_bench.training import Training
from edge_asc_bench.wording import (
    compare,
    format_count,
    format_interval,
    format_milliseconds,
    format_share,
    join,
)


@dataclass(frozen=True)
class Verdict:
    """The conclusion from a document: one sentence, and the sentences after it; "" where there are none."""

    headline: str
    more: str = ""

    @classmethod
    def of(cls, sentences: Sequence[str]) -> Self:
        """Return the verdict of sentences; the first one is the headline."""
        return cls(sentences[0], " ".join(sentences[1:]))


def judge_benchmark(result: Result) -> Verdict:
    """Return the verdict on the quantised model of a benchmark, or on the model that was measured."""
    contest = find_contest(result)
    sentences = []
    if contest is None:
        sentences.append("Nothing was measured.")
    else:
        sentences += _judge_contest(contest, result)
    if not result.complete:
        sentences[0] = f"Incomplete: {sentences[0]}"
        sentences.append(f"The run ended early: {result.incomplete}.")
    return Verdict.of(sentences)


def _judge_contest(contest: Contest, result: Result) -> list[str]:
    sentences = []
    properties = [text for text in (_judge_size(contest), _judge_speed(contest, result)) if text]
    properties = [f"is {text}" if i == 0 else text for i, text in enumerate(properties)]
    parts = [
        _judge_decisions(contest),
        *properties,
        _judge_time(contest, result),
        "" if contest.latency else _judge_instructions(contest),
    ]
    if known := [part for part in parts if part]:
        sentences.append(f"{contest.subject.name} {join(known)}.")
    if accuracy := contest.subject.accuracy:
        rival = contest.reference.accuracy if contest.reference else None
        sentences.append(_judge_accuracy("It" if known else contest.subject.name, accuracy, rival))
    if contest.latency and contest.latency.unstable and not result.machine.emulated:
        sentences.append("Its times were unstable, so take them as rough; the reasons are in the details.")
    if result.machine.emulated:
        sentences.append(f"The run was emulated ({result.machine.emulated}), so times and memory are left out.")
    return sentences or [f"{contest.subject.name} was opened, and nothing else of it was measured."]


def _judge_decisions(contest: Contest) -> str:
    if contest.agreement is None:
        return ""
    share, count = contest.agreement
    return f"decides as the float model does in {format_share(share)} of {format_count(count, 'decision')}"


def _judge_size(contest: Contest) -> str:
    if contest.float_form is None:
        return ""
    ratio = compare(contest.subject.bytes, contest.float_form.bytes, "smaller", "larger", "about as large")
    # Where the decisions were compared with those of the float model, it has been named.
    return ratio if contest.agreement else f"{ratio} {_link(ratio)} {contest.float_form.name}"


def _judge_speed(contest: Contest, result: Result) -> str:
    """The speed as a multiple of the reference's; "" where both were not timed."""
    latency, rival = contest.latency, contest.find_latency(contest.reference)
    if latency is None or rival is None or contest.reference is None:
        return ""
    ratio = compare(latency.total.p50, rival.total.p50, "faster", "slower", "about as fast")
    return f"{ratio} {_link(ratio)} {name_engine(contest.reference)} on {name_machine(result)}"


def _judge_instructions(contest: Contest) -> str:
    own = contest.subject.instructions
    other = contest.float_form.instructions if contest.float_form else None
    if not own or contest.float_form is None:
        return ""
    processor, parts = next(iter(own.items()))
    if not other or processor not in other:
        return ""
    words = [f"{word} instructions" for word in ("fewer", "more", "about as many")]
    ratio = compare(parts.total, other[processor].total, *words)
    return f"needs {ratio} {_link(ratio)} {contest.float_form.name} on {processor}"


def _link(ratio: str) -> str:
    """The word between a comparison and what is compared."""
    return "as" if ratio.startswith("about") else "than"


def _judge_time(contest: Contest, result: Result) -> str:
    """The time of a decision where there is no time to compare it with; else ""."""
    latency = contest.latency
    if latency is None or contest.find_latency(contest.reference):
        return ""
    time = format_milliseconds(latency.total.p50)
    return f"takes {time} for a {contest.describe_decision()} on {name_machine(result)}"


def name_machine(result: Result) -> str:
    """Return the name of the machine that was measured: its board, or its processor."""
    return result.machine.board or result.machine.cpu or "an unknown processor"


def _judge_accuracy(name: str, accuracy: Accuracy, rival: Accuracy | None) -> str:
    """Accuracy at the longest length, with that of the float model there."""
    row = accuracy.lengths[-1]
    text = f"After {row.seconds:g} s of audio {'it' if name == 'It' else name} is right on {describe_row(row)}"
    other = rival.at(row.seconds) if rival and rival.clips == accuracy.clips else None
    return f"{text}; the float model on {format_share(other.accuracy)}." if other else f"{text}."


def describe_row(row: LengthAccuracy) -> str:
    """Return accuracy at a length: "97.5 % of 319 clips (95 % interval 95.1 to 98.7 %)"."""
    clips = format_count(row.count, "clip")
    return f"{format_share(row.accuracy)} of {clips} (95 % interval {format_interval(row.low, row.high)})"


def judge_evaluation(evaluation: Evaluation) -> Verdict:
    """Return the verdict on models on labelled clips: the best one, the agreement of the others, doubtful labels."""
    best = max(evaluation.results, key=lambda each: each.lengths[-1].accuracy)
    sentences = [_judge_accuracy(best.model, best, None)]
    for other in evaluation.results:
        share = other.all_steps.agreement
        if other.reference and share is not None and other.reference != other.model:
            count = format_count(other.all_steps.count, "decision")
            sentences.append(f"{other.model} decides as {other.reference} does in {format_share(share)} of {count}.")
    for each in evaluation.predictions:
        if suspicious := len(each.suspicious):
            sentences.append(f"{format_count(suspicious, 'clip')} may have a wrong label.")
    return Verdict.of(sentences)


def judge_export(export: Export) -> Verdict:
    """Return the verdict on artefacts: how often each decides as PyTorch does."""
    parities = [(name, file.contract.measured.parity) for name, file in export.files.items()]
    name, least = min(parities, key=lambda each: each[1].agreement)
    share, steps = format_share(least.agreement), format_count(least.steps, "decision")
    if len(parities) == 1:
        return Verdict(f"{name} decides as float PyTorch does in {share} of {steps}.")
    if least.agreement == 1:
        return Verdict(f"All {len(parities)} artefacts decide as float PyTorch does in all of {steps}.")
    return Verdict(f"Each of {len(parities)} artefacts decides as float PyTorch does in {share} of {steps} or more.")


def judge_recording(classifications: Sequence[Classification]) -> Verdict:
    """Return the verdict on one recording: what is decided at its end, and in how many decisions all models agree."""
    name = PurePath(classifications[0].source).name
    ends = [each.decisions[-1] for each in classifications if each.decisions]
    if not ends:
        return Verdict(f"{name}: too short for a decision.")
    labels = list(dict.fromkeys(end.label for end in ends))
    seconds = f"{max(end.time for end in ends):.1f} s"
    if len(ends) == 1:
        return Verdict(f"{name}: {labels[0]} at the end ({format_share(max(ends[0].probabilities))}), after {seconds}.")
    tables = [{d.time: d.label for d in each.decisions} for each in classifications if each.decisions]
    times = [time for time in tables[0] if all(time in table for table in tables)]
    alike = sum(len({table[time] for table in tables}) == 1 for time in times)
    agreement = f"{len(ends)} models decide alike in {alike:,} of {len(times):,} decisions"
    return Verdict(f"{name}: {join(labels)} at the end; {agreement}.")


def judge_conformance(conformance: Conformance) -> Verdict:
    """Return the verdict on the same artefacts on other processors."""
    rows = conformance.comparisons
    holds, equal = sum(row.holds for row in rows), sum(row.equal for row in rows)
    processors = join(list(dict.fromkeys(row.processor for row in rows)))
    comparisons = f"{holds} of {format_count(len(rows), 'comparison')} on {processors}"
    return Verdict(f"{comparisons} are within their tolerances, {equal} of them bit-equal.")


def judge_training(training: Training) -> Verdict:
    """Return the verdict on a training: its epochs, and its loss before and after."""
    own = [curve for curve in training.curves if curve.fold is None] or training.curves
    if not own:
        return Verdict(f"{training.name} was trained; its log is not there.")
    epochs = own[0].epochs
    held_out = [epoch.validation for curve in training.curves for epoch in curve.epochs[-1:] if epoch.validation]
    text = f"In {format_count(len(epochs), 'epoch')} the loss went from {epochs[0].loss:.2f} to {epochs[-1].loss:.2f}"
    if held_out:
        return Verdict(f"{text}; held-out accuracy ended at {format_interval(min(held_out), max(held_out))}.")
    return Verdict(f"{text}.")


def judge_table1(table: Table1) -> Verdict:
    """Return the verdict on a comparison of trained models: the one that is right most often on whole clips."""
    if not table.rows:
        return Verdict("No model was trained.")
    best = max(table.rows, key=lambda row: row.whole.mean)
    name, share = f"{best.backbone} with {best.variant}", format_share(best.whole.mean)
    models = format_count(len(table.rows), "model")
    return Verdict(f"Of {models}, {name} is right most often: on {share} of whole clips.")
