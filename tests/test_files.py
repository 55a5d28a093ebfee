from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_asc import files
from edge_asc.files import atomic_path, locked, try_lock, write_json

HOLDER = """
import sys
from pathlib import Path
from edge_asc.files import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


class FakeMsvcrt(SimpleNamespace):
    """Windows' locks of bytes: one open file at a time holds a byte, until it gives it back."""

    LK_NBLCK, LK_UNLCK = 2, 0

    def __init__(self) -> None:
        super().__init__(holders={})

    def locking(self, descriptor: int, mode: int, count: int) -> None:
        assert count == 1
        inode = os.fstat(descriptor).st_ino
        byte = (inode, os.lseek(descriptor, 0, os.SEEK_CUR))
        if mode == self.LK_UNLCK:
            assert self.holders.pop(byte) == descriptor
        elif byte in self.holders:
            raise PermissionError(13, "Permission denied")
        else:
            self.holders[byte] = descriptor


@pytest.fixture(params=["native", "windows"])
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Locks of this system, and those of Windows on a stand-in of its library."""
    if request.param == "windows" and sys.platform != "win32":
        monkeypatch.setitem(sys.modules, "msvcrt", FakeMsvcrt())
        monkeypatch.setitem(sys.modules, "fcntl", None)
        monkeypatch.setattr(files, "sys", SimpleNamespace(platform="win32"))
    return str(request.param)


@pytest.mark.usefixtures("platform")
def test_one_lock_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    for _ in range(2):
        with try_lock(path) as first:
            assert first is not None
            with try_lock(path) as second:
                assert second is None
            with try_lock(path) as third:  # which the second did not end
                assert third is None
        with locked(path), try_lock(path) as second:
            assert second is None


@pytest.mark.usefixtures("platform")
def test_a_lock_ends_with_an_error(tmp_path: Path) -> None:
    for lock in (locked, try_lock):
        with pytest.raises(KeyError), lock(tmp_path / "lock"):
            raise KeyError
    with try_lock(tmp_path / "lock") as held:
        assert held is not None


@pytest.mark.usefixtures("platform")
def test_content_of_a_lock_file_stays_and_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text("123")
    with try_lock(path) as file:
        assert file is not None
        assert path.read_text() == "123"
        file.truncate(0)
        file.write(b"4")
    assert path.read_text() == "4"


@pytest.mark.usefixtures("platform")
def test_locked_waits(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    order = []

    def wait() -> None:
        with locked(path):
            order.append("second")

    with locked(path):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(4 * files.POLL)
        assert thread.is_alive()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with try_lock(path) as held:
            assert held is None
        process.kill()
        process.wait()
        with try_lock(path) as held:
            assert held is not None


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, [1])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, [float("nan")])

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "[\n 1\n]\n"
    assert list(path.parent.iterdir()) == [path]
