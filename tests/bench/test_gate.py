import copy
import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
import torch
from msgspec import UNSET, UnsetType

from artefacts import Artefacts, clips
from edge_asc.cli import cli
from edge_asc.data import Dataset, FeatureCache
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import FrontEnd
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo_path
from edge_asc_bench import gate
from edge_asc_bench.finding import Comparison, Finding, Skip, error_to_junit, to_benchmark_action, to_junit, to_markdown
from edge_asc_bench.gate import IncomparableError
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.limits import Limits
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.result import Result, read
from edge_asc_bench.targets.local import LocalTarget
from edge_asc_export.artefact import Draft, write
from edge_asc_export.plan import Plan, digest

JsonOrResult = dict[str, Any] | Result
CLIPS = 300


def check(result: JsonOrResult, baseline: JsonOrResult, limits: Limits) -> list[Finding]:
    """The findings of the gate on results given as JSON."""
    return list(compare(result, baseline, limits).findings)


def compare(result: JsonOrResult, baseline: JsonOrResult, limits: Limits, **options: bool) -> Comparison:
    return gate.check(typed(result), typed(baseline), limits, **options)


def list_skipped(result: JsonOrResult, baseline: JsonOrResult, limits: Limits) -> list[str]:
    """The comparisons that were not made. The reference's own times are left out: all others are multiples of them."""
    skips = compare(result, baseline, limits).skips
    return [str(skip) for skip in skips if (skip.variant, skip.what) != ("fuse", "times and memory")]


def list_regressions(findings: Sequence[Finding]) -> list[Finding]:
    return Comparison(tuple(findings), ()).regressions


def typed(value: JsonOrResult) -> Result:
    return value if isinstance(value, Result) else msgspec.convert(value, Result)


def distribution(p50: float) -> dict[str, Any]:
    ends = {"minimum": p50 * 0.5, "maximum": p50 * 1.5, "p99": p50 * 1.2}
    return {**ends, "count": 500, "p50": p50, "p90": p50, "mean": p50, "deviation": 0.01, "percentiles": {"50": p50}}


def latency(p50: float, spread: float = 0.01) -> dict[str, Any]:
    parts: dict[str, Any] = {name: distribution(p50) for name in ("front_end", "model", "engine", "total")}
    rounds = [p50 * (1 + spread * (i % 5 - 2)) for i in range(25)]
    times = {"period_s": 0.256, "real_time_factor": p50 / 256, "load_ms": 1.0, "cold_start_ms": 2.0}
    return {**parts, **times, "rounds_ms": rounds, "sustained": None, "unstable": []}


def memory(peak: int) -> dict[str, int]:
    return {"peak": peak, "now": peak, "bare": 10_000_000, "front_end": 20_000_000, "imported": 50_000_000}


MACHINE = {"architecture": "aarch64", "cpu": "Cortex-A76", "board": "a board", "cores": 4, "features": ["asimddp"]}
MACHINE |= {"emulated": None, "python": "3.11.2", "packages": {"numpy": "2.4"}}


def accuracy(seed: int = 0, share: float = 0.7, agreement: float = 0.99) -> dict[str, Any]:
    rng = random.Random(seed)
    rows = []
    for seconds in (1, 5):
        right = "".join("1" if rng.random() < share else "0" for _ in range(CLIPS))
        row = {"seconds": seconds, "low": 0.0, "high": 1.0, "right_clips": right}
        rows.append({**tally(right.count("1"), CLIPS, agreement), **row})
    facts = {"schema_version": 1, "model": "m", "engine": "litert", "clips": CLIPS, "labels": ["x"], "decision": "last"}
    facts |= {"gain": 0.0, "reference": "fuse", "logit_error": None, "notes": []}
    return {**facts, "lengths": rows, "all_steps": tally(CLIPS, 2 * CLIPS, agreement)}


def tally(right: int, count: int, agreement: float) -> dict[str, Any]:
    shares = {"accuracy": right / count, "agreement": agreement, "recall": {"x": right / count}}
    counts = {"count": count, "right": right, "right_last": right, "right_mean": right, "macro_recall": right / count}
    by_class = {"count_by_class": {"x": count}, "right_by_class": {"last": {"x": right}, "mean": {"x": right}}}
    return {"decision": "last", **counts, **shares, **by_class}


def variant(name: str, p50: float = 0.2, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "file": name,
        "sha256": "0",
        "bytes": 200_000,
        "engine": "litert",
        "form": "causal",
        "scheme": "int8",
        "parameters": 1,
        "macs": {"step": 100},
        "state_bytes": 1,
        "checkpoint_sha256": "c",
        "graph": {
            "operations": {"step": {"CONV_2D": 20}},
            "arithmetic": {"step": {"integer": 20, "float": 0}},
            "float_operations": {"step": []},
            "partitions": 1,
            "outside": 0,
            "arena": 100_000,
        },
        "latency": {"step": latency(p50)},
        "memory": memory(90_000_000),
        "accuracy": accuracy(),
        "agreement": None,
        "loss": None,
        "instructions": None,
        **changes,
    }


