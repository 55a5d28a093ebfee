import copy
import json
import re
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from artefacts import Artefacts, clips
from edge_asc.errors import EdgeAscError
from edge_asc_bench import chart, drawing
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.kinds import Documents
from edge_asc_bench.machine import Machine
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.page import load, to_html, to_markdown
from edge_asc_bench.pictures import group_windows
from edge_asc_bench.result import Variant
from edge_asc_bench.targets.local import LocalTarget


@pytest.fixture(scope="module")
def result(artefacts: Artefacts) -> dict[str, Any]:
    """Of a labelled data set: a reference, steps in float and int8, and windows."""
    models = [("torch", artefacts.steps["torch"]), ("float.tflite", artefacts.steps["tflite"])]
    models += [(name, artefacts.folder / name) for name in ("step-int8.tflite", "windows.tflite")]
    audio = Clips("noise", clips(3, 80), artefacts.causal.labels, (0, 1, 2), "digest")
    settings = Settings((1, 2), rounds=1, duration=0.01, warm_up=1, lead=1, burst=3, window_burst=2)
    benchmark = Benchmark(models, audio, settings, "edge-asc bench torch --output x.json")
    (measured,) = bench(benchmark, [LocalTarget()])
    document: dict[str, Any] = json.loads(json.dumps(measured.to_json()))
    return document


def loaded(tmp_path: Path, *results: Any) -> Documents:
    paths = []
    for i, value in enumerate(results):
        paths.append(tmp_path / f"{i}.json")
        paths[-1].write_text(json.dumps(value))
    return load(paths)


def test_windows_in_files_of_their_own_are_a_line_for_each_model(result: dict[str, Any], tmp_path: Path) -> None:
    (bench,) = loaded(tmp_path, result).benches
    measured = bench.variants[3]

    def variant(name: str, scheme: str, form: str, p50: float) -> Variant:
        latency = measured.latency["1"]
        latency = msgspec.structs.replace(latency, total=replace(latency.total, p50=p50))
        facts = {"name": name, "engine": "ort", "scheme": scheme, "checkpoint_sha256": ""}
        return msgspec.structs.replace(measured, **facts, latency={form: latency})

    files = [variant("a1", "none", "1", 3.0), variant("a2", "none", "2", 6.0)]
    assert group_windows(files) == {"ort": {1: 3.0, 2: 6.0}}
    files += [variant("b1", "int8", "1", 2.0), variant("b2", "int8", "2", 4.0)]
    assert group_windows(files) == {"a1": {1: 3.0, 2: 6.0}, "b1": {1: 2.0, 2: 4.0}}


def test_the_page_shows_what_was_measured(result: dict[str, Any], tmp_path: Path) -> None:
    html = to_html(loaded(tmp_path, result))
    for variant in result["variants"]:
        assert variant["name"] in html
        for latency in variant["latency"].values():
            assert f"{latency['total']['p50']:.3g}" in html
            assert f"{latency['total']['p99']:.3g}" in html
    smallest = min(variant["bytes"] for variant in result["variants"])
    assert f"<mark>{smallest / 1000:.0f}</mark>" in html
    titles = re.findall("<h3>(.*)</h3>", html)
    assert titles == [
        "Accuracy against time since reset",
        "Time of a decision",
        "Cost against length",
        "Accuracy against cost",
        "Memory",
        "Sustained",
        "What each step to a device costs",
        "Accuracy by length",
        "Cost that does not depend on the machine",
        "What was unstable",
        "The machine",
        "How to measure this again",
    ]
    assert "edge-asc bench torch --output x.json" in html
    assert "few for percentiles" in html
    assert "Recall of each class" in html
    links = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\'\s)>]+)', html)
    assert all(link.startswith("#") for link in links), "the page needs nothing from elsewhere"


def test_names_are_text_in_the_page(result: dict[str, Any], tmp_path: Path) -> None:
    name, hostile = result["variants"][0]["name"], "<script>alert(1)</script>"
    text = json.dumps(result).replace(json.dumps(name), json.dumps(hostile))
    html = to_html(loaded(tmp_path, json.loads(text)))
    assert hostile not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_a_model_without_a_length_leaves_its_place_empty(result: dict[str, Any], tmp_path: Path) -> None:
    shorter = copy.deepcopy(result)
    del shorter["variants"][3]["accuracy"]["lengths"][1]
    html = to_html(loaded(tmp_path, shorter))
    table = html[html.index("<h3>Accuracy by length</h3>") :]
    row = re.search(r"<tr><td>windows.tflite</td>(.*?)</tr>", table, re.DOTALL)
    assert row is not None
    cells = re.findall("<td>(.*?)</td>", row[1])
    assert len(cells) == 5
    assert cells[1] == ""
    macro = shorter["variants"][3]["accuracy"]["lengths"][0]["macro_recall"]
    assert cells[2] == f"{100 * macro:.1f}"


