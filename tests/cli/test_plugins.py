"""A toy of each kind, from a distribution outside the project, used from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from artefacts import sound
from edge_asc import audio
from edge_asc.contract import Signature, StreamContract, TensorSpec
from edge_asc.frontend import FrontEnd
from plugins import write_distribution, write_toys


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toys(tmp_path_factory.mktemp("site"))


def run(toys: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "PYTHONPATH": str(toys), **environment}
    command = [sys.executable, "-W", "error", "-m", "edge_asc", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def toy_contract() -> StreamContract:
    planes, row = ("batch", "channel", "time", "mel"), ("batch", "unit")
    inputs = (
        TensorSpec("features", "features", (1, 1, 8, 256), planes),
        TensorSpec("loudest", "state", (1, 2), row),
    )
    outputs = (
        TensorSpec("logits", "logits", (1, 2), row),
        TensorSpec("loudest_next", "state", (1, 2), row, feeds="loudest"),
    )
    return StreamContract(
        name="loudness",
        backbone="none",
        form="causal",
        output="multi",
        labels=("early", "late"),
        front_end=FrontEnd(),
        decision="last",
        parameters=0,
        macs={},
        scheme="none",
        signatures=(Signature("step", 8, 4096, inputs, outputs),),
    )


def test_an_engine_runs_its_files(toys: Path, tmp_path: Path) -> None:
    audio.write(tmp_path / "x.wav", sound(1.1))
    (tmp_path / "y.toy").write_text(toy_contract().dumps())
    result = run(toys, "classify", tmp_path / "x.wav", "--model", tmp_path / "y.toy", "--json")
    assert result.returncode == 0, result.stderr
    value = json.loads(result.stdout)
    assert (value["model"], value["engine"], len(value["decisions"])) == ("loudness", "toy 1.0", 4)
    refused = run(toys, "classify", tmp_path / "x.wav", "--model", tmp_path / "x.wav")
    assert refused.returncode == 2
    assert "expected .tflite, .onnx, .toy" in " ".join(sorted_suffixes(refused.stderr))


def sorted_suffixes(message: str) -> list[str]:
    """The message with the suffixes that it lists in a fixed order."""
    head, _, tail = message.strip().rpartition("expected ")
    known = [suffix for suffix in (".tflite", ".onnx", ".toy") if suffix in tail]
    return [head, "expected", ", ".join(known)]


def test_a_command_is_listed_and_runs(toys: Path) -> None:
    shown = run(toys, "--help")
    assert shown.returncode == 0, shown.stderr
    assert [line.split(maxsplit=1) for line in shown.stdout.splitlines() if "toy" in line] == [
        ["toy", "Play with a toy."]
    ]
    assert run(toys, "toy").stdout == "squeak\n"
    assert run(toys, "toy", "--loud").stdout == "SQUEAK\n"
    assert "--loud" in run(toys, "toy", "--help").stdout
    assert run(toys, "toy", "--quiet").returncode == 2


def test_doctor_lists_what_toys_need(toys: Path) -> None:
    rows = {row["package"]: row for row in json.loads(run(toys, "doctor", "--json").stdout)["packages"]}
    assert rows["no-such-toy"]["purpose"] == "toy"
    assert rows["no-such-toy"]["found"] == ""
    assert rows["toy-plugins"] == {
        "package": "toy-plugins",
        "module": "toy_plugins",
        "extra": "",
        "purpose": "running .toy artefacts",
        "found": "1.0",
        "install": "pip install 'toy-plugins'",
    }


def test_a_layout_is_read_and_a_backbone_is_trained(toys: Path, tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    rows = []
    for i in range(8):
        name = f"{i}.wav"
        audio.write(data / name, sound(1.1, seed=i))
        rows.append(f"{('duck', 'cow')[i % 4 // 2]} {name}")
    (data / "toy.txt").write_text("\n".join(rows))
    options = ("--output", model, "--backbone", "toy", "--fold", 1, "--recipe", "paper", "--epochs", 1)
    settings = ("--set", "batch=4", "--set", "frames=[24,24]")
    result = run(toys, "train", data, *options, *settings, "--json", EDGE_ASC_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    checkpoint = json.loads((model / "checkpoint.json").read_text())
    assert checkpoint["model"]["backbone"] == "toy"
    assert checkpoint["labels"] == ["cow", "duck"]
    assert json.loads(result.stdout)["training"]["data"] == "toys"
    evaluated = run(toys, "evaluate", data, "--model", model, "--lengths", 1, "--json", EDGE_ASC_CACHE=str(tmp_path))
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout)["clips"] == 8


def test_without_its_distribution_a_name_is_unknown(tmp_path: Path) -> None:
    result = run(tmp_path, "train", tmp_path, "--output", tmp_path / "model", "--backbone", "toy")
    assert result.returncode == 2
    assert "'toy' is not one of 'bcresnet', 'fuse', 'resnet'" in result.stderr
    empty = run(tmp_path, "evaluate", tmp_path, "--model", "fuse")
    assert empty.returncode == 2
    assert "not a data set in a known layout" in empty.stderr


def test_a_broken_command_does_not_break_the_others(tmp_path: Path) -> None:
    points = {"edge_asc.commands": {"bad": "no_such_module:BAD"}}
    write_distribution(tmp_path, "broken", points, {})
    variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "edge_asc", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    assert "classify" in result.stdout
    assert "command 'bad' of broken does not load" in result.stderr


def test_help_and_completion_import_no_command() -> None:
    code = """
import sys
from edge_asc.cli import main
from edge_asc.cli.command import COMMANDS
try:
    main(sys.argv[1:])
except SystemExit as exit:
    assert not exit.code, exit.code
modules = {command.module for command in COMMANDS.all().values()}
print(len(modules), sorted((modules | {"numpy", "rich", "torch"}) & set(sys.modules)), file=sys.stderr)
"""
    shown = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    count, _, loaded = shown.stderr.strip().partition(" ")
    assert int(count) >= 11
    assert loaded == "[]"
    variables = {**os.environ, "COMP_WORDS": "edge-asc c", "COMP_CWORD": "1", "_EDGE_ASC_COMPLETE": "bash_complete"}
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert completed.stdout.splitlines() == ["plain,check", "plain,classify", "plain,conformance"]
    assert completed.stderr.strip().endswith("[]")