def result(**changes: Any) -> dict[str, Any]:
    return {
        "kind": "bench",
        "schema_version": 2,
        "complete": True,
        "incomplete": None,
        "made": {"edge_asc": "0", "at": "now", "seconds": 1.0, "target": "local", "command": ""},
        "machine": MACHINE,
        "conditions": [],
        "settings": {"threads": 1},
        "data": {"name": "d", "clips": CLIPS, "sha256": "a"},
        "reference": "fuse",
        "whole_clip": None,
        "variants": [variant("fuse", 4.0, graph=None), variant("fuse.tflite")],
        **changes,
    }


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    """The result with one value of its second variant replaced."""
    found = copy.deepcopy(result())
    place = found["variants"][1]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


def flipped(right: str, count: int, kind: str = "1") -> str:
    """The clips with `count` of one kind turned over."""
    other = "0" if kind == "1" else "1"
    return right.replace(kind, other, count)


def test_the_same_result_holds() -> None:
    findings = check(result(), result(), Limits())
    assert {finding.verdict for finding in findings} == {"holds"}
    assert {f.what.split(",")[0] for f in findings if f.variant == "fuse.tflite"} == {
        "accuracy at 1 s",
        "accuracy at 5 s",
        "agreement with the reference",
        "file size",
        "arena of TensorFlow Lite Micro",
        "multiply-accumulates of step",
        "operations of step",
        "XNNPACK: partitions",
        "XNNPACK: outside",
        "median of a decision",
        "peak resident set",
    }
    assert "comparisons hold" in to_markdown(Comparison(tuple(findings), ()))


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("bytes",), 205_000, "file size, bytes"),
        (("graph", "arena"), 102_001, "arena of TensorFlow Lite Micro, bytes"),
        (("macs", "step"), 101, "multiply-accumulates of step"),
        (("graph", "operations", "step"), {"CONV_2D": 21}, "operations of step"),
        (("graph", "partitions"), 2, "XNNPACK: partitions"),
        (("graph", "outside"), 1, "XNNPACK: outside"),
        (("latency", "step"), latency(0.3), "median of a decision, step, share of fuse"),
        (("memory", "peak"), 120_000_000, "peak resident set, share of fuse"),
        (("accuracy", "all_steps", "agreement"), 0.97, "agreement with the reference"),
    ],
)
def test_one_regression_is_named(path: tuple[str, ...], value: Any, what: str) -> None:
    findings = check(changed(path, value), result(), Limits())
    (found,) = list_regressions(findings)
    assert (found.variant, found.what) == ("fuse.tflite", what)
    suite = ElementTree.fromstring(to_junit(Comparison(tuple(findings), ())))
    assert suite.get("failures") == "1"
    assert [case.get("name") for case in suite if case.find("failure") is not None] == [what]
    assert f"| fuse.tflite | {what} |" in to_markdown(Comparison(tuple(findings), ()))


def closeness(clear: int = 400, kl: float = 0.004) -> dict[str, Any]:
    margins = [{"least": 0.0, "steps": 200, "agreed": 194}, {"least": 0.5, "steps": 400, "agreed": clear}]
    return {"agreed": 194 + clear, "last_agreed": 580, "kl": kl, "margins": margins}


def close(**changes: Any) -> dict[str, Any]:
    return changed(("accuracy", "closeness"), closeness(**changes))


def test_clear_decisions_and_probabilities_are_held_to_those_of_the_baseline() -> None:
    clear, kl = "agreement where the reference's margin exceeds 0.5", "divergence from the reference, nats"
    found = check(close(), close(), Limits())
    assert {clear, kl} <= {f.what for f in found if f.verdict == "holds"}
    assert [f.what for f in list_regressions(check(close(clear=398), close(), Limits()))] == [clear]
    assert [f.what for f in list_regressions(check(close(kl=0.0052), close(), Limits()))] == [kl]
    assert not list_regressions(check(close(kl=0.0048), close(), Limits()))
    # That of a float artefact is noise of rounding.
    assert not list_regressions(check(close(kl=4e-7), close(kl=1e-9), Limits()))
    skipped = list_skipped(close(), result(), Limits())
    assert skipped == ["fuse.tflite, its closeness to the reference: the baseline lacks it; make a new one"]
    with pytest.raises(IncomparableError, match="the baseline has its closeness to the reference"):
        check(result(), close(), Limits())


