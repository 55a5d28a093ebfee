"""Verdicts and cards: what is said follows from what was measured, and nothing more is said."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from edge_asc_bench.cards import make_cards
from edge_asc_bench.contest import find_contest
from edge_asc_bench.kinds import Classification, Export
from edge_asc_bench.result import Result
from edge_asc_bench.section import make_section
from edge_asc_bench.summary import tabulate
from edge_asc_bench.verdict import judge_benchmark, judge_export, judge_recording
from edge_asc_bench.wording import compare, format_bytes, format_interval, format_number, format_share, join
from reports import make_classification, make_export


def times(median: float) -> dict[str, Any]:
    percentiles = dict.fromkeys(("0", "1", "5", "10", "25", "50", "75", "90", "95", "99", "100"), median)
    values = dict.fromkeys(("p50", "p90", "p99", "maximum", "minimum", "mean"), median)
    total = {"count": 500, **values, "deviation": 0.0, "percentiles": percentiles}
    latency = {"front_end": None, "model": total, "total": total, "rounds_ms": [median], "period_s": 0.256}
    factor = median / 256
    return latency | {"real_time_factor": factor, "load_ms": 1, "cold_start_ms": 2, "sustained": None, "unstable": []}


def accuracy(right: int, agreement: float | None) -> dict[str, Any]:
    clips = 100
    step = {"decision": "last", "count": clips, "right": right, "right_last": right, "right_mean": right}
    step |= {"accuracy": right / clips, "agreement": agreement, "recall": {}, "macro_recall": 0.5}
    step |= {"count_by_class": {}, "right_by_class": {}}
    row = {**step, "seconds": 5, "low": 0.8, "high": 0.9, "right_clips": "1" * right + "0" * (clips - right)}
    value = {"schema_version": 1, "model": "m", "engine": "e", "clips": clips, "labels": ["a"], "decision": "last"}
    value |= {"gain": 0.0, "lengths": [row], "all_steps": {**step, "count": 6061}, "reference": "fuse"}
    return value | {"logit_error": None, "notes": []}


def variant(name: str, engine: str, scheme: str, size: int, **measured: Any) -> dict[str, Any]:
    value = {"name": name, "file": name, "sha256": "0", "checkpoint_sha256": "1", "bytes": size, "engine": engine}
    value |= {"form": "causal", "scheme": scheme, "parameters": 1, "macs": {}, "state_bytes": 1, "graph": None}
    value |= {"latency": {}, "memory": None, "accuracy": None, "agreement": None, "loss": None, "instructions": None}
    return value | measured


def count(total: int) -> dict[str, Any]:
    parts = {"front_end": 1_000_000, "model": total - 1_000_000, "total": total}
    return {"cortex-a72": {**parts, "runtime": 1, "dot_products": 1, "matrix_products": 0}}


def reference(**measured: Any) -> dict[str, Any]:
    return variant("fuse", "torch 2.9", "none", 600_000, **measured)


def int8(**measured: Any) -> dict[str, Any]:
    return variant("fuse-int8.tflite", "litert 2.1", "int8", 200_000, **measured)


def make_result(*variants: dict[str, Any], **changes: Any) -> Result:
    machine = {"architecture": "x86_64", "cpu": "EPYC", "features": [], "cores": 2, "board": None}
    machine |= {"memory_bytes": None, "system": None, "python": None, "governor": None, "emulated": None}
    value = {
        "kind": "bench",
        "schema_version": 2,
        "complete": True,
        "incomplete": None,
        "made": {"edge_asc": "1", "at": "", "seconds": 1, "target": "local", "command": ""},
        "machine": {**machine, "packages": {}, "missing": [], **changes.pop("machine", {})},
        "conditions": [],
        "settings": {"threads": 1},
        "data": {"name": "scenes", "clips": 100, "sha256": "2", "labels": []},
        "reference": "fuse",
        "whole_clip": None,
        "variants": list(variants),
    }
    return msgspec.convert(value | changes, Result)


def judge(result: Result) -> str:
    verdict = judge_benchmark(result)
    return f"{verdict.headline} {verdict.more}".strip()


AGREEMENT = {"steps": 6061, "share": 0.997, "mean_error": 0.1, "max_error": 1.0}


def test_all_that_was_measured_is_said() -> None:
    fast, slow = {"step": times(0.1)}, {"step": times(4.0)}
    result = make_result(
        reference(latency=slow, accuracy=accuracy(86, None)), int8(latency=fast, accuracy=accuracy(85, 0.9973))
    )
    assert judge(result) == (
        "fuse-int8.tflite decides as the float model does in 99.7 % of 6,061 decisions, is 3.0 times smaller and "
        "40 times faster than PyTorch on EPYC. After 5 s of audio it is right on 85.0 % of 100 clips (95 % interval "
        "80.0 to 90.0 %); the float model on 86.0 %."
    )
    contest = find_contest(result)
    assert contest is not None
    cards = {card.title: (card.figure, card.lines) for card in make_cards(contest, result)}
    assert list(cards) == ["Accuracy", "Agreement", "Speed", "Size"]
    assert cards["Accuracy"][1][1] == "1 clip fewer than fuse (86.0 %)"
    assert cards["Agreement"][1] == ["16 decisions of 6,061 differ from fuse"]
    assert cards["Speed"] == (
        "0.100 ms",
        ["40 times faster than fuse in PyTorch (4.00 ms)", "busy for 0.039 % of the audio's time, on 1 thread"],
    )
    assert cards["Size"] == (
        "200 KB",
        ["3.0 times smaller than fuse in PyTorch (600 KB)", "1 parameter; 0.00100 KB of state"],
    )


def test_the_arena_stands_beside_the_size() -> None:
    graph = {"operations": {}, "arithmetic": {}, "float_operations": {}, "partitions": 1, "outside": 0}
    result = make_result(reference(), int8(agreement=AGREEMENT, graph={**graph, "arena": 97_504}))
    contest = find_contest(result)
    assert contest is not None
    (size,) = (card for card in make_cards(contest, result) if card.title == "Size")
    assert size.lines[-1] == "98 KB of arena in TensorFlow Lite Micro"
    section = make_section(result, charts=False)
    place = [column.title for column in section.columns].index("arena KB")
    assert [row.cells[place][0] for row in section.rows] == ["", "98"]
    console = Console(file=io.StringIO(), width=200)
    console.print(tabulate(result))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert next("98" in line for line in lines if "fuse-int8.tflite" in line)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (
            make_result(reference(), int8(agreement=AGREEMENT)),
            "fuse-int8.tflite decides as the float model does in 99.7 % of 6,061 decisions and is 3.0 times smaller.",
        ),
        (
            make_result(reference(), int8(latency={"step": times(0.1)})),
            "fuse-int8.tflite is 3.0 times smaller than fuse and takes 0.100 ms for a decision on EPYC.",
        ),
        (
            make_result(reference(latency={"step": times(0.1)}), int8(latency={"step": times(0.5)}, bytes=900_000)),
            "fuse-int8.tflite is 1.5 times larger than fuse and 5.0 times slower than PyTorch on EPYC.",
        ),
        (make_result(reference(latency={"step": times(4.0)})), "fuse takes 4.00 ms for a decision on EPYC."),
        (
            make_result(
                reference(latency={"step": times(4.0)}),
                int8(agreement=AGREEMENT, latency={"step": times(0.1)}),
                machine={"emulated": "qemu"},
            ),
            "fuse-int8.tflite decides as the float model does in 99.7 % of 6,061 decisions and is 3.0 times smaller. "
            "The run was emulated (qemu), so times and memory are left out.",
        ),
        (
            make_result(
                variant("a.tflite", "litert 2.1", "none", 600_000, instructions=count(3_000_000)),
                int8(instructions=count(2_000_000)),
                variant("small.tflite", "litert 2.1", "int8", 100_000, instructions=count(4_000_000)),
                reference=None,
            ),
            "fuse-int8.tflite is 3.0 times smaller than a.tflite and needs 1.5 times fewer instructions than a.tflite "
            "on cortex-a72.",
        ),
        (
            make_result(reference(), int8(failed="it crashed"), complete=False, incomplete="a model failed"),
            "Incomplete: fuse was opened, and nothing else of it was measured. The run ended early: a model failed.",
        ),
        (
            make_result(int8(failed="it crashed"), complete=False, incomplete="a model failed", reference=None),
            "Incomplete: Nothing was measured. The run ended early: a model failed.",
        ),
    ],
)
def test_nothing_is_said_of_what_was_not_measured(result: Result, expected: str) -> None:
    assert judge(result) == expected


def test_the_fastest_quantised_model_is_compared_with_the_float_one_of_its_engine() -> None:
    float_form = variant("fuse.tflite", "litert 2.1", "none", 500_000, latency={"step": times(0.2)})
    slower = variant("fuse-int8.onnx", "onnxruntime 1.2", "int8", 100_000, latency={"step": times(0.3)})
    contest = find_contest(make_result(reference(), float_form, slower, int8(latency={"step": times(0.1)})))
    assert contest is not None
    assert contest.float_form is not None
    assert contest.reference is not None
    names = contest.subject.name, contest.float_form.name, contest.reference.name
    assert names == ("fuse-int8.tflite", "fuse.tflite", "fuse")


def test_models_on_one_recording_are_compared_at_equal_times() -> None:
    def read(*labels: str, seconds: float = 0.5) -> Classification:
        document = make_classification(Path("place/a.wav"), *labels, seconds=seconds)
        return msgspec.convert(document, Classification)

    first = read("cat", "cat", "rain", "rain")
    assert judge_recording([first]).headline == "a.wav: rain at the end (80.0 %), after 2.0 s."
    assert judge_recording([first, read("cat", "rain", "rain", "dog")]).headline == (
        "a.wav: rain and dog at the end; 2 models decide alike in 2 of 4 decisions."
    )
    assert "alike in 2 of 2 decisions" in judge_recording([first, read("cat", "rain", seconds=1.0)]).headline
    assert judge_recording([read()]).headline == "a.wav: too short for a decision."


def test_artefacts_are_judged_by_the_worst() -> None:
    def judge(**shares: float) -> str:
        return judge_export(msgspec.convert(make_export(shares), Export)).headline

    assert judge(a=0.98) == "a decides as float PyTorch does in 98.0 % of 100 decisions."
    assert (
        judge(a=0.98, b=1.0) == "Each of 2 artefacts decides as float PyTorch does in 98.0 % of 100 decisions or more."
    )
    assert judge(a=1.0, b=1.0) == "All 2 artefacts decide as float PyTorch does in all of 100 decisions."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (format_share(0.9973), "99.7 %"),
        (format_share(0.99996), "99.996 %"),
        (format_share(1.0), "100 %"),
        (format_share(0.00002), "0.002 %"),
        (format_interval(0.951, 0.9871), "95.1 to 98.7 %"),
        (format_number(12_345.6), "12,346"),
        (format_number(0.012345), "0.0123"),
        (format_number(0.0), "0"),
        (format_bytes(216_000), "216 KB"),
        (format_bytes(1_234_000), "1.23 MB"),
        (compare(1.04, 1.0, "less", "more", "as much"), "as much"),
        (compare(1.0, 28.4, "less", "more", "as much"), "28 times less"),
        (compare(3.0, 2.0, "less", "more", "as much"), "1.5 times more"),
        (join(["a"]), "a"),
        (join(["a", "b", "c"]), "a, b and c"),
    ],
)
def test_figures_in_words(text: str, expected: str) -> None:
    assert text == expected