def test_instructions_and_conformance_are_shown(result: dict[str, Any], tmp_path: Path) -> None:
    def parts(total: float) -> dict[str, int]:
        parts = {"front_end": 900_000, "model": int(total) - 900_000, "total": int(total)}
        return {**parts, "runtime": 1_000_000, "dot_products": 200_000, "matrix_products": 0}

    counts = copy.deepcopy(result)
    counts["variants"][1]["instructions"] = {"cortex-a72": parts(3e6), "cortex-a76": parts(3e6)}
    counts["variants"][2]["instructions"] = {"cortex-a72": parts(3.5e6), "cortex-a76": parts(2e6)}
    row = {"artefact": "a", "engine": "litert", "processor": "cortex-a72", "equal": True, "max_error": 0.0}
    row |= {"agreement": 1.0, "tolerance": 0.0, "holds": True}
    other = {**row, "processor": "cortex-a76", "equal": False, "max_error": 0.25, "holds": False}
    conformance = {
        "kind": "conformance",
        "schema_version": 1,
        "here": {"machine": "x86_64", "engines": ["litert"]},
        "front_end": {"tolerance": 1e-3, "max_error": {"cortex-a72": 1e-6}},
        "holds": False,
        "comparisons": [row, other],
    }
    html = to_html(loaded(tmp_path, counts, conformance))
    assert "step-int8.tflite takes more than float.tflite on cortex-a72" in html
    assert "on cortex-a76" not in html[html.index("not always cheaper") : html.index("not always cheaper") + 100]
    assert "bit-equal" in html
    assert "0.25, 1.000 <mark>too much</mark>" in html
    text = to_markdown(loaded(tmp_path, counts, conformance))
    assert "| step-int8.tflite | cortex-a76 | 0.90 | 1.10 | 2.00 | 1.00 |" in text
    assert "| a | litert | bit-equal | 0.25, 1.000 **too much** | 0.0 |" in text


def test_several_machines_stand_side_by_side(result: dict[str, Any], tmp_path: Path) -> None:
    other = {**result, "machine": {**result["machine"], "board": "Raspberry Pi 5"}}
    html = to_html(loaded(tmp_path, result, other))
    assert "The same models on several machines" in html
    assert "Raspberry Pi 5 (local)" in html
    assert "several machines" not in to_html(loaded(tmp_path, result))


def test_temperature_and_frequency_are_drawn_where_they_are_known(result: dict[str, Any], tmp_path: Path) -> None:
    warm = copy.deepcopy(result)
    for i, sample in enumerate(warm["conditions"]):
        sample.update(temperature_c=50.0 + i, frequency_mhz=[1500.0, 1800.0], throttling=["throttled"])
    html = to_html(loaded(tmp_path, warm))
    assert "<h3>Temperature</h3>" in html
    assert "<h3>Frequency</h3>" in html
    assert "Throttling: throttled." in html


def test_emulated_times_and_memory_are_left_out(result: dict[str, Any], tmp_path: Path) -> None:
    emulated = {**result, "machine": {**result["machine"], "emulated": "qemu"}}
    documents = loaded(tmp_path, emulated)
    for text in (to_html(documents), to_markdown(documents)):
        assert "emulation" in text
        assert "p50 ms" not in text
        assert "peak MB" not in text
        assert "accuracy %" in text
    assert "Time of a decision" not in to_html(documents)


def test_an_incomplete_result_says_so(result: dict[str, Any], tmp_path: Path) -> None:
    cut = {
        **result,
        "complete": False,
        "incomplete": "the connection was lost",
        "conditions": [],
        "machine": asdict(Machine()),
    }
    cut["variants"] = [{**v, "latency": {}, "memory": None, "accuracy": None, "loss": None} for v in cut["variants"]]
    documents = loaded(tmp_path, cut)
    assert "Incomplete: the connection was lost" in to_html(documents)
    assert "**Incomplete:** the connection was lost" in to_markdown(documents)


def test_markdown_holds_the_tables(result: dict[str, Any], tmp_path: Path) -> None:
    text = to_markdown(loaded(tmp_path, result))
    rows = [line for line in text.splitlines() if line.startswith("| step-int8.tflite")]
    assert len(rows) == 2  # measured; and what quantisation cost
    tables = re.findall(r"((?:^\|.*\|$\n?)+)", text, re.MULTILINE)
    for table in tables:
        widths = {line.count("|") for line in table.splitlines()}
        assert len(widths) == 1, table
    assert "Again: `edge-asc bench torch --output x.json`" in text


def test_charts_are_well_formed_and_take_the_pages_colours() -> None:
    svg = chart.over_time({"a <b> & c": [(0, 1.0), (1, 2.0)]}, "°C")
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.get("role") == "img"
    label = root.get("aria-label")
    assert label is not None
    assert "a <b> & c" in label
    assert drawing.INK not in svg
    assert "currentColor" in svg
    assert svg == chart.over_time({"a <b> & c": [(0, 1.0), (1, 2.0)]}, "°C")


@pytest.mark.parametrize("change", [{"schema_version": 9}, {"variants": [{}]}])
def test_a_bad_result_is_named(result: dict[str, Any], tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(EdgeAscError, match=r"0\.json"):
        loaded(tmp_path, {**result, **change})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_it(result: dict[str, Any], tmp_path: Path, scheme: str) -> None:
    """At a phone's width nothing but tables and charts, in frames of their own, is wider than the page."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium: apt-get install chromium")
    (tmp_path / "report.html").write_text(to_html(loaded(tmp_path, result)))
    probe = """<iframe src="report.html" width="390" height="800"></iframe><script>
    onload = () => {
      const page = frames[0].document, style = frames[0].getComputedStyle(page.querySelector("svg.chart text"));
      document.title = JSON.stringify({
        wide: page.documentElement.scrollWidth, ink: style.fill,
        charts: [...page.querySelectorAll("svg.chart")].filter(svg => svg.getBoundingClientRect().height > 50).length,
      });
    };</script>"""
    (tmp_path / "probe.html").write_text(probe)
    quiet = [
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
    ]
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", *(f"--{flag}" for flag in quiet)]
    command += [
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--virtual-time-budget=5000",
    ]
    command += [f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}", "--dump-dom"]
    done = subprocess.run(
        [*command, (tmp_path / "probe.html").as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    title = re.search("<title>(.*)</title>", done.stdout)
    assert title is not None
    seen = json.loads(title[1].replace("&quot;", '"'))
    assert seen["wide"] <= 390
    assert seen["charts"] == 6
    assert seen["ink"] == ("rgb(255, 255, 255)" if scheme == "dark" else "rgb(0, 0, 0)")