def test_lost_clips_are_a_regression_and_won_ones_are_reported() -> None:
    right = result()["variants"][1]["accuracy"]["lengths"][1]["right_clips"]
    path = ("accuracy", "lengths", 1, "right_clips")
    lost = check(changed(path, flipped(right, 15)), result(), Limits())
    assert [f.what for f in list_regressions(lost)] == ["accuracy at 5 s"]
    assert "15 clips lost, 0 won" in list_regressions(lost)[0].why
    won = check(changed(path, flipped(right, 15, "0")), result(), Limits())
    assert not list_regressions(won)
    assert [f.what for f in won if f.verdict == "improvement"] == ["accuracy at 5 s"]
    assert "improvement" in to_markdown(Comparison(tuple(won), ()))


def test_a_few_clips_either_way_are_chance() -> None:
    """Near-ties fall either way on another machine: as many lost as won."""
    right = result()["variants"][1]["accuracy"]["lengths"][1]["right_clips"]
    other = flipped(flipped(right, 3)[::-1], 3, "0")[::-1]
    assert not list_regressions(check(changed(("accuracy", "lengths", 1, "right_clips"), other), result(), Limits()))


def test_false_alarms_stay_below_the_stated_rate() -> None:
    """Near-ties are a coin's toss in either run: 400 checks, at most as many alarms as promised."""
    limits, alarms = Limits(false_alarms=0.05), 0

    def tossed(seed: int) -> dict[str, Any]:
        rng, value = random.Random(seed), copy.deepcopy(result())
        for mine in value["variants"]:
            for row in mine["accuracy"]["lengths"]:
                bits = [rng.choice("01") if i % 8 == 0 else bit for i, bit in enumerate(row["right_clips"])]
                row["right_clips"] = "".join(bits)
        return value

    for seed in range(400):
        findings = check(tossed(seed), tossed(seed + 10_000), limits)
        alarms += any("accuracy" in f.what and f.verdict != "holds" for f in findings)
    assert alarms <= 400 * 0.05


def test_uncertain_medians_say_nothing_about_latency() -> None:
    noisy = changed(("latency", "step"), latency(9.0, spread=0.3))
    findings = check(noisy, result(), Limits())
    assert not any("median" in finding.what for finding in findings)
    assert list_skipped(noisy, result(), Limits()) == [
        "fuse.tflite, median of a decision, step, share of fuse: the standard error of its median is 11 % in the result"
    ]
    assert not list_regressions(findings)
    assert list_skipped(result(), result(), Limits()) == []


def slower_and_larger() -> dict[str, Any]:
    """The second variant at twice the time and memory."""
    found = changed(("latency", "step"), latency(0.4))
    found["variants"][1]["memory"] = memory(180_000_000)
    return found


def elsewhere(value: dict[str, Any], **machine: Any) -> dict[str, Any]:
    return {**value, "machine": {**MACHINE, **machine}}


def without_reference_times(value: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(value)
    found["variants"][0].update(latency={}, memory=None)
    return found


TIMES = {"median of a decision, step, share of fuse", "peak resident set, share of fuse"}


def test_times_of_another_machine_cannot_be_compared_unless_that_is_allowed() -> None:
    other = elsewhere(slower_and_larger(), cpu="Cortex-A72", features=[])
    with pytest.raises(IncomparableError, match=r"another machine .*cpu.*Cortex-A76.*here.*Cortex-A72"):
        check(other, result(), Limits())
    assert {f.what for f in list_regressions(check(other, result(), Limits(timings="anywhere")))} == TIMES
    assert not list_regressions(check(other, result(), Limits(timings="off")))
    assert list_skipped(other, result(), Limits(timings="off")) == ["times and memory: timings is off"]
    with pytest.raises(IncomparableError, match="architecture"):
        check(elsewhere(other, architecture="x86_64"), result(), Limits(timings="anywhere"))


def test_a_device_without_the_reference_is_compared_with_itself_alone() -> None:
    before, after = without_reference_times(result()), without_reference_times(slower_and_larger())
    found = {f.what for f in list_regressions(check(after, before, Limits()))}
    assert found == {"median of a decision, step, ms", "peak resident set, bytes"}
    assert not list_regressions(check(before, before, Limits()))
    with pytest.raises(IncomparableError, match="another machine"):
        check(elsewhere(after, cores=2), before, Limits(timings="anywhere"))


def test_times_with_and_without_the_reference_are_compared_as_they_are() -> None:
    """In ms both, or five times slower would look like a small share of PyTorch."""
    slow = changed(("latency", "step"), latency(1.0))
    for before, after in ((without_reference_times(result()), slow), (result(), without_reference_times(slow))):
        found = {f.what: f for f in list_regressions(check(after, before, Limits()))}
        assert found["median of a decision, step, ms"].after == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("path", "value", "what"),
    [
        (("accuracy", "all_steps", "agreement"), None, "agreement with the reference"),
        (("graph", "partitions"), None, "XNNPACK: partitions"),
        (("graph", "arena"), None, "the arena of TensorFlow Lite Micro, the result has not; install"),
        (("memory",), None, "peak resident set"),
    ],
)
def test_what_vanished_cannot_be_compared(path: tuple[str, ...], value: None, what: str) -> None:
    with pytest.raises(IncomparableError, match=f"the baseline has {what}"):
        check(changed(path, value), result(), Limits())


