"""Artefacts in other languages and runtimes, compared with golden vectors."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from conformance.runtimes import MODULES, require_host
from edge_asc.cli import cli
from edge_asc.errors import EdgeAscError
from edge_asc_bench import golden as vectors
from edge_asc_bench.golden_files import GoldenFiles, load
from edge_asc_conformance.host import HOSTS, PAGE
from edge_asc_conformance.measurement import Settings, measure

# Rules and events in JavaScript, on the golden vectors of decisions: the largest error, and the events.
RULES = """
import { readFileSync } from "node:fs";
import { Belief, EventDetector, eventLogOdds, eventRules } from "PAGE/stream.js";
const [folder] = process.argv.slice(1), { decisions } = JSON.parse(readFileSync(`${folder}/golden.json`, "utf8"));
const { labels, unknown, step, temperature, default_events } = decisions;
const read = (name, Numbers) => new Numbers(new Uint8Array(readFileSync(`${folder}/${name}`)).buffer);
const logits = read(decisions.logits, Float32Array), levels = read(decisions.levels, Float64Array);
const rows = Array.from(levels, (_, i) => logits.slice(i * labels.length, (i + 1) * labels.length));
const errors = decisions.rules.map(({ rule, probabilities }) => {
  const belief = new Belief(rule, labels.length, step, temperature), expected = read(probabilities, Float64Array);
  const all = rows.flatMap((row) => belief.update(row));
  return Math.max(...all.map((p, i) => Math.abs(p - expected[i])));
});
const changes = decisions.events.map(({ rules }) => {
  const belief = new Belief(rules.decision, labels.length, step, temperature, eventLogOdds({ labels, unknown }, rules));
  const detector = new EventDetector(labels, rules, step);
  const all = rows.flatMap((row, i) => detector.update((i + 1) * step, belief.update(row), levels[i]));
  return [...all, ...detector.finish()];
});
console.log(JSON.stringify({ errors, changes, defaults: eventRules({ labels, unknown }) }));
"""


def test_rules_in_javascript_are_those_of_python(golden: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    program = RULES.replace("PAGE", PAGE.as_uri())
    command = ["node", "--input-type=module", "--eval", program, str(golden)]
    result = json.loads(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    document = json.loads((golden / vectors.DOCUMENT).read_text())
    assert max(result["errors"]) <= document["tolerances"]["decisions"]
    for changes, expected in zip(result["changes"], document["decisions"]["events"], strict=True):
        assert [(each["label"], each["start"], each["end"]) for each in changes] == [
            (each["label"], each["start"], each["end"]) for each in expected["changes"]
        ]
        assert [each["peak"] for each in changes] == pytest.approx([each["peak"] for each in expected["changes"]])
    defaults = document["decisions"]["default_events"]
    assert result["defaults"] == {name: defaults[name] for name in result["defaults"]}


@pytest.mark.parametrize("name", [name for name in HOSTS.names() if name not in ("litert", "onnxruntime")])
def test_a_host_decides_as_python_does(name: str, golden: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_host(name)
    kept = {name, "onnxruntime", "litert"}
    monkeypatch.setattr(HOSTS, "_loaded", {})
    monkeypatch.setattr(HOSTS, "names", lambda: tuple(sorted(kept)))
    conformance = measure(golden, MODULES, Settings(1, 1))
    rows = [row for row in conformance.rows if row.host == name]
    unsupported = HOSTS.load(name).unsupported
    assert [row.scheme for row in rows] == ["int8", "int8-dynamic"]
    assert {row.scheme: row.reason for row in rows if row.reason} == unsupported
    ran = [row.comparison for row in rows if row.comparison]
    assert len(ran) == len(rows) - len(unsupported)
    assert all(comparison.holds and comparison.steps == 58 for comparison in ran)
    for reference in (row for row in conformance.rows if row.host in ("onnxruntime", "litert")):
        assert reference.comparison is not None
        assert reference.comparison.equal
        assert reference.comparison.events


def test_other_logits_are_found(golden: Path, tmp_path: Path) -> None:
    folder = tmp_path / "golden"
    shutil.copytree(golden, folder)
    entry, *_ = vectors.read(folder).artefacts
    logits = load(folder, entry.logits, 11)
    logits[7, 3] += 5
    GoldenFiles(folder).save(entry.logits, logits)
    arguments = ["conformance", "measure", str(folder), "--modules", str(tmp_path), "--rounds", "1", "--passes", "1"]
    output, page = tmp_path / "result.json", tmp_path / "result.md"
    done = CliRunner().invoke(cli, [*arguments, "--output", str(output), "--page", str(page)])
    assert done.exit_code == 1
    result = json.loads(output.read_text())
    assert not result["holds"]
    wrong = {row["host"] for row in result["rows"] if row["comparison"] and not row["comparison"]["holds"]}
    assert wrong == {"onnxruntime"}
    assert "beyond the tolerance" in page.read_text()
    # A runtime that is not installed is a row with the reason.
    assert "npm ci --prefix" in next(row["reason"] for row in result["rows"] if row["host"] == "onnxruntime_node")


def test_a_folder_without_vectors_is_reported(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="edge-asc conformance golden"):
        vectors.read(tmp_path)
    (tmp_path / vectors.DOCUMENT).write_text('{"schema_version": 3}')
    with pytest.raises(EdgeAscError, match="schema version 4"):
        vectors.read(tmp_path)
