"""`edge-asc adapt`: from a folder of sounds to an artefact with its classes, without torch and onnx."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edge_asc import StreamingClassifier, audio
from edge_asc.engine import open_runtime
from edge_asc.manifest import Manifest
from edge_asc.zoo import zoo_path

if TYPE_CHECKING:
    from artefacts import Artefacts

# What no device has. None makes a module look as if it were not installed.
ABSENT = ("torch", "onnx", "sklearn", "safetensors", "flatbuffers", "msgspec")
SUFFIXES = {"tflite": "ai_edge_litert", "onnx": "onnxruntime"}
KINDS = ("hiss", "tone", "clicks")

pytestmark = pytest.mark.skipif(find_spec("ai_edge_litert") is None, reason="ai_edge_litert is not installed")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); from edge_asc.cli import main; main()"
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def make_sound(kind: str, number: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return 1 s of noise, a tone or clicks."""
    generator = np.random.default_rng([KINDS.index(kind), number])
    time = np.arange(16000) / 16000
    samples = generator.normal(0.0, 0.1, len(time))
    if kind == "tone":
        samples = 0.01 * samples + 0.3 * np.sin(2.0 * np.pi * (400.0 + 50.0 * number) * time)
    elif kind == "clicks":
        samples *= time * 7.0 % 1.0 < 0.1
    return samples.astype(np.float32)


def write_sounds(folder: Path, kind: str, count: int) -> None:
    for number in range(count):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        audio.write(folder / kind / f"{number}.wav", make_sound(kind, number))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapt") / "my sounds"
    write_sounds(folder, "hiss", 4)
    write_sounds(folder, "tone", 4)
    return folder


@pytest.fixture(scope="module", autouse=True)
def _cache(sounds: Path) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_ASC_CACHE", str(sounds.parent / "cache"))
        yield