@pytest.mark.parametrize("arena", [None, UNSET])
def test_an_arena_that_the_baseline_lacks_is_reported(arena: UnsetType | None) -> None:
    """TensorFlow Lite Micro was not installed, or the baseline is older than the field."""
    before = typed(changed(("graph", "arena"), None))
    graph = before.variants[1].graph
    assert graph is not None
    other = msgspec.structs.replace(before.variants[1], graph=msgspec.structs.replace(graph, arena=arena))
    before = msgspec.structs.replace(before, variants=(before.variants[0], other))
    assert list_skipped(result(), before, Limits()) == [
        "fuse.tflite, arena of TensorFlow Lite Micro: the baseline lacks it; make a new one"
    ]
    assert not list_regressions(check(result(), before, Limits()))


def test_few_rounds_say_nothing_about_latency() -> None:
    few = changed(("latency", "step"), {**latency(9.0), "rounds_ms": [9.0]})
    few["variants"][0]["latency"]["step"]["rounds_ms"] = [4.0]
    assert not list_regressions(check(few, result(), Limits()))
    assert list_skipped(few, result(), Limits())[0].endswith("the result has too few rounds")


EMULATED = {**MACHINE, "emulated": "qemu"}


def counted(share: float = 1.0, engine: str = "litert 2.3") -> dict[str, Any]:
    parts = {"front_end": 900_000, "model": int(1_000_000 * share), "total": 900_000 + int(1_000_000 * share)}
    parts |= {"runtime": 500_000, "dot_products": 100_000, "matrix_products": 0}
    changes: dict[str, Any] = {"instructions": {"cortex-a72": parts}, "engine": engine, "latency": {}, "memory": None}
    return {**result(variants=[variant("x.tflite", **changes)], reference=None), "machine": EMULATED}


def test_instructions_may_hardly_grow() -> None:
    assert not list_regressions(check(counted(1.01), counted(), Limits()))
    assert {f.what for f in list_regressions(check(counted(1.05), counted(), Limits()))} == {
        "instructions on cortex-a72, model",
        "instructions on cortex-a72, total",
    }
    assert not list_regressions(check(counted(1.05), counted(), Limits(instructions=0.1)))
    with pytest.raises(IncomparableError, match=r"counted with litert 2\.4, the baseline's with litert 2\.3"):
        check(counted(engine="litert 2.4"), counted(), Limits())
    with pytest.raises(IncomparableError, match="counted with packages"):
        check({**counted(), "machine": {**EMULATED, "packages": {"numpy": "2.5"}}}, counted(), Limits())
    without = counted()
    without["variants"][0]["instructions"] = None
    with pytest.raises(IncomparableError, match="instructions on cortex-a72 were not counted"):
        check(without, counted(), Limits())


def test_instructions_of_c_are_compared_for_one_major_version_of_its_compiler() -> None:
    gcc = "c aarch64-linux-gnu-gcc "
    grown, baseline = counted(1.05, engine=gcc + "12.3.0"), counted(engine=gcc + "12.2.0")
    assert len(list_regressions(check(grown, baseline, Limits()))) == 2
    grown["variants"][0]["engine"] = gcc + "13.2.0"
    assert not list_regressions(check(grown, baseline, Limits()))
    (skipped,) = [line for line in list_skipped(grown, baseline, Limits()) if "instructions" in line]
    assert f"compiled by {gcc}13.2.0, in the baseline by {gcc}12.2.0; install that one" in skipped
    with pytest.raises(IncomparableError, match=r"counted with c aarch64-linux-gnu-gcc 12\.2\.0, .* with litert 2\.3"):
        check(baseline, counted(), Limits())


def test_emulated_times_are_refused() -> None:
    emulated = elsewhere(result(), emulated="qemu")
    for pair in ((emulated, result()), (result(), emulated)):
        with pytest.raises(IncomparableError, match="under emulation"):
            check(*pair, Limits(timings="anywhere"))
    assert not list_regressions(check(emulated, result(), Limits(timings="off")))


def test_times_that_went_missing_cannot_be_compared() -> None:
    with pytest.raises(IncomparableError, match="no such times"):
        check(changed(("latency",), {}), result(), Limits())


