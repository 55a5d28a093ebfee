"""The log of a training."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asc.errors import EdgeAscError
from edge_asc.training import log
from edge_asc.training.listener import Epoch
from edge_asc.training.log import LOG, read_log, write_log

EPOCHS = [Epoch(1, "trunk", 1.5, 0.25, 0.001, 0.5, 100), Epoch(2, "head", 0.75, 0.5, 0.01, 0.25, 200, 0.625)]


def test_a_log_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_log(tmp_path, EPOCHS)
    assert read_log(tmp_path) == EPOCHS
    assert (tmp_path / LOG).read_text().splitlines()[1] == "1,trunk,1.5,0.25,0.001,0.5,100,"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: b"", "not enough values"),
        (lambda data: data[: len(data) - 12], "line 3: not enough values"),
        (lambda data: data.replace(b"0.75", b"much"), "line 3: could not convert string to float: 'much'"),
        (lambda data: data.replace(b"0.75", b"nan"), "line 3: got a number that is not finite"),
        (lambda data: b"a,b\n1,2\n", "its first line is not number,stage,loss"),
        (lambda data: b"\xff" + data, "codec can't decode"),
        (lambda data: data + b"x" * 1000, "it has more than"),
    ],
)
def test_a_damaged_log_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: object, message: str) -> None:
    assert callable(damage)
    monkeypatch.setattr(log, "LARGEST", 500)
    write_log(tmp_path, EPOCHS)
    path = tmp_path / LOG
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(EdgeAscError, match=f"{LOG}: not the log of a training .*{message}.*copy the folder again"):
        read_log(tmp_path)


def test_a_log_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="cannot be read"):
        read_log(tmp_path)