@pytest.fixture(scope="module")
def bundle(sounds: Path) -> tuple[Path, dict[str, Any]]:
    """A folder that `adapt` wrote, and what it printed."""
    folder = sounds.parent / "bundle"
    done = run("adapt", sounds, "--output", folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_result_is_a_bundle_that_knows_the_new_classes(bundle: tuple[Path, dict[str, Any]]) -> None:
    folder, document = bundle
    assert document["labels"] == ["hiss", "tone"]
    assert document["held_out"]["clips"] == 8
    assert document["held_out"]["file"] >= 7
    assert document["held_out"]["before"] is None
    (name,) = Manifest.read(folder).files
    assert folder / name == Path(document["file"])
    assert {path.name for path in folder.iterdir()} == {name, "manifest.json"}
    classifier = StreamingClassifier.from_artefact(folder)
    assert classifier.push(make_sound("tone", 9))[-1].label == "tone"
    assert classifier.contract.events is None


def test_the_contract_says_how_it_was_adapted(bundle: tuple[Path, dict[str, Any]]) -> None:
    contract = open_runtime(bundle[0]).contract
    base = open_runtime("fuse-50-int8").contract
    adaptation, measured = contract.provenance.adaptation, contract.measured.adapted
    assert adaptation is not None
    assert measured is not None
    assert (adaptation.base, adaptation.base_sha256, adaptation.clips) == ("fuse-50", base.file_sha256, 8)
    assert adaptation.base_checkpoint_sha256 == base.provenance.checkpoint_sha256
    assert contract.provenance.checkpoint_sha256 != base.provenance.checkpoint_sha256
    assert (contract.name, contract.scheme, contract.front_end) == ("my-sounds", base.scheme, base.front_end)
    assert measured.held_out_clips == 8
    assert measured.agreement >= 0.9
    assert contract.measured.parity is None


def test_every_command_of_a_device_runs_it(bundle: tuple[Path, dict[str, Any]], sounds: Path) -> None:
    classified = run("classify", sounds / "hiss/0.wav", "--model", bundle[0], "--json")
    assert json.loads(classified.stdout)["decisions"][-1]["label"] == "hiss"
    listened = run("listen", sounds / "hiss", "--model", bundle[0])
    assert listened.returncode == 0, listened.stderr


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_other_sounds_are_a_class_with_a_threshold(suffix: str, sounds: Path, tmp_path: Path) -> None:
    if find_spec(SUFFIXES[suffix]) is None:
        pytest.skip(f"{SUFFIXES[suffix]} is not installed")
    write_sounds(tmp_path / "background", "clicks", 4)
    (base,) = (zoo_path("fuse-50") or Path()).glob(f"int8/*.{suffix}")
    output = tmp_path / f"adapted.{suffix}"
    done = run("adapt", sounds, "--model", base, "--other", tmp_path / "background", "--output", output)
    assert done.returncode == 0, done.stderr
    assert "next:" in done.stdout
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [output.name]
    contract = open_runtime(output).contract
    assert contract.labels == ("hiss", "tone", "other")
    assert contract.unknown is not None
    assert contract.unknown.label == "other"
    assert "8 held-out clips" in contract.unknown.measured_on


def test_the_base_says_how_good_it_was_if_it_knows_the_labels(sounds: Path, tmp_path: Path) -> None:
    shutil.copytree(sounds / "hiss", tmp_path / "sounds/rain")
    shutil.copytree(sounds / "tone", tmp_path / "sounds/siren")
    done = run("adapt", tmp_path / "sounds", "--output", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    before = json.loads(done.stdout)["held_out"]["before"]
    model = StreamingClassifier.from_artefact("fuse-50-int8", decision="mean")
    expected = 0
    for kind, label in (("hiss", "rain"), ("tone", "siren")):
        for number in range(4):
            model.reset()
            expected += model.push(make_sound(kind, number))[-1].label == label
    assert before == expected


def test_single_recordings_give_a_model_without_an_accuracy(tmp_path: Path) -> None:
    write_sounds(tmp_path / "sounds", "hiss", 1)
    write_sounds(tmp_path / "sounds", "tone", 1)
    done = run("adapt", tmp_path / "sounds", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "the accuracy of this model is not known" in done.stderr
    assert open_runtime(tmp_path / "out").contract.temperature == 1.0


def test_no_file_that_exists_is_overwritten(sounds: Path, tmp_path: Path) -> None:
    shutil.copytree((zoo_path("fuse-50") or Path()) / "int8", tmp_path / "base")
    before = {path: path.read_bytes() for path in (tmp_path / "base").iterdir()}
    base = tmp_path / "base/fuse-50-int8.tflite"
    mine = tmp_path / "mine.tflite"
    mine.write_text("not a model")
    for output, message in (
        (base, "is the artefact that would be adapted"),
        (tmp_path / "base", "expected a folder without other artefacts"),
        (mine, "exists, and would be lost; choose another --output"),
        (tmp_path / "new.onnx", "expected an output that ends in .tflite"),
    ):
        done = run("adapt", sounds, "--model", base, "--output", output)
        assert done.returncode == 2
        assert message in done.stderr
    assert {path: path.read_bytes() for path in (tmp_path / "base").iterdir()} == before
    assert mine.read_text() == "not a model"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base", "mine.tflite"]


def test_inputs_that_cannot_be_used_are_named(tmp_path: Path, artefacts: Artefacts) -> None:
    write_sounds(tmp_path / "one", "hiss", 3)
    write_sounds(tmp_path / "broken", "hiss", 2)
    write_sounds(tmp_path / "broken", "tone", 2)
    (tmp_path / "broken/tone/0.wav").write_bytes(b"RIFF")
    (tmp_path / "empty").mkdir()
    for arguments, message in (
        ((tmp_path / "one",), "expected two classes or more"),
        ((tmp_path / "broken",), "0.wav"),
        ((tmp_path / "one", "--other", tmp_path / "empty"), "holds no sound files"),
        ((tmp_path / "one", "--model", artefacts.folder / "step-int8.tflite"), "recurrent layers"),
    ):
        done = run("adapt", *arguments, "--output", tmp_path / "out")
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert not (tmp_path / "out").exists()