def test_the_same_artefact_again_raises_no_alarm(artefacts: Artefacts) -> None:
    """Ten measurements, which are equal but for their times."""
    audio = Clips("noise", clips(40, 40), artefacts.causal.labels, tuple(i % 10 for i in range(40)), "digest")
    models = [("int8", artefacts.folder / "step-int8.tflite")]
    settings = Settings(lengths=(1,), rounds=1, burst=1, warm_up=1)
    first, *others = (bench(Benchmark(models, audio, settings), [LocalTarget()])[0] for _ in range(11))
    # Times are chance here, and stand for nothing in a test.
    findings = [finding for other in others for finding in check(other, first, Limits(timings="off"))]
    assert {finding.verdict for finding in findings} == {"holds"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"complete": False}, "the result is incomplete"),
        ({"data": {"name": "d", "clips": CLIPS, "sha256": "a", "labels": ["x"]}}, "other labels"),
        ({"data": {"name": "e", "clips": CLIPS, "sha256": "b"}}, "measure on the same ones"),
        ({"variants": [variant("fuse")]}, r"lacks fuse\.tflite"),
        ({"reference": "other"}, "reference is other, the baseline's fuse"),
        ({"settings": {"threads": 2}}, "measured with 2 threads, the baseline with 1"),
        ({"variants": [variant("fuse", 4.0, graph=None), variant("fuse.tflite", graph=None)]}, "were not counted"),
    ],
)
def test_what_cannot_be_compared(
    changes: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(IncomparableError, match=message):
        check(result(**changes), result(), Limits())


def test_accuracy_that_went_missing_cannot_be_compared() -> None:
    with pytest.raises(IncomparableError, match="accuracy at 1 s is missing"):
        check(changed(("accuracy",), None), result(), Limits())


def test_limits_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "edge-asc.toml"
    path.write_text("[gate]\nsize = 0.5\n")
    assert Limits.read(path) == Limits(size=0.5)
    assert not list_regressions(check(changed(("bytes",), 290_000), result(), Limits.read(path)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gate", "expected TOML"),
        ("[gate]\nspeed = 1", "unknown limit 'speed'"),
        ("gate = 3", "expected a table"),
        ("[gate]\nsize = -1", "expected a share above 0 and of at most 0.5, such as 0.02 for 2 %"),
        ("[gate]\nsize = 2", "size is 2; expected a share"),
        ("[gate]\nsize = nan", "size is nan; expected a share"),
        ("[gate]\nlatency = inf", "latency is inf; expected a share above 0 and of at most 1"),
        ("[gate]\nsize = true", "expected a share"),
        ("[Gate]\nsize = 0.1", "unknown table or key 'Gate'"),
        ("size = 0.1", "unknown table or key 'size'"),
        ("", "has no table"),
        ("[gate]\n[gate.sub]", "unknown limit 'sub'"),
        ("a = " + "[" * 10_000, "expected TOML"),
        ('[gate]\ntimings = "sometimes"', "expected same-machine, anywhere, off"),
        ("[gate]\nfalse_alarms = 1", "of at most 0.5"),
    ],
)
def test_bad_limits(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "edge-asc.toml"
    path.write_text(text)
    with pytest.raises(EdgeAscError, match=message):
        Limits.read(path)


def test_what_one_side_alone_has_is_reported_and_fails_where_it_hides_a_regression() -> None:
    more, less = result(), result(variants=result()["variants"][:1])
    assert ("fuse.tflite", "the whole model") in {(s.variant, s.what) for s in compare(more, less, Limits()).skips}
    with pytest.raises(IncomparableError, match=r"lacks fuse\.tflite.*--allow-missing"):
        compare(less, more, Limits())
    allowed = compare(less, more, Limits(), allow_missing=True)
    assert "fuse.tflite, the whole model: the result lacks it" in map(str, allowed.skips)
    assert {finding.variant for finding in allowed.findings} == {"fuse"}
    with pytest.raises(IncomparableError, match="nothing was compared"):
        compare(result(variants=[]), more, Limits(), allow_missing=True)


def test_quantities_that_the_baseline_lacks_are_reported() -> None:
    bare = changed(("memory",), None)
    bare["variants"][1].update(latency={}, macs={}, graph=None)
    bare["variants"][1]["accuracy"]["lengths"].pop()
    skipped = {skip.what for skip in compare(result(), bare, Limits()).skips if skip.variant == "fuse.tflite"}
    assert skipped == {
        "accuracy at 5 s", "median of a decision, step", "multiply-accumulates of step", "operations", "memory",
        "arena of TensorFlow Lite Micro",
    }  # fmt: skip
    blind = changed(("accuracy",), None)
    assert "fuse.tflite, its decisions: the baseline has neither accuracy nor agreement" in map(
        str, compare(blind, blind, Limits()).skips
    )


def test_too_few_clips_for_any_regression_are_not_said_to_hold() -> None:
    few = result()
    for row in [row for each in few["variants"] for row in each["accuracy"]["lengths"]]:
        row["right_clips"] = "1" * 5
    comparison = compare(few, few, Limits())
    assert not any(finding.what.startswith("accuracy") for finding in comparison.findings)
    assert "5 right clips of 5 are too few for the test" in str(next(s for s in comparison.skips if "acc" in s.what))


def test_what_is_not_compared_is_in_every_document() -> None:
    comparison = compare(result(), result(), Limits(timings="off"))
    suite = ElementTree.fromstring(to_junit(comparison))
    (skipped,) = [case for case in suite if case.find("skipped") is not None]
    assert (skipped.get("name"), suite.get("skipped")) == ("times and memory", "1")
    assert skipped[0].get("message") == "timings is off"
    assert suite.get("tests") == str(len(suite))
    assert "- times and memory: timings is off" in to_markdown(comparison)
    assert comparison.to_json()["skipped"] == [{"variant": "", "what": "times and memory", "why": "timings is off"}]


def test_figures_that_are_no_numbers_never_hold() -> None:
    """A result is refused when it is read; where it is made in memory, the comparison fails."""
    fine, nan = typed(result()), float("nan")
    variant = fine.variants[1]
    assert variant.accuracy is not None
    steps = msgspec.structs.replace(variant.accuracy.all_steps, agreement=nan)
    broken = msgspec.structs.replace(variant, accuracy=msgspec.structs.replace(variant.accuracy, all_steps=steps))
    value = msgspec.structs.replace(fine, variants=(fine.variants[0], broken))
    for pair in ((value, fine), (fine, value)):
        assert [finding.what for finding in gate.check(*pair, Limits()).regressions] == ["agreement with the reference"]


@pytest.mark.parametrize("name", ["a\x00b\x1b[31m", "<a & 'b'>", "\ud800", "\uffff\ufdd0", "\u202eabc"])
def test_junit_is_xml_whatever_the_names_are(name: str) -> None:
    comparison = Comparison((Finding(name, name, 1, 2, "regression", name),), (Skip(name, name, name),))
    for text in (to_junit(comparison), error_to_junit(name)):
        assert ElementTree.fromstring(text.encode()).tag == "testsuite"


def test_benchmark_action_reads_medians_and_sizes() -> None:
    entries = [entry.to_json() for entry in to_benchmark_action(typed(result()))]
    assert {"name": "fuse.tflite: step, p50", "unit": "ms", "value": 0.2, "range": "± 0.01"} in entries
    assert {"name": "fuse.tflite: size", "unit": "bytes", "value": 200_000} in entries
    assert {"name": "fuse.tflite: arena", "unit": "bytes", "value": 100_000} in entries
    emulated = [entry.to_json() for entry in to_benchmark_action(typed({**result(), "machine": EMULATED}))]
    assert {entry["unit"] for entry in emulated} == {"bytes"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "export"}, "of kind 'export'; expected 'bench'"),
        ({"schema_version": 3}, "schema version 3; this edge-asc reads 2: upgrade"),
        ({"schema_version": 1}, "schema version 1; this edge-asc reads 2: measure again"),
        ({"variants": {}}, "variants: got object, expected array; measure again"),
        ({"variants": [1]}, r"variants\[0\]: got int, expected object; measure again"),
        ({"data": {}}, "data: lacks the field name; measure again"),
        ({"speed": 1}, "result: has the unknown field speed; measure again"),
        (
            {"variants": [variant("x", latency={"step": {"unstable": []}})]},
            r"variants\[0\] \(x\)\.latency\.step: lacks the field front_end; measure again",
        ),
        (
            {"variants": [{**variant("x"), "bytes": "1"}]},
            r"variants\[0\] \(x\)\.bytes: got str, expected int; measure again",
        ),
        ({"variants": [variant("x", bytes=0)]}, r"variants\[0\] \(x\)\.bytes: got 0, expected int >= 1"),
        ({"variants": [variant("x"), variant("x")]}, "variants: 'x' is there twice"),
        ({"variants": [variant("x", latency={"5": latency(1.0)})]}, "got '5', expected the forms of a causal model"),
        ({"\ud800": 1}, "name of a field holds half of a surrogate pair, which is no character; measure again"),
        ({"complete": False}, "complete: contradicts incomplete"),
        ({"settings": {"threads": 0}}, r"settings\.threads: got 0, expected int >= 1"),
    ],
)
def test_a_result_is_checked_when_it_is_read(
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(result()))
    assert read(path).reference == "fuse"
    path.write_text(json.dumps({**result(), **change}))
    with pytest.raises(EdgeAscError, match=message):
        read(path)


