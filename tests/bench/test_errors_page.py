"""The page about a training: errors on held-out clips, players, learning curves; and inputs that are not whole."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Literal

import click
import pytest
import soundfile
from click.testing import CliRunner, Result

from browser import Browser, View
from edge_asc.evaluation.document import HELD_OUT
from edge_asc.training.log import LOG
from edge_asc_bench import errors, players
from edge_asc_bench.commands.report import command
from reports import CLIPS, LABELS, make_evaluation, write_run

PLAY = """async () => {
  const players = [...document.querySelectorAll("audio")];
  await Promise.all(players.map(audio => new Promise(done => {
    audio.onloadedmetadata = audio.onerror = done;
    audio.preload = "auto";
    audio.load();
  })));
  return {
    ink: getComputedStyle(document.querySelector(".matrix tbody th")).color,
    seconds: players.map(audio => audio.duration),
    players: players.map(audio => audio.getBoundingClientRect().width),
  };
}"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a training on `my sounds`, with logs of the model and of a fold."""
    return write_run(tmp_path)


def report(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), standalone_mode=False)


def write_page(run: Path, *options: object) -> str:
    page = run / "errors.html"
    result = report(run, "--output", page, *options)
    assert result.exception is None, result.exception
    return page.read_text()


def find_audio(text: str) -> list[tuple[str, str]]:
    """Source and label of each player."""
    found = re.findall(r'<audio controls preload="none" src="([^"]*)" aria-label="([^"]*)"></audio>', text)
    return [(html.unescape(source), html.unescape(label)) for source, label in found]


