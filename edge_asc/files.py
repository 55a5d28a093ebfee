"""Files that appear whole or not at all, and their hashes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from edge_asc.errors import EdgeAscError, OutputError
from edge_asc.scratch import make_name, sweep_once

# Between two tries of a lock, and the longest wait for one, s.
POLL, LOCK_TIMEOUT = 0.05, 3600.0
# Errors of a disk, a quota or a file that has no room left.
FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
# Errors of a file system that has no locks.
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
# Nobody can read a locked byte on Windows: this one lies behind all content.
LOCKED_BYTE = 2**30


@contextmanager
def atomic_path(path: Path, mode: int = 0o644) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success, sync it to disk and move it to `path`, with this mode.

    On any error, and on Ctrl-C, the temporary file is removed and `path` stays unchanged. What a process that was
    killed has left is removed by the next one that writes to the same folder.

    Raises:
        OutputError: the folder cannot be written, or its disk is full.
    """
    temporary = path.parent / make_name(path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_once(path.parent)
        temporary.touch(mode, exist_ok=False)
    except OSError as error:
        raise explain_failure(path, error) from error
    try:
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs writable files alone
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except OSError as error:
        if isinstance(error, OutputError) or (error.errno not in FULL and str(temporary) != error.filename):
            raise
        raise explain_failure(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def explain_failure(path: Path, error: OSError) -> OutputError:
    """Return the error of a file or folder that could not be written: why, and what to do."""
    advice = "free some space there" if error.errno in FULL else "choose a place that you may write to"
    return OutputError(f"{path}: cannot be written ({error.strerror or error}); {advice}, then run the command again")


@contextmanager
def locked(path: Path, timeout: float = LOCK_TIMEOUT) -> Iterator[BinaryIO]:
    """Hold the lock of a file and yield the file; wait until no other process holds it.

    The file is created if it is missing, and its content is kept. The lock ends with the block or with the process.

    Args:
        path: of the file.
        timeout: longest wait, s.

    Raises:
        EdgeAscError: another process has held it all the time.
    """
    deadline = time.monotonic() + timeout
    with _lock_file(path) as file:
        while not _acquire(file):
            if time.monotonic() > deadline:
                raise EdgeAscError(
                    f"{path}: another process has held this lock for {timeout:g} s; end it, or wait until it is done"
                )
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
    """Take the lock of an open file, or return False if another open file has it.

    On a file system without locks, every process gets it.
    """
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
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return True


def _release(file: BinaryIO) -> None:
    """Give the lock back, where closing the file does not do so at once."""
    if sys.platform == "win32":
        import msvcrt

        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)


def write_bytes(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` atomically, with this mode."""
    with atomic_path(path, mode) as temporary:
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