FIGURES: list[tuple[tuple[str | int, ...], Any, str]] = [
    (("accuracy", "all_steps", "agreement"), float("nan"), "got NaN, expected a finite number"),
    (("accuracy", "all_steps", "agreement"), 1.01, r"agreement: got 1.01, expected float <= 1"),
    (("accuracy", "lengths", 0, "accuracy"), 0.3, r"lengths \(1 s\)\.accuracy: got 0.3, expected 0.*of 300 are right"),
    (("accuracy", "lengths", 0, "right_clips"), "1" * CLIPS, "number of right ones: got 300"),
    (("accuracy", "lengths", 0, "right_clips"), "1", "number of clips: got 1, expected 300"),
    (("accuracy", "lengths", 0, "right_clips"), "12", "expected str matching"),
    (("accuracy", "lengths", 1, "seconds"), 1, "'1' is there twice"),
    (("accuracy", "clips"), 7, "got 300, expected at most the 7 clips"),
    (("accuracy", "labels"), ["x", "y"], r"recall: got or lacks 'y'"),
    (("accuracy", "all_steps", "recall", "x"), 0.2, "recall.x: got 0.2, expected 300 of 600"),
    (("accuracy", "all_steps", "count_by_class", "x"), 7, "sum: got 7, expected 600"),
    (("accuracy", "closeness"), closeness(kl=-0.1), "kl: got -0.1, expected at least 0"),
    (("accuracy", "closeness"), closeness(kl=float("nan")), "kl: got nan|finite"),
    (("accuracy", "closeness"), closeness(clear=401), r"margins \(0.5\): got 401 equal decisions of 400"),
    (("accuracy", "closeness"), {**closeness(), "agreed": 7}, "sum of agreed: got 594, expected 7"),
    (("accuracy", "closeness"), {**closeness(), "last_agreed": 601}, "last_agreed: got 601"),
    (("accuracy", "closeness"), {**closeness(), "margins": []}, "sum of steps: got 0, expected 600"),
    (("latency", "step", "rounds_ms"), [], "rounds_ms: expected array of length >= 1"),
    (("latency", "step", "rounds_ms", 0), 99.0, "rounds_ms: got 99, expected 0.1 to 0.3"),
    (("latency", "step", "rounds_ms"), [0.2] * 3, "have 3, 25 rounds, expected as many for each"),
    (("latency", "step", "total", "p90"), 99.0, "p50, p90, p99, maximum: got 99 before"),
    (("latency", "step", "total", "mean"), 99.0, "total.mean: got 99, expected"),
    (("latency", "step", "total", "minimum"), -1.0, "minimum: got -1"),
    (("latency", "step", "total", "count"), 7, "count: got 500, expected 7"),
    (("latency", "step", "total", "percentiles", "x"), 1.0, "percentiles: got '50, x'"),
    (("latency", "step", "real_time_factor"), 9.0, "real_time_factor: got 9.0, expected 0.00078"),
    (("memory", "peak"), -1, "peak: got -1, expected int >= 1"),
    (("graph", "partitions"), -1, "partitions: got -1, expected int >= 0"),
    (("macs", "step"), 2**70, "expected an integer of at most 64 bits"),
    (
        ("agreement",),
        {"steps": 0, "share": 1.0, "mean_error": 0.0, "max_error": 0.0},
        "steps: got 0, expected int >= 1",
    ),
    (("loss",), {"streaming": {"1": 900.0}, "export": None, "quantisation": None}, "got 900.0, expected points"),
]


