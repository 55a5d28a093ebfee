"""Outputs are tried before the work, and results are never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edge_asc.cli.output import append_text, check_output, save, save_json
from edge_asc.errors import EdgeAscError


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text("old")
    (tmp_path / "link.json").symlink_to("old.json")
    for path in ("new.json", "a/b/new.json", "old.json", "link.json"):
        check_output(tmp_path / path)
    check_output(tmp_path, folder=True)
    check_output(Path(os.devnull))
    assert {path.name for path in tmp_path.iterdir()} == {"old.json", "link.json"}
    save(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "old.json").read_text() == "new"
    append_text(tmp_path / "old.json", " and \udcdf")
    assert (tmp_path / "old.json").read_text() == "new and \\udcdf"


@pytest.mark.parametrize(
    ("path", "folder", "message"),
    [
        ("folder", False, "is a folder, expected a file"),
        ("file", True, "is a file, expected a folder"),
        ("file/below", False, "cannot be written"),
        ("x" * 300, False, "cannot be written .*too long"),
        ("/dev/full", False, "cannot be written .*No space left"),
        ("/proc/x", False, "cannot be written"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, path: str, folder: bool, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(EdgeAscError, match=message):
        check_output(tmp_path / path, folder=folder)


def test_a_result_that_cannot_be_written_is_kept_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(EdgeAscError, match="the result is kept in ") as caught:
        save_json(Path("/dev/full"), {"a": 1})
    (kept,) = tmp_path.iterdir()
    assert str(kept) in str(caught.value)
    assert json.loads(kept.read_text()) == {"a": 1}


def test_the_last_resort_is_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(EdgeAscError, match="on standard output alone"):
        save_json(Path("/dev/full"), {"a": 1})
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_devices_stay_devices() -> None:
    save(Path(os.devnull), b"data")
    assert Path(os.devnull).is_char_device()
