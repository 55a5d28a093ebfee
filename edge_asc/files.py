"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

POLL = 0.05  # s between two tries of a lock
# Nobody can read a locked byte on Windows: this one lies behind all content.
LOCKED_BYTE = 2**30


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success, sync it to disk and move it to `path`.

    On any error, and on Ctrl-C, the temporary file is removed and `path` stays unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs writable files alone
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[BinaryIO]:
    """Hold the lock of a file and yield the file; wait until no other process holds it.

    The file is created if it is missing, and its content is kept. The lock ends with the block or with the process.
    """
    with _lock_file(path) as file:
        while not _acquire(file):
            time.sleep(POLL)
        try:
            yield file
        finally:
            _release(file)


@contextmanager
def try_lock(path: Path) -> Iterator[BinaryIO | None]:
    """Hold the lock of a file and yield the file, or yield None at once if another process holds it.

    On POSIX a child process that inherits the descriptor holds the lock, too, and keeps it after the block.
    """
    with _lock_file(path) as file:
        if not _acquire(file):
            yield None
            return
        try:
            yield file
        finally:
            _release(file)


def _lock_file(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a+b")


def _acquire(file: BinaryIO) -> bool:
    """Take the lock of an open file, or return False if another open file has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _release(file: BinaryIO) -> None:
    """Give the lock back, where closing the file does not do so at once."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def identity(path: Path) -> tuple[str, int]:
    """Return the SHA-256 and the size, bytes, of a file or of a folder with all its files."""
    if path.is_file():
        return sha256(path), path.stat().st_size
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = "".join(f"{sha256(file)} {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest(), sum(file.stat().st_size for file in files)


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON to `path` atomically.

    Raises:
        ValueError: the value holds NaN or an infinity.
    """
    write_bytes(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