@pytest.mark.parametrize(
    ("path", "value", "message"), FIGURES, ids=[f"{path[-1]}-{value!s:.12}" for path, value, _ in FIGURES]
)
@pytest.mark.parametrize("part", ["result", "baseline"])
def test_figures_that_cannot_be_are_bad_input(
    tmp_path: Path, path: tuple[str | int, ...], value: Any, message: str, part: str
) -> None:
    files = {"result": result(), "baseline": result(), part: changed(path, value)}
    for name, document in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    arguments = ["check", str(tmp_path / "result.json"), "--baseline", str(tmp_path / "baseline.json")]
    with pytest.raises(EdgeAscError, match=message):
        cli.main(arguments, standalone_mode=False)


BASELINES = sorted((Path(__file__).parents[2] / "benchmarks/baselines").rglob("*.json"))


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_committed_baselines_are_read_unchanged_and_hold_against_themselves(path: Path) -> None:
    baseline = read(path)
    assert json.loads(json.dumps(baseline.to_json())) == json.loads(path.read_text())
    findings = gate.check(baseline, baseline, Limits()).findings
    assert {finding.verdict for finding in findings} == {"holds"}
    assert len(findings) == FINDINGS[f"{path.parent.name}/{path.stem}"]


# Counted when the baselines were renewed: a change of the gate that compares less is seen here.
FINDINGS = {
    "baselines/arm": 213,
    "generated/bcresnet": 39,
    "generated/fuse": 39,
    "generated/resnet": 39,
    "recordings/bcresnet": 64,
    "recordings/fuse": 64,
    "recordings/resnet": 64,
}


