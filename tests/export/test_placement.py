"""Artefacts take their place in a folder: what is replaced, what is refused, and what an interruption leaves."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from artefacts import Artefacts
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, OutputError
from edge_asc.files import sha256
from edge_asc.manifest import MANIFEST, PENDING, Entry, Manifest, verify
from edge_asc.output import claim_folder
from edge_asc.scratch import scratch_folder
from edge_asc_export.placement import check_output, finish, place


@pytest.fixture
def entry(artefacts: Artefacts) -> Entry:
    path = artefacts.folder / "step-int8.tflite"
    return Entry("", 0, "tflite", "litert", open_runtime(path).contract)


def put(output: Path, entry: Entry, files: dict[str, str]) -> None:
    """Export files of this content."""
    with claim_folder(output), scratch_folder(output) as staging:
        for name, text in files.items():
            (staging / name).write_text(text)
        entries = {name: replace(entry, sha256=sha256(staging / name)) for name in files}
        place(staging, output, Manifest("m", entries))


def read(output: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in output.iterdir() if path.is_file() and path.name != MANIFEST}


def test_files_of_an_earlier_export_alone_are_replaced_and_removed(entry: Entry, tmp_path: Path) -> None:
    put(tmp_path / "out", entry, {"a.tflite": "1", "b.tflite": "1"})
    (tmp_path / "out/index.html").write_text("mine")
    put(tmp_path / "out", entry, {"a.tflite": "2"})
    assert read(tmp_path / "out") == {"a.tflite": "2", "index.html": "mine"}
    put(tmp_path / "out", entry, {"b.tflite": "3"})
    assert read(tmp_path / "out") == {"b.tflite": "3", "index.html": "mine"}
    assert set(Manifest.read(tmp_path / "out").files) == {"b.tflite"}


@pytest.mark.parametrize(
    "manifest",
    [
        "{}",
        "not JSON",
        '{"name": "web app", "icons": []}',
        '{"kind": "export", "schema_version": 1, "files": {"index.html": {}}}',
        '{"kind": "export", "schema_version": 1, "name": "x", "plan": {}, "files": {"index.html": {"sha256": "0"}}}',
        '{"kind": "export", "files": ["index.html"]}',
    ],
)
def test_a_manifest_of_another_tool_is_refused_and_nothing_is_touched(
    manifest: str, entry: Entry, tmp_path: Path
) -> None:
    output = tmp_path / "webapp"
    output.mkdir()
    (output / MANIFEST).write_text(manifest)
    (output / "index.html").write_text("mine")
    with pytest.raises(OutputError, match=r"not a manifest that an export wrote.*choose another --output"):
        put(output, entry, {"a.tflite": "1"})
    assert {path.name: path.read_text() for path in output.iterdir()} == {MANIFEST: manifest, "index.html": "mine"}


def test_a_file_that_is_in_the_way_is_refused(entry: Entry, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "a.tflite").write_text("mine")
    with pytest.raises(OutputError, match=r"a\.tflite: is in the way"):
        put(output, entry, {"a.tflite": "1"})
    assert read(output) == {"a.tflite": "mine"}
    put(output, entry, {"b.tflite": "1"})
    (output / "b.tflite").write_text("edited")
    with pytest.raises(OutputError, match=r"b\.tflite: is in the way.*was changed since"):
        put(output, entry, {"b.tflite": "2"})
    (output / "b.tflite").unlink()
    (output / "b.tflite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=r"b\.tflite: is in the way"):
        put(output, entry, {"b.tflite": "2"})
    assert not (tmp_path / "elsewhere").exists()


def test_an_obsolete_file_that_was_edited_stays(entry: Entry, tmp_path: Path) -> None:
    put(tmp_path, entry, {"a.tflite": "1"})
    (tmp_path / "a.tflite").write_text("edited")
    put(tmp_path, entry, {"b.tflite": "2"})
    assert read(tmp_path) == {"a.tflite": "edited", "b.tflite": "2"}


class InterruptionError(Exception):
    pass


# Two files are written, with two changes each; a folder renamed; two artefacts, the manifest, and what is left over.
STEPS = 12


@pytest.mark.parametrize("step", range(STEPS))
def test_an_interruption_at_any_step_leaves_whole_artefacts(
    step: int, entry: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change of the folder is a step; the process ends before one of them."""
    output = tmp_path / "out"
    put(output, entry, {"a.tflite": "1", "b.tflite": "1"})
    done = 0

    def interrupted(function: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **keywords: object) -> object:
            nonlocal done
            if done == step:
                raise InterruptionError
            done += 1
            return function(*arguments, **keywords)

        return call

    with monkeypatch.context() as patch:
        for name in ("replace", "rename", "unlink"):
            patch.setattr(Path, name, interrupted(getattr(Path, name)))
        patch.setattr(shutil, "rmtree", interrupted(shutil.rmtree))
        staging = output / ".edge-asc-test"
        staging.mkdir()
        for name in ("a.tflite", "c.tflite"):
            (staging / name).write_text("2")
        entries = {name: replace(entry, sha256=sha256(staging / name)) for name in ("a.tflite", "c.tflite")}
        with pytest.raises(InterruptionError):
            place(staging, output, Manifest("m", entries))
    files = Manifest.read(output).files
    for name in files:
        verify(output / name)
    finish(output)
    assert not (output / PENDING).exists()
    for name in Manifest.read(output).files:
        verify(output / name)
    expected = {"a.tflite": "1", "b.tflite": "1"} if staging.exists() else {"a.tflite": "2", "c.tflite": "2"}
    assert {name: text for name, text in read(output).items() if not name.startswith(".edge-asc-")} == expected


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "sub/x", "C:x", "sub\\x", "x\0", "", ".", "..", "CON", "nul.tflite", "com1.onnx", "x.", "x ", ".x"],
)
def test_names_that_lead_outside_are_refused(name: str, entry: Entry, tmp_path: Path) -> None:
    value = Manifest("m", {name: replace(entry, sha256="0" * 64)}).to_json()
    (tmp_path / MANIFEST).write_text(json.dumps(value))
    with pytest.raises(ContractError, match="expected names of files beside it"):
        Manifest.read(tmp_path)


def test_a_link_that_leads_outside_is_refused_although_its_hash_is_right(entry: Entry, tmp_path: Path) -> None:
    put(tmp_path / "out", entry, {"a.tflite": "1"})
    (tmp_path / "out/a.tflite").rename(tmp_path / "a.tflite")
    (tmp_path / "out/a.tflite").symlink_to(tmp_path / "a.tflite")
    with pytest.raises(ContractError, match="outside of its bundle"):
        verify(tmp_path / "out/a.tflite")


def test_names_are_checked_before_the_work(entry: Entry, tmp_path: Path) -> None:
    check_output(tmp_path / "none", ["a.tflite"])
    put(tmp_path, entry, {"a.tflite": "1"})
    check_output(tmp_path, ["a.tflite", "b.tflite"])
