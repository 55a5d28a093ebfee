"""The commands as their users call them, in processes of their own where exit codes and streams matter."""

import json
import os
import re
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from artefacts import Artefacts, checkpoint, sound
from edge_asc import audio
from edge_asc.cli import cli
from edge_asc.cli.command import COMMANDS
from edge_asc.data.generated import write_scenes
from edge_asc.demo import list_recordings
from edge_asc.frontend import Array
from edge_asc.unknown import UnknownRule


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge_asc.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "noise.wav"
    audio.write(path, sound(2.0))
    return path


@pytest.mark.parametrize("name", COMMANDS.names())
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Usage:" in result.output


def test_importing_the_package_loads_no_engine() -> None:
    code = (
        "import sys, edge_asc, edge_asc.cli, edge_asc.streaming, edge_asc.engine\n"
        "heavy = {'torch', 'onnx', 'onnxruntime', 'ai_edge_litert', 'tensorflow', 'flatbuffers', 'safetensors'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("engine", ["torch", "onnx", "tflite"])
def test_classify_prints_a_line_for_each_decision(artefacts: Artefacts, recording: Path, engine: str) -> None:
    result = run("classify", recording, "--model", artefacts.steps[engine])
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == 7 + 1
    assert lines[0].split()[0] == "0.256"
    assert lines[-1].startswith("summary: ")
    assert "times real time" in result.stderr


def test_classify_prints_json(artefacts: Artefacts, recording: Path) -> None:
    result = run("classify", recording, "--model", artefacts.steps["tflite"], "--json", "--decision", "last")
    value = json.loads(result.stdout)
    assert len(value["decisions"]) == 7
    assert sum(value["decisions"][-1]["probabilities"]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize(("threshold", "answer"), [(1e-9, "b"), (1.0, "")])
def test_classify_answers_other_where_it_does_not_know_the_sound(
    recording: Path, tmp_path: Path, threshold: float, answer: str
) -> None:
    unknown = UnknownRule("b", threshold, 0.05)
    replace(checkpoint(), temperature=1.5, unknown=unknown).save(tmp_path / "model")
    result = run("classify", recording, "--model", tmp_path / "model", "--json")
    for decision in json.loads(result.stdout)["decisions"]:
        assert decision["unknown"] == bool(answer)
        assert (decision["label"] == "b") == bool(answer)
    last = run("classify", recording, "--model", tmp_path / "model").stdout.splitlines()[-1]
    assert last.startswith("summary: b (") == bool(answer)


def test_classify_prints_the_first_decision_on_a_long_file_after_its_first_blocks(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "hour.wav"
    audio.write(path, sound(1.0))
    size = path.stat().st_size - 32_000 + 3600 * 32_000
    header = bytearray(path.read_bytes())
    header[40:44] = struct.pack("<I", 3600 * 32_000)
    path.write_bytes(header)
    os.truncate(path, size)  # an hour, the rest of it silence
    length, printed = 0, ""
    read = audio.stream

    def watched(*arguments: Any, **options: Any) -> Iterator[Array]:
        nonlocal length, printed
        for block in read(*arguments, **options):
            length += len(block)
            yield block
            printed += capsys.readouterr().out
            if printed:
                return

    monkeypatch.setattr(audio, "stream", watched)
    cli.main(["classify", str(path), "--model", str(artefacts.steps["onnx"])], standalone_mode=False)
    assert printed.startswith("   0.256 s")
    assert length <= 11 * 16_000  # a file of more than 10 s is not a clip


def test_classify_stops_after_so_many_seconds(artefacts: Artefacts, recording: Path) -> None:
    result = run("classify", recording, "--model", artefacts.steps["onnx"], "--seconds", "1.0", "--json")
    assert len(json.loads(result.stdout)["decisions"]) == 3


def test_classify_takes_a_windowed_model(artefacts: Artefacts, recording: Path) -> None:
    result = run("classify", recording, "--model", artefacts.folder / "windows.tflite", "--window", 1, "--json")
    times = [d["time"] for d in json.loads(result.stdout)["decisions"]]
    assert times == [1.0, 1.25, 1.5, 1.75, 2.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("classify",), "give a recording, or --microphone"),
        (("classify", "no-such.wav"), "no-such.wav"),
        (("classify", __file__), "test_cli.py"),
        (("classify", list_recordings()[0].path, "--model", "no-such-model"), "no model there"),
        (("inspect", "no-such.onnx"), "not an artefact"),
        (("export", "no-such-checkpoint"), "no such checkpoint"),
        (("export", "--quantize", "int3"), "int3: no such scheme; expected none, fp16"),
        (("export", "--quantize", "auto"), "--quantize auto needs --data DIR"),
        (("export", "--quantize", "int8", "--ranges", "mse"), "--ranges belongs to --calibration"),
        (("export", "--fold", "1"), "--fold belongs to --data"),
        (("export", "--calibration", "."), "none has no activation ranges to record"),
        (("export", "--quantize", "int16x8", "--format", "onnx"), "onnx cannot express int16x8"),
        (("inspect", "fuse", "--against", "fuse"), "not an artefact; --against compares"),
        (("evaluate", "no-such-data"), "no-such-data"),
        (("bench", "no-such-model"), "no model there"),
        (("check", "no-such.json", "--baseline", "x.json"), "no-such.json"),
        (("report", __file__, "--output", "x.html"), "not a result"),
        (("bogus",), "No such command"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(
    artefacts: Artefacts, tmp_path: Path, arguments: tuple[Any, ...], message: str
) -> None:
    if "--model" not in arguments and arguments[0] == "classify":
        arguments = (*arguments, "--model", artefacts.steps["onnx"])
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_inspect_shows_the_contract(artefacts: Artefacts) -> None:
    result = run("inspect", artefacts.folder / "step-int8.tflite", "--json")
    value = json.loads(result.stdout)
    assert value["contract"]["scheme"] == "int8"
    assert value["graph"]["partitions"] == 1
    shown = run("inspect", artefacts.folder / "step-int8.onnx").stdout
    assert "0 operations outside" in run("inspect", artefacts.folder / "step-int8.tflite").stdout
    assert "cache_stem_0" in shown


def test_a_scheme_is_printed_as_json_and_read_from_a_file(tmp_path: Path) -> None:
    printed = run("export", "--quantize", "int8-float-gru", "--print-scheme")
    value = json.loads(printed.stdout)
    assert value["real"] == ["gru_*", "hidden_*", "logits"]
    (tmp_path / "mine.json").write_text(json.dumps({**value, "name": "mine", "real": ["logits"]}))
    read = run("export", "--quantize", tmp_path / "mine.json", "--print-scheme")
    assert json.loads(read.stdout)["real"] == ["logits"]


def test_inspect_shows_what_a_checkpoint_costs(artefacts: Artefacts) -> None:
    value = json.loads(run("inspect", artefacts.folder / "checkpoint", "--json").stdout)
    assert value["complexity"]["parameters_deployed"] == 146_710
    assert "113 frames" in run("inspect", artefacts.folder / "checkpoint").stdout


def test_a_benchmark_is_gated_against_a_baseline(artefacts: Artefacts, tmp_path: Path) -> None:
    models = (artefacts.steps["torch"], artefacts.steps["tflite"])
    result, baseline = tmp_path / "now.json", tmp_path / "baseline.json"
    measured = run("bench", *models, "--rounds", 1, "--lengths", 1, "--output", result)
    assert measured.returncode == 0, measured.stderr
    assert "step.tflite" in measured.stdout
    assert len([line for line in measured.stderr.splitlines() if "unstable times" in line]) == 1
    assert run("check", result, "--baseline", baseline).returncode == 2
    assert run("check", result, "--baseline", baseline, "--update-baseline").returncode == 0
    files = {name: tmp_path / name for name in ("junit.xml", "summary.md", "action.json")}
    options = (
        "--junit",
        files["junit.xml"],
        "--summary",
        files["summary.md"],
        "--benchmark-json",
        files["action.json"],
    )
    held = run("check", result, "--baseline", baseline, *options)
    assert held.returncode == 0
    assert "comparisons hold" in held.stdout
    assert all(path.stat().st_size for path in files.values())
    value = json.loads(baseline.read_text())
    value["variants"][1]["bytes"] //= 2
    baseline.write_text(json.dumps(value))
    failed = run("check", result, "--baseline", baseline, "--json")
    assert failed.returncode == 1
    found = json.loads(failed.stdout)
    assert not found["holds"]
    assert [f["what"] for f in found["findings"] if f["verdict"] == "regression"] == ["file size, bytes"]
    value["data"]["sha256"] = "other"
    baseline.write_text(json.dumps(value))
    other = run("check", result, "--baseline", baseline)
    assert other.returncode == 2
    assert "measure on the same ones" in other.stderr


def test_doctor_lists_what_is_there() -> None:
    value = json.loads(run("doctor", "--json").stdout)
    found = {row["package"]: row["found"] for row in value["packages"]}
    assert found["onnxruntime"]
    assert "onnxruntime" in run("doctor").stdout


def test_train_evaluate_export_and_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way on generated scenes, too small to learn anything."""
    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    write_scenes(data, 2, 0, seconds=1.0)
    model = tmp_path / "model"
    settings = ["trunk.batch=10", "frames=[24,24]", "head.views=1"]
    options: Sequence[object] = [word for setting in settings for word in ("--set", setting)]
    common = ("train", data, "--output", model, "--epochs", 1, *options, "--name", "tiny")
    result = run(*common, "--fold", 1, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["training"]["data"] == "generated"
    assert {p.name for p in model.iterdir()} == {
        "weights.safetensors",
        "checkpoint.json",
        "README.md",
        "log.csv",
        "held_out.json",
    }
    again = run(*common, "--fold", 1)
    assert again.returncode == 2
    assert "holds a checkpoint already" in again.stderr
    assert "not evaluated" not in (model / "README.md").read_text().lower()

    result = run("export", model, "--quantize", "int8", "--output", tmp_path / "out", "--json")
    assert result.returncode == 0, result.stderr
    exported = tmp_path / "export.json"
    exported.write_text(result.stdout)

    artefact = tmp_path / "out" / "tiny-int8.tflite"
    result = run("inspect", artefact, "--against", model, "--data", data, "--clips", 4, "--json")
    assert result.returncode == 0, result.stderr
    compared = json.loads(result.stdout)
    assert compared["steps"] == 12
    assert {"features", "stem_0", "logits"} <= {layer["tensor"] for layer in compared["layers"]}
    assert "layers with the lowest SQNR" in run("inspect", artefact, "--against", model, "--clips", 1).stdout

    options = ("--quantize", "auto", "--max-drop", 100, "--data", data, "--format", "tflite")
    result = run("export", model, *options, "--output", tmp_path / "auto")
    assert result.returncode == 0, result.stderr
    assert "chosen: int8" in result.stdout
    assert (tmp_path / "auto/tiny-int8.tflite").is_file()

    result = run("evaluate", data, "--model", model, "--model", artefact, "--lengths", 1, "--json")
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert [r["model"] for r in value["results"]] == ["model", "tiny-int8.tflite"]
    assert value["clips"] == 20
    assert "model was trained on 10 of these 20 clips" in value["results"][0]["notes"][-1]
    assert value["results"][1]["all_steps"]["agreement"] > 0.5
    assert value["folder"] == str(data.resolve())
    for result_of, predictions in zip(value["results"], value["predictions"], strict=True):
        assert (predictions["model"], predictions["held_out"]) == (result_of["model"], False)
        assert len(predictions["clips"]) == sum(map(sum, predictions["confusions"]["counts"])) == 20
        right = [next(iter(clip["probabilities"])) == clip["label"] for clip in predictions["clips"]]
        assert sum(right) == result_of["lengths"][0]["right"]
        assert not any(clip["suspicious"] for clip in predictions["clips"])
    alone = run("evaluate", data, "--model", model, "--lengths", 1, "--fold", 1, "--errors", 2)
    assert "Classes at the end of each clip: model" in alone.stdout
    assert "at the end of each clip, " in alone.stdout
    listed = alone.stdout.partition("wrong at the end of the clip")[2].splitlines()
    assert [line.startswith("  audio/") for line in listed[1:]] == [True, True, False]
    assert re.fullmatch(r"  and \d more: a page shows them .*", listed[3])
    shown = run("evaluate", data, "--model", model, "--model", artefact, "--lengths", 1, "--whole-clip", "--errors", 0)
    assert "wrong at the end" not in shown.stdout
    assert "model, whole clip" in shown.stdout
    assert "Accuracy lost to the row above" in shown.stdout
    refused = run("evaluate", data, "--model", artefact, "--lengths", 1, "--whole-clip")
    assert refused.returncode == 2
    assert "needs a causal checkpoint" in refused.stderr
    evaluated = tmp_path / "evaluation.json"
    evaluated.write_text(result.stdout)

    clip = next((data / "audio").iterdir())
    classified = tmp_path / "classified.json"
    classified.write_text(run("classify", clip, "--model", artefact, "--json").stdout)
    page = tmp_path / "report.html"
    result = run("report", exported, evaluated, classified, model, "--output", page)
    assert result.returncode == 0, result.stderr
    text = page.read_text()
    assert "tiny-int8.tflite" in text
    assert "What was decided when?" in text
    assert "data:image/png;base64," in text  # the spectrogram
    assert "Errors of tiny-int8.tflite" in text
    assert "Learning curves of model" in text


def test_evaluate_names_labels_that_a_model_does_not_know(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path / "cache"))
    write_scenes(tmp_path / "data", 2, 0, seconds=1.0)
    result = run("evaluate", tmp_path / "data", "--model", artefacts.steps["onnx"])
    assert result.returncode == 2
    assert "does not know airport" in result.stderr
    assert not np.any([line.startswith("Traceback") for line in result.stderr.splitlines()])