def worsened(value: dict[str, Any]) -> dict[str, Any]:
    """A baseline with larger files, slower rounds and fewer right clips, more so from one variant to the next."""
    for i, mine in enumerate(value["variants"]):
        mine["bytes"] = int(mine["bytes"] * (1 + 0.01 * i))
        if mine["memory"]:
            mine["memory"]["peak"] = int(mine["memory"]["peak"] * (1 + 0.1 * i))
        for times in mine["latency"].values():
            times["rounds_ms"] = [ms * (1 + 0.2 * i) for ms in times["rounds_ms"]]
        for counts in (mine["instructions"] or {}).values():
            counts.update({part: int(count * (1 + 0.01 * i)) for part, count in counts.items()})
        for row in mine["accuracy"]["lengths"] if mine["accuracy"] else ():
            row["right_clips"] = row["right_clips"].replace("1", "0", 5 * i)
    return value


@pytest.mark.parametrize("path", BASELINES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_findings_on_worsened_baselines_are_those_recorded(path: Path) -> None:
    findings = gate.check(typed(worsened(json.loads(path.read_text()))), read(path), Limits()).findings
    listed = "\n".join(sorted(json.dumps(asdict(finding), sort_keys=True) for finding in findings))
    digest = hashlib.sha256(listed.encode()).hexdigest()[:16]
    expected = WORSENED[f"{path.parent.name}/{path.stem}"]
    assert (sum(finding.verdict != "holds" for finding in findings), digest) == expected


WORSENED = {
    "baselines/arm": (126, "68bd6c8aa751fe55"),
    "generated/bcresnet": (7, "bf25b1f6212f5c03"),
    "generated/fuse": (7, "6cf45dd777fa2319"),
    "generated/resnet": (7, "c8905414425a5e1f"),
    "recordings/bcresnet": (17, "6c90693aeb61e98d"),
    "recordings/fuse": (17, "3ea9bbd6139c7b2a"),
    "recordings/resnet": (17, "b8258f56b88e4b6b"),
}


def test_no_result_at_all(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="cannot be read"):
        read(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(EdgeAscError, match="not a result"):
        read(tmp_path / "bad.json")


@pytest.mark.slow
def test_a_damaged_layer_is_caught_on_real_recordings(scenes10: Path, tmp_path: Path) -> None:
    """Noise on one layer's weights; the same artefact again raises no alarm.

    Damage of 3 points of all decisions is caught by the agreement, damage of 5 points by the accuracy, too.
    """
    fuse = zoo_path("fuse")
    assert fuse is not None
    checkpoint = Checkpoint.load(fuse)
    dataset = Dataset.open(scenes10)
    features = FeatureCache(tmp_path / "cache", FrontEnd()).features(dataset, dataset.clips)
    targets = tuple(dataset.labels.index(clip.label) for clip in dataset.clips)
    audio = Clips("scenes10", list(features), dataset.labels, targets, "all")
    path = tmp_path / "fuse-int8.tflite"

    def measured(noise: float, reference: bool = True) -> Result:
        damaged: Any = copy.deepcopy(checkpoint.model)
        weight = damaged.backbone.body[4].project.conv.weight
        with torch.no_grad():
            weight += noise * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        plan = replace(Plan.from_json(checkpoint.quantisation), model=digest(damaged))
        (artefact,) = write(Draft(replace(checkpoint, model=damaged), "", plan), "tflite")
        path.write_bytes(artefact.data)
        models = [("fuse", fuse), ("int8", path)]
        settings = Settings(lengths=(1, 2, 3, 4, 5), rounds=1, warm_up=1, burst=1)
        return bench(Benchmark(models if reference else models[1:], audio, settings), [LocalTarget()])[0]

    def share(value: Result) -> float:
        accuracy = value.variants[-1].accuracy
        assert accuracy is not None
        return accuracy.all_steps.accuracy

    whole, again = measured(0.0), measured(0.0)
    assert not list_regressions(check(again, whole, Limits(timings="off")))

    @cache
    def loss(noise: float) -> float:
        return share(whole) - share(measured(noise, reference=False))

    def found(points: float) -> set[str]:
        damaged = measured(next(noise for noise in (1.0, 1.5, 2.0, 3.0, 4.0, 6.0) if loss(noise) > points))
        return {finding.what for finding in list_regressions(check(damaged, whole, Limits(timings="off")))}

    assert "agreement with the reference" in found(0.03)
    severe = found(0.05)
    assert "agreement with the reference" in severe
    assert any(what.startswith("accuracy at") for what in severe)
