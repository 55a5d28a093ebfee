"""Output folders: tried before the work begins, and written by one process at a time."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from edge_asc.errors import OutputError
from edge_asc.files import explain_failure, try_lock
from edge_asc.scratch import make_name, remove_leftovers

LOCK = ".edge-asc-lock"
# Bytes that are written to try a folder.
PROBE = 1 << 18

# The thread that holds each folder, and how often it entered.
_held: dict[Path, tuple[int, int]] = {}
_guard = threading.Lock()


@contextmanager
def claim_folder(folder: Path, needed: int = PROBE) -> Iterator[None]:
    """Make a folder, try to write to it, and keep other processes from writing to it until the block ends.

    What an ended process has left in it is removed. A folder that is made here, and is empty at the end, is removed. A
    thread may claim a folder again that it has claimed.

    Args:
        folder: for the results.
        needed: bytes that the results take.

    Raises:
        OutputError: the folder cannot be written, its disk has less room, or another process has claimed it.
    """
    made = _make_folder(folder)
    key = folder.resolve()
    with ExitStack() as stack:
        stack.callback(_remove_empty, made)
        probe_folder(folder, needed)
        stack.enter_context(_hold(key, folder))
        yield


def probe_folder(folder: Path, needed: int = PROBE) -> None:
    """Make sure that a folder, which exists, can be written.

    Raises:
        OutputError: it cannot, or its disk has less than `needed` bytes free.
    """
    try:
        try_writing(folder, min(needed, PROBE))
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise explain_failure(folder, error) from error
    if free < needed:
        raise OutputError(
            f"{folder}: {free / 1e6:.1f} MB are free, the results take {needed / 1e6:.1f} MB; free some space there"
        )


def try_writing(folder: Path, size: int = PROBE) -> None:
    """Write so many bytes to a new file in a folder, and remove it.

    Raises:
        OSError: that is not possible.
    """
    probe = folder / make_name()
    try:
        with probe.open("xb") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and its parents; return those that were missing, the innermost first."""
    folder = folder.absolute()
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _remove_empty(missing)
        raise explain_failure(folder, error) from error
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with suppress(OSError):
        for folder in folders:
            folder.rmdir()


@contextmanager
def _hold(key: Path, folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which this thread may hold already."""
    thread = threading.get_ident()
    with _guard:
        owner, count = _held.get(key, (thread, 0))
        if owner != thread:
            raise OutputError(f"{folder}: another thread of this process writes to it; choose another folder")
        _held[key] = thread, count + 1
    try:
        if count:
            yield
            return
        with _lock(folder) as file:
            try:
                remove_leftovers(folder)
                yield
            finally:
                _delete(folder / LOCK, file)
    finally:
        with _guard:
            if count:
                _held[key] = thread, count
            else:
                del _held[key]


@contextmanager
def _lock(folder: Path) -> Iterator[BinaryIO]:
    """Lock the folder's lock file, and write this process into it."""
    while True:
        with try_lock(folder / LOCK) as file:
            if file is None:
                raise OutputError(f"{folder}: {_describe_owner(folder / LOCK)}; wait for it, or choose another folder")
            if not _is_in_place(folder / LOCK, file):  # its holder has removed it since it was opened
                continue
            file.seek(0)
            file.truncate()
            file.write(json.dumps(_describe_process()).encode())
            file.flush()
            yield file
            return


def _is_in_place(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _delete(path: Path, file: BinaryIO) -> None:
    """Remove a lock file while its lock is held; Windows, which does not remove open files, keeps an empty one."""
    with suppress(OSError):
        file.seek(0)
        file.truncate()
        path.unlink()


def _describe_process() -> dict[str, str | int]:
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:3]]) if sys.argv else "python"
    return {"process": os.getpid(), "command": command, "since": datetime.now(UTC).isoformat(timespec="seconds")}


def _describe_owner(path: Path) -> str:
    try:
        owner = json.loads(path.read_bytes())
        return f"process {owner['process']} ({owner['command']}, since {owner['since']}) writes to it"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process writes to it"
