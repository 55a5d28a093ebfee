"""A folder of your own sounds, from the command line: what is understood, and two commands to an int8 artefact."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asc.cli.commands.train import command as train_command
from edge_asc.cli.errors import print_suspicious
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.evaluation.predictions import Ends, Predictions
from edge_asc.manifest import has_manifest
from edge_asc.training.checkpoint import Checkpoint

QUICK = ("--epochs", 2, "--set", "head.views=1", "--set", "head.frames=[24,24]", "--folds", 2)
RATES = (8000, 22050, 48000)


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge_asc.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


def write_sound(path: Path, kind: int, number: int, seconds: float) -> None:
    """Write noise, a tone or clicks, at one of several rates."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = RATES[number % len(RATES)]
    generator = np.random.default_rng([kind, number])
    time = np.arange(round(seconds * rate)) / rate
    samples = generator.normal(0.0, 0.1, len(time))
    if kind == 1:
        samples = 0.01 * samples + 0.3 * np.sin(2.0 * np.pi * (400.0 + 50.0 * number) * time)
    elif kind == 2:
        samples *= time * 7.0 % 1.0 < 0.1
    soundfile.write(path, samples.astype(np.float32), rate, subtype="PCM_16")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with `my sounds`: three classes, names with spaces, equal names in two of them."""
    folder = tmp_path_factory.mktemp("own")
    for number in range(4):
        write_sound(folder / f"my sounds/hiss [x]/take {number}.wav", 0, number, 1.0 + 0.4 * number)
        write_sound(folder / f"my sounds/tone/take {number}.wav", 1, number, 1.2)
        write_sound(folder / f"my sounds/Background/{number}.wav", 2, number, 1.5)
    write_sound(folder / "my sounds/tone/long.wav", 1, 9, 10.6)
    (folder / "my sounds/tone/._take 0.wav").write_bytes(b"x")
    return folder


@pytest.fixture(autouse=True)
def _cache(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_ASC_CACHE", str(work / "cache"))


def test_data_shows_what_is_understood(work: Path) -> None:
    result = run("data", "my sounds", "--json", cwd=work)
    assert result.returncode == 0, result.stderr
    shown = json.loads(result.stdout)
    assert (shown["layout"], shown["name"], shown["problems"]) == ("folders", "my sounds", [])
    rows = {row["label"]: (row["files"], row["clips"], row["groups"]) for row in shown["classes"]}
    assert rows == {"hiss [x]": (4, 4, 4), "other": (4, 4, 4), "tone": (5, 6, 5)}
    assert sum(fold["evaluate"] for fold in shown["folds"].values()) == 14
    assert shown["sample_rates"] == {"8000": 7, "22050": 3, "48000": 3}
    assert "cross-validated over 4 folds, then trained on all 14 clips" in shown["plan"]
    text = run("data", "my sounds", "--clip-seconds", 1, "--folds", 2, cwd=work).stdout
    assert "hiss [x]" in text
    assert "folds, with the clips that each holds out: 1 (" in text
    assert "edge-asc train 'my sounds'" in text


def test_two_commands_to_an_artefact(work: Path) -> None:
    trained = run("train", "my sounds", *QUICK, cwd=work)
    assert trained.returncode == 0, trained.stderr
    folder = work / "runs/my-sounds"
    checkpoint = Checkpoint.load(folder)
    assert checkpoint.labels == ("hiss [x]", "other", "tone")
    assert checkpoint.training["started_from"] == "fuse-50"
    assert (folder / "split/evaluation_setup/fold2_evaluate.csv").is_file()
    level = checkpoint.evaluation["levels_db"]["0"]["lengths"][0]
    assert (level["seconds"], level["count"]) == (1, 14)
    assert sum(map(sum, checkpoint.evaluation["confusions"]["counts"])) == 14
    assert checkpoint.evaluation["other"]["unknown_clips"] == 4
    assert checkpoint.unknown is not None
    assert "Accuracy on held-out clips of my sounds" in trained.stdout
    assert "95 % interval" in trained.stdout
    report, export, classify = [line.strip() for line in trained.stdout.splitlines() if line.startswith("  edge-asc")]
    assert report == "edge-asc report runs/my-sounds --output runs/my-sounds/errors.html --embed-audio"
    assert export == "edge-asc export runs/my-sounds --quantize int8 --output runs/my-sounds/int8"
    # Two epochs decide nothing clearly enough to agree in int8.
    exported = run(*shlex.split(export)[1:], "--accept-agreement", 0, cwd=work)
    assert exported.returncode == 0, exported.stderr
    assert has_manifest(folder / "int8")
    recording = "my sounds/tone/take 1.wav"
    classified = run(*(recording if word == "RECORDING" else word for word in shlex.split(classify)[1:]), cwd=work)
    assert classified.returncode == 0, classified.stderr
    reported = run(*shlex.split(report)[1:], cwd=work)
    assert reported.returncode == 0, reported.stderr
    assert "not found" not in reported.stderr
    page = (folder / "errors.html").read_text()
    assert "of 14 are right. Each clip was judged by a model that was trained without it." in page
    assert page.count("<audio") == page.count('src="data:audio/wav') > 0  # two epochs are not right everywhere
    assert [f'"row">{name}</th><td>head' in page for name in ("my-sounds", "fold 1", "fold 2")] == [True] * 3
    again = run("train", "my sounds", *QUICK, "--resume", cwd=work)
    assert again.returncode == 0, again.stderr
    assert "trained already" in again.stderr


def test_one_fold_and_no_start(work: Path) -> None:
    result = run(
        *("train", "my sounds", "--from", "none", "--fold", 1, "--epochs", 1, "--folds", 2, "--output", "runs/scratch"),
        *("--set", "trunk.batch=10", "--set", "trunk.frames=[16,16]", "--set", "trunk.long_share=0", "--json"),
        cwd=work,
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["training"]["started_from"] is None
    assert document["training"]["fold"] == 1
    assert document["evaluation"]["confusions"]["labels"] == ["hiss [x]", "other", "tone"]


@pytest.mark.parametrize("command", ["data", "train"])
def test_beginners_mistakes_are_one_message(work: Path, tmp_path: Path, command: str) -> None:
    write_sound(tmp_path / "dog/a.wav", 0, 0, 1.0)
    (tmp_path / "dog/b.wav").write_bytes(b"")
    (tmp_path / "dog/c.mp3").write_bytes(b"text" * 100)
    (tmp_path / "cat").mkdir()
    result = run(command, tmp_path, cwd=work)
    assert result.returncode == 2
    assert "cat/: holds no sound file; expected recordings of cat" in result.stderr
    assert "b.wav: is empty (0 bytes)" in result.stderr
    assert "c.mp3" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (work / "runs" / tmp_path.name).exists()


def test_a_folder_without_sounds(work: Path, tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    result = run("train", tmp_path, cwd=work)
    assert result.returncode == 2
    assert f"{tmp_path}: holds no sound files" in result.stderr


@pytest.mark.parametrize(
    ("options", "start", "stages", "recipe"),
    [
        ([], "fuse-50", ["head"], "linear"),
        (["--from", "fuse"], "fuse", ["head"], "linear"),
        (["--from", "none"], None, ["trunk"], "linear"),
        (["--head", "gru"], None, ["trunk", "head"], "gru"),
        (["--backbone", "resnet"], None, ["trunk"], "linear"),
        (["--recipe", "paper"], None, ["all"], "gru"),
    ],
)
def test_options_choose_another_start(
    work: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    start: str,
    stages: list[str],
    recipe: str,
) -> None:
    from click.testing import CliRunner

    given: list[Any] = []
    chosen: dict[str, Any] = {}

    def keep(run: Any, *_: Any, **settings: Any) -> None:
        given.append(run)
        chosen.update(settings)

    monkeypatch.setattr("edge_asc.cli.commands.train._train", keep)
    monkeypatch.setattr("edge_asc.cli.commands.train.print_trained", lambda *_, **__: None)
    output = tmp_path / "model"
    result = CliRunner().invoke(train_command, [str(work / "my sounds"), "--output", str(output), *options])
    assert result.exit_code == 0, result.output
    (run,) = given
    assert (run.initial.name if run.initial else None) == start
    assert [stage.name for stage in run.recipe.stages] == stages
    assert run.config.head == recipe
    assert chosen["cross_validate"]
    assert run.name == "my-sounds"
    assert all(stage.class_balance == 1.0 for stage in run.recipe.stages)  # it has the label other
    assert len(Dataset.open(work / "my sounds").clips) == 13  # the folder is as it was


def test_suspicious_clips_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    labels, shares = ("cat", "dog"), [0.02] * 9 + [0.97] * 7
    p = np.array([[1 - share, share] for share in shares])
    files = [Clip(f"cat/{i}.wav", "cat", str(i)) for i in range(9)] + [Clip("x\x1b.wav", "cat", "", "", 5.0, 10.0)] * 6
    files.append(Clip("dog/1.wav", "dog", "1"))
    predictions = Predictions.of("tiny", Ends(labels, 1.0, p), files, [1] * len(files), held_out=True)
    print_suspicious(predictions)
    first, *clips, last = capsys.readouterr().out.splitlines()
    assert first == "6 clips of 16 may have a wrong label; listen to them:"
    assert clips == ["  x\\x1b.wav from 5 s: labelled cat, sounds like dog (97%)"] * 5
    assert last == "  and 1 more"
    print_suspicious(Predictions.of("tiny", Ends(labels, 1.0, p[:9]), files[:9], [1] * 9, held_out=True))
    assert capsys.readouterr().out == ""
