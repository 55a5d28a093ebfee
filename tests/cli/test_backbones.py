"""The example of docs/backbones.md, as it stands there: trained, exported in both formats, and opened elsewhere."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from artefacts import sound
from edge_asc import audio
from edge_asc.backbone import TRUSTED_VARIABLE
from edge_asc.cli import cli
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint

PAGE = (Path(__file__).parents[2] / "docs/backbones.md").read_text(encoding="utf-8")
REFERENCE = "my_backbone:Tiny"
QUICK = ("--epochs", 1, "--fold", 1, "--folds", 2, "--set", "trunk.batch=8", "--set", "trunk.frames=[24,24]")
SHORT = ("--set", "trunk.long_share=0")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refuse(*arguments: object) -> str:
    """What a command that cannot be done says."""
    result = run(*arguments)
    assert isinstance(result.exception, EdgeAscError) or result.exit_code == 2, result.output
    return " ".join(f"{result.output} {result.exception}".replace("│", " ").split())


def blocks(language: str, text: str) -> list[str]:
    """The blocks of code of a language that hold a text."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return [block for named, block in fenced if named == language and text in block]


def commands() -> list[list[str]]:
    """The commands of the example."""
    (block,) = blocks("", "export PYTHONPATH")
    return [shlex.split(line)[1:] for line in block.splitlines() if line.startswith("edge-asc ")]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two classes of sounds, and the module of the page beside it."""
    (tmp_path / "code").mkdir()
    (example,) = blocks("python", "class Tiny")
    (tmp_path / "code/my_backbone.py").write_text(example)
    for number in range(8):
        seconds = np.arange(17600) / 16000
        tone = (0.3 * np.sin(2 * np.pi * (500 + 20 * number) * seconds)).astype(np.float32)
        audio.write(
            tmp_path / f"work/my-sounds/{'noise' if number % 2 else 'tone'}/{number}.wav",
            sound(1.1, number) if number % 2 else tone,
        )
    audio.write(tmp_path / "work/recording.wav", sound(1.1, 9))
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "code"))
    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(TRUSTED_VARIABLE, "")  # what a command adds to it is undone
    monkeypatch.delitem(sys.modules, "my_backbone", raising=False)
    return tmp_path / "work"


def test_the_example_is_trained_exported_and_opened(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, exported, quantised, classify = commands()
    trained = run(*train, *QUICK, *SHORT)
    assert trained.exit_code == 0, trained.output
    assert f"--backbone {REFERENCE}" in trained.output.partition("next:")[2]
    stored = json.loads(Path("runs/tiny/checkpoint.json").read_text())
    assert (stored["model"]["backbone"], stored["model"]["mels"]) == (REFERENCE, 64)
    model = Checkpoint.load("runs/tiny").model
    assert isinstance(model, CRNN)
    x, state, parts = torch.randn(1, 1, 64, 40), model.initial_state(), []
    with torch.inference_mode():
        for features in torch.split(x, 8, dim=3):
            logits, state = model.step(features, state)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts, dim=1), model(x).logits, rtol=0, atol=1e-5)
    for command in (exported, [*quantised, "--accept-agreement", "0"]):
        result = run(*command)
        assert result.exit_code == 0, result.output
    manifest = json.loads(Path("runs/tiny/float/manifest.json").read_text())
    parities = {name: entry["contract"]["measured"]["parity"] for name, entry in manifest["files"].items()}
    assert {Path(name).suffix for name in parities} == {".onnx", ".tflite"}
    assert max(parity["max_error"] for parity in parities.values()) < 1e-4
    # Elsewhere, without the module and without the user's word.
    monkeypatch.setenv(TRUSTED_VARIABLE, "")
    monkeypatch.delitem(sys.modules, "my_backbone")
    with pytest.raises(EdgeAscError, match=r"if you trust it, install the package that has it, and set EDGE_ASC_BACK"):
        Checkpoint.load("runs/tiny")
    assert "my_backbone" not in sys.modules
    assert run(*classify).exit_code == 0
    assert open_runtime(Path("runs/tiny/float")).contract.backbone == REFERENCE
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not path.endswith("code")])
    message = refuse("inspect", "runs/tiny", "--backbone", REFERENCE)
    assert "there is no module my_backbone; install the package that has it" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--backbone", "no_such_module_of_mine:Net"), "there is no module no_such_module_of_mine"),
        (("--backbone", "x y:Net"), "expected package.module:Class"),
        (("--backbone", REFERENCE, "--width", "0.5"), "has no option width"),
        (("--mels", "60"), "expected a multiple of 8"),
        (("--mels", "40"), "got 40 mel bins; expected a multiple of 32"),
        (("--gru-units", "16"), "--gru-units and --gru-layers belong to --head gru"),
    ],
)
def test_a_model_that_cannot_be_built_is_reported_before_anything_is_read(
    work: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in refuse("train", "my-sounds", *options)
    assert not Path("runs").exists()