def cells_of(text: str, title: str) -> list[list[str]]:
    table = text[text.index(title) :].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
    return [[html.unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in rows]


def test_confusions_recall_and_precision(run: Path) -> None:
    text = write_page(run)
    assert cells_of(text, "<h4>Confusion matrix") == [
        ["label", *LABELS],
        ["cat", "0", "1", "2"],
        ["dog <b>", "0", "1", "0"],
        ["rain", "1", "0", "1"],
    ]
    rows = cells_of(text, "<h4>Recall and precision")
    assert rows[1:] == [
        ["cat", "3", "0", "0.0", "1", "0.0"],
        ["dog <b>", "1", "1", "100.0", "2", "50.0"],
        ["rain", "2", "1", "50.0", "3", "33.3"],
    ]
    assert '<th scope="row">dog &lt;b&gt;</th>' in text
    assert "2 of 6 are right" in text
    assert "with the temperature 1.25" in text


def test_classes_are_in_markdown(run: Path) -> None:
    text = report(run, "--markdown").output
    assert "2 of 6 are right (tiny)." in text
    assert r"| dog \<b\> | 1 | 1 | 100.0 | 2 | 50.0 |" in text


def test_wrong_clips_have_players_that_play_the_files(run: Path) -> None:
    text = write_page(run)
    suspicious, _, others = text.partition("Other misclassified clips")
    ((source, label),) = find_audio(suspicious[suspicious.index("Clips whose label may be wrong") :])
    assert source == "../../my%20sounds/cat/a%20b%231.wav"
    assert (run / "../../my sounds/cat/a b#1.wav").is_file()
    assert label == "cat/a b#1.wav, labelled cat, sounds like dog <b>"
    assert [source.rpartition("/")[2] for source, _ in find_audio(others)] == [
        "x%22%3E%3Cscript%3Ealert%281%29%3C/script%3E.wav".rpartition("/")[2],
        "long.wav#t=5,10",
    ]
    assert "cat/long.wav</a>, 5 to 10 s" in others
    assert "dog &lt;b&gt; 98.0 %, cat 1.0 %, rain 1.0 %; fold 1" in suspicious


def test_names_are_text_and_nothing_is_loaded_from_elsewhere(run: Path) -> None:
    text = write_page(run)
    assert "dog <b>" not in text
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    (script,) = re.findall(r"<script[^>]*>(.*?)</script", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}';")
    assert policy.count("script-src") == 1
    text = text.replace(script, "")
    assert not re.search(r"\son\w+=", text)
    links = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?([^"\'\s)>]+)', text)
    assert all(link.startswith(("#", "../../my%20sounds/")) for link in links)


def test_sound_is_embedded_on_request(run: Path) -> None:
    sources = [source for source, _ in find_audio(write_page(run, "--embed-audio"))]
    assert len(sources) == 3
    decoded = [base64.b64decode(source.removeprefix("data:audio/wav;base64,"), validate=True) for source in sources]
    sounds = [soundfile.read(io.BytesIO(data)) for data in decoded]
    assert [(len(samples), rate) for samples, rate in sounds] == [(8000, 16000), (8000, 16000), (80000, 16000)]


def test_embedded_sound_is_bounded(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    help_text = command.get_help(click.Context(command, terminal_width=400))
    assert f"{players.LONGEST:.0f} s of each and {players.MOST_BYTES // 10**6} MB together" in help_text
    monkeypatch.setattr(players, "MOST_BYTES", 50_000)
    monkeypatch.setattr(players, "LONGEST", 0.25)
    text = write_page(run, "--embed-audio")
    sources = [source for source, _ in find_audio(text)]
    assert [source.startswith("data:") for source in sources] == [True, True, True]
    assert sum(map(len, sources)) <= 50_000
    monkeypatch.setattr(players, "MOST_BYTES", 12_000)
    text = write_page(run, "--embed-audio")
    sources = [source for source, _ in find_audio(text)]
    assert [source.startswith("data:") for source in sources] == [True, False, False]
    assert "2 players play the files themselves" in text


def test_lists_are_bounded(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(errors, "MOST_WRONG", 1)
    text = write_page(run)
    assert len(re.findall("<li>", text[text.index("Clips whose label may be wrong") :])) == 2
    assert "And 2 more, which are not shown." in text
    monkeypatch.setattr(errors, "MOST_LABELS", 2)
    text = write_page(run)
    assert "Confusion matrix" not in text
    assert cells_of(text, "<h4>Largest confusions")[1] == ["cat", "rain", "2", "3"]


def test_files_that_are_not_there_are_counted(run: Path, tmp_path: Path) -> None:
    result = report(run, "--output", run / "errors.html")
    assert "sound files that were not found: 1; give the folder of the recordings with --data" in result.output
    text = (run / "errors.html").read_text()
    assert "1 of 4 sound files were not found in" in text
    assert "the file was not found" in text
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "my sounds", moved)
    assert find_audio(write_page(run)) == []
    sources = [source for source, _ in find_audio(write_page(run, "--data", moved))]
    assert len(sources) == 3
    assert all(source.startswith("../../elsewhere/") for source in sources)


def test_run_and_recordings_move_together(run: Path, tmp_path: Path) -> None:
    place = tmp_path / "backup"
    place.mkdir()
    for name in ("my sounds", "runs"):
        shutil.move(tmp_path / name, place / name)
    assert len(find_audio(write_page(place / "runs/my"))) == 3


@pytest.mark.parametrize("name", ["cat/\0.wav", f"cat/{'x' * 5000}.wav", "cat/\udcff.wav", "cat/\u202egpj.wav"])
def test_names_that_no_file_has(run: Path, name: str) -> None:
    value = json.loads((run / HELD_OUT).read_text())
    value["predictions"][0]["clips"][0]["file"] = name
    (run / HELD_OUT).write_text(json.dumps(value))
    text = write_page(run)
    assert "2 of 4 sound files were not found" in text
    assert not set(text) & set("\0\u202e")


def test_a_name_that_is_not_unicode_is_played(run: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"cat/h\xfchner.wav")
    (tmp_path / "my sounds/cat/a b#1.wav").rename(tmp_path / "my sounds" / name)
    make_evaluation(tmp_path / "my sounds", [(name, *CLIPS[0][1:]), *CLIPS[1:]]).write(run)
    (source, label), *_ = find_audio(write_page(run))
    assert source == "../../my%20sounds/cat/h%FChner.wav"
    assert label.startswith("cat/h\\xfchner.wav, labelled cat")


def test_without_a_folder_nothing_is_searched(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    value = json.loads((run / HELD_OUT).read_text())
    (run / HELD_OUT).write_text(json.dumps({**value, "folder": ""}))
    monkeypatch.chdir(run / "../../my sounds")
    text = write_page(run)
    assert find_audio(text) == []
    assert "not found in an unknown folder" in text
    (run / HELD_OUT).write_text(json.dumps({**value, "folder": "\0"}))
    assert find_audio(write_page(run)) == []


def test_a_file_that_is_no_sound_is_linked(run: Path, tmp_path: Path) -> None:
    (tmp_path / "my sounds/cat/a b#1.wav").write_bytes(b"no sound at all")
    source, _ = find_audio(write_page(run, "--embed-audio"))[0]
    assert source == "../../my%20sounds/cat/a%20b%231.wav"


def test_learning_curves_of_the_model_and_its_folds(run: Path) -> None:
    text = write_page(run)
    rows = cells_of(text, "At the end of each stage")
    assert rows[1:] == [
        ["my", "trunk", "1", "1.500", "25.0", "–"],
        ["my", "head", "1", "0.500", "75.0", "–"],
        ["fold 1", "trunk", "1", "1.500", "25.0", "50.0"],
        ["fold 1", "head", "1", "0.600", "75.0", "62.5"],
    ]
    drawn = text[text.index("Learning curves of my") :]
    for name in ("loss", "accuracy, %", "held-out clips, models of the folds", "trunk", "head"):
        assert f">{name}</text>" in drawn


def test_a_run_without_held_out_clips_shows_its_curves(run: Path) -> None:
    (run / HELD_OUT).unlink()
    text = write_page(run)
    assert "no clips were held out" in text
    assert "train DATA --cross-validate" in text
    assert "At the end of each stage" in text
    assert "Confusion matrix" not in text


def test_a_run_without_a_log_shows_its_errors(run: Path) -> None:
    shutil.rmtree(run / "fold1")
    (run / LOG).unlink()
    text = write_page(run)
    assert "Confusion matrix" in text
    assert "The log of the training is not there" in text


@pytest.mark.parametrize("markdown", [False, True])
def test_an_evaluation_without_single_clips_is_shown_as_before(run: Path, tmp_path: Path, markdown: bool) -> None:
    value = json.loads((run / HELD_OUT).read_text())
    del value["folder"], value["predictions"]
    older = tmp_path / "older.json"
    older.write_text(json.dumps(value))
    result = report(older, *(["--markdown"] if markdown else ["--output", run / "errors.html"]))
    assert result.exception is None
    text = result.output if markdown else (run / "errors.html").read_text()
    assert "Accuracy on sounds" in text
    assert "Errors of" not in text
    assert "are right" not in text


@pytest.mark.parametrize("markdown", [False, True])
def test_quantisers_are_shown_with_their_files(run: Path, tmp_path: Path, markdown: bool) -> None:
    value = json.loads((run / HELD_OUT).read_text())
    file = {"bytes": 219_400, "integer": 52, "float": 1, "moves": 28, "partitions": None, "outside": 0}
    value["quantisation"] = {
        "calibration": "16 clips",
        "steps": 912,
        "versions": {"nncf": "3.4.0", "onnxruntime": "1.32.0"},
        "files": {"nncf mixed": file},
        "absent": {"nncf performance": "it crashed"},
    }
    compared = tmp_path / "compared.json"
    compared.write_text(json.dumps(value))
    result = report(compared, *(["--markdown"] if markdown else ["--output", run / "errors.html"]))
    assert result.exception is None
    text = result.output if markdown else (run / "errors.html").read_text()
    row = ["nncf mixed", "219", "52", "1", "28", "–", "0"]
    cells = [
        re.sub(r"<[^>]+>", "", line.replace("</th><td>", "|").replace("</td><td>", "|")) for line in text.splitlines()
    ]
    assert row in [[cell.strip() for cell in line.strip("| ").split("|")] for line in cells]
    assert "alibrated on 16 clips: 912 steps" in text
    assert "onnxruntime 1.32.0." in text
    assert "nncf performance is missing: it crashed" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda clip, _: clip.update(file="../secret.wav"), r"clips\[0\]\.file: got '../secret.wav'"),
        (lambda clip, _: clip.update(file="/etc/passwd"), r"clips\[0\]\.file: got '/etc/passwd'"),
        (lambda clip, _: clip.update(start=-1), r"clips\[0\]\.start: got -1"),
        (lambda clip, _: clip.update(start=2, end=1), r"clips\[0\]\.start: got 2"),
        (lambda clip, _: clip.update(probabilities={}), r"clips\[0\]\.probabilities: expected shares"),
        (lambda clip, _: clip.update(probabilities={"cat": 1.5}), r"clips\[0\]\.probabilities: expected shares"),
        (lambda clip, _: clip.update(label="cow"), r"clips\[0\]: got 'cow', expected labels of the confusions"),
        (lambda clip, _: clip.update(probabilities={"cat": 0.9}), r"clips\[0\]: is a clip more than the confusions"),
        (lambda clip, _: clip.pop("label"), r"clips\[0\]: lacks the field label"),
        (lambda _, each: each["confusions"]["counts"].pop(), r"confusions: expected a row of 3 counts"),
        (lambda _, each: each["confusions"].update(counts=[[-1] * 3] * 3), r"confusions: expected a row of 3 counts"),
    ],
)
def test_a_damaged_document_is_named(run: Path, change: Any, message: str) -> None:
    value = json.loads((run / HELD_OUT).read_text())
    change(value["predictions"][0]["clips"][0], value["predictions"][0])
    (run / HELD_OUT).write_text(json.dumps(value))
    result = report(run, "--output", run / "errors.html")
    assert re.search(f"{HELD_OUT}: predictions.*{message}", str(result.exception)), result.exception
    assert not (run / "errors.html").exists()


def test_other_damage_is_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = report(tmp_path / "empty", "--output", tmp_path / "page.html")
    assert f"empty: holds neither {HELD_OUT} nor {LOG}; expected the folder" in str(result.exception)
    (run / "fold1" / LOG).write_text("number\n1\n")
    result = report(run, "--output", tmp_path / "page.html")
    assert f"fold1/{LOG}: not the log of a training" in str(result.exception)
    (run / HELD_OUT).write_text("{")
    shutil.rmtree(run / "fold1")
    result = report(run, "--output", tmp_path / "page.html")
    assert f"{HELD_OUT}: not a result" in str(result.exception)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_and_plays_it(run: Path, browser: Browser, scheme: Literal["light", "dark"]) -> None:
    """Sound plays, linked and embedded, in players that fit a phone."""
    write_page(run, *(["--embed-audio"] if scheme == "dark" else []))
    seen = browser.inspect(run / "errors.html", View(390, scheme), script=PLAY, with_axe=False).result
    assert seen["ink"] == ("rgb(232, 237, 242)" if scheme == "dark" else "rgb(22, 32, 43)")
    assert seen["seconds"] == [0.5, 0.5, 5.0 if scheme == "dark" else 10.0]
    assert all(250 < width < 390 for width in seen["players"])
