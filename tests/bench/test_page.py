import copy
import json
import re
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from click.testing import CliRunner, Result

from artefacts import Artefacts
from edge_asc.errors import EdgeAscError
from edge_asc_bench import chart, drawing
from edge_asc_bench.commands.report import command
from edge_asc_bench.kinds import Documents
from edge_asc_bench.machine import Machine
from edge_asc_bench.page import load, to_html, to_markdown
from edge_asc_bench.pictures import group_windows
from edge_asc_bench.result import Variant
from reports import add_instructions, make_conformance, measure


@pytest.fixture(scope="module")
def result(artefacts: Artefacts) -> dict[str, Any]:
    return measure(artefacts)


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
    titles = [re.sub("<.*?>", "", title) for title in re.findall("<h3>(.*)</h3>", html)]
    assert titles == [
        "Accuracy",
        "Agreement",
        "Speed",
        "Memory",
        "Size",
        "How often is each model right?",
        "Do they decide as the float model does?",
        "How long does a decision take?",
        "What does accuracy cost?",
        "What does a longer window cost?",
        "How much memory does it need?",
        "Does it slow down?",
        "Each model",
        "What each step to a device costs",
        "Accuracy by length",
        "Recall of each class at the longest length",
        "Cost that does not depend on the machine",
        "What was unstable",
        "The machine",
        "How to measure this again",
    ]
    assert "edge-asc bench torch --output x.json" in html
    assert "few for percentiles" in html
    assert len(re.findall("<li>windows.tflite: ", html)) == 1, "a model is unstable once, not once for each window"
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
    row = re.search(r'<tr><th scope="row">windows.tflite</th>(.*?)</tr>', table, re.DOTALL)
    assert row is not None
    cells = re.findall("<td>(.*?)</td>", row[1])
    assert len(cells) == 5
    assert cells[1] == ""
    macro = shorter["variants"][3]["accuracy"]["lengths"][0]["macro_recall"]
    assert cells[2] == f"{100 * macro:.1f}"


def test_instructions_and_conformance_are_shown(result: dict[str, Any], tmp_path: Path) -> None:
    counts, conformance = add_instructions(result), make_conformance()
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
    assert "<h3>How warm did the machine get?</h3>" in html
    assert "<h3>How fast did the processor run?</h3>" in html
    assert "Throttling: throttled." in html


def test_emulated_times_and_memory_are_left_out(result: dict[str, Any], tmp_path: Path) -> None:
    emulated = {**result, "machine": {**result["machine"], "emulated": "qemu"}}
    documents = loaded(tmp_path, emulated)
    for text in (to_html(documents), to_markdown(documents)):
        assert "emulation" in text
        assert "p50 ms" not in text
        assert "peak MB" not in text
        assert "accuracy %" in text
    assert "How long does a decision take?" not in to_html(documents)


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


def read_colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{3,6});", style))


def compute_contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2 of two colours, 1 to 21."""

    def compute_luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted(map(compute_luminance, (one, other)))
    return (high + 0.05) / (low + 0.05)


def test_charts_can_be_read_in_light_in_dark_and_on_paper() -> None:
    """axe-core does not look inside drawings: lines need a contrast of 3 to 1 with the ground, letters of 4.5 to 1."""
    style = files("edge_asc_bench").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    dark, paper = dark.split("@media print")
    own = {f"--series-{i}": colour for i, colour in enumerate(drawing.COLOURS)}
    for colours in (own | read_colours(light), read_colours(dark), read_colours(paper)):
        assert compute_contrast(colours["--text"], colours["--card"]) >= 4.5
        assert set(own) <= set(colours)
        for name in own:
            assert compute_contrast(colours[name], colours["--card"]) >= 3
            assert compute_contrast(colours[name], colours["--on-series"]) >= 4.5


def test_charts_are_well_formed_and_take_the_pages_colours() -> None:
    frame, lines = chart.Frame("a <b> & c", "d > e"), {chart.Series(0, "f <g>"): [(0.0, 1.0), (1.0, 2.0)]}
    svg = chart.over_time(frame, lines, "°C", "seconds")
    root = ElementTree.fromstring(svg.replace("xlink:href", "href"))
    assert root.get("role") == "img"
    texts = {each.get("id"): each.text for each in root.iter() if each.get("id")}
    assert texts[root.get("aria-labelledby")] == "a <b> & c"
    assert texts[root.get("aria-describedby")] == "d > e"
    points = [each for each in root.iter() if each.get("class") == "point"]
    assert [(each.get("data-series"), each[0].text) for each in points] == [
        ("0", "f <g>, 0 s: 1 °C"),
        ("0", "f <g>, 1 s: 2 °C"),
    ]
    assert drawing.INK not in svg
    assert "currentColor" in svg
    assert "var(--series-0, " in svg
    assert svg == chart.over_time(frame, lines, "°C", "seconds")


@pytest.mark.parametrize("change", [{"schema_version": 9}, {"variants": [{}]}])
def test_a_bad_result_is_named(result: dict[str, Any], tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(EdgeAscError, match=r"0\.json"):
        loaded(tmp_path, {**result, **change})


def test_a_page_is_written_here_and_replaces_no_other_file(
    result: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded(tmp_path, result)

    def report(*arguments: str) -> Result:
        return CliRunner().invoke(command, ["0.json", *arguments], standalone_mode=False)

    page = tmp_path / "report.html"
    for _ in range(2):  # the second one replaces the first one
        done = report()
        assert done.exception is None
        assert "written to report.html" in done.stderr
        assert page.read_bytes().startswith(b"<!doctype html>")
    page.write_text("notes of somebody")
    for arguments in ((), ("--output", "report.html"), ("--output", "0.json")):
        assert re.search("edge-asc report has not written", str(report(*arguments).exception))
    assert page.read_text() == "notes of somebody"
    assert json.loads((tmp_path / "0.json").read_text()) == result
    page.unlink()
    assert report("--markdown").stdout.startswith("**")
    assert not page.exists()
