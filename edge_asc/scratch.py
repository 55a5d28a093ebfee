"""Temporary files and folders, each named after its process: a later process removes those of an ended one.

A name holds the machine, the process and the time at which that started, so that nothing of a running process, of
another program or of another user is ever removed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = ".edge-asc-"
NAME = re.compile(r"\.edge-asc-([0-9a-f]{8})-(\d+)-(\d+)-[0-9a-f]{8}(?:\.[^/\\]*)?")
# What another machine, or another container, has left is removed when it is older than this, s.
FOREIGN_AGE = 24 * 3600.0
# The kernel's list of processes, on Linux.
PROC = Path("/proc")

_swept: set[Path] = set()


def make_name(suffix: str = "") -> str:
    """Return a new name for a temporary file or folder of this process."""
    process = os.getpid()
    return f"{PREFIX}{_identify_machine()}-{process}-{_read_start(process) or 0}-{secrets.token_hex(4)}{suffix}"


@contextmanager
def scratch_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, which is removed with the block.

    Args:
        parent: folder to make it in; None for the system's folder of temporary files.
    """
    parent = Path(tempfile.gettempdir()) if parent is None else parent
    remove_leftovers(parent)
    folder = parent / make_name()
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_once(folder: Path) -> None:
    """Remove leftovers in a folder, unless this process has done so before."""
    if (key := folder.absolute()) not in _swept:
        _swept.add(key)
        remove_leftovers(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files and folders of ended processes from a folder; those that cannot be removed stay."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in [entry for entry in entries if entry.name.startswith(PREFIX)]:
            with suppress(OSError):
                if _is_leftover(entry):
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink()


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    match = NAME.fullmatch(entry.name)
    if match is None or entry.is_symlink():
        return False
    status = entry.stat(follow_symlinks=False)
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return False
    if match[1] != _identify_machine():
        return time.time() - status.st_mtime > FOREIGN_AGE
    return not is_alive(int(match[2]), int(match[3]))


def is_alive(process: int, start: int = 0) -> bool:
    """Return whether a process runs.

    Args:
        process: its number.
        start: the time at which it started, as `make_name` notes it; 0 where that is unknown.
    """
    if _lists_own_processes():
        now = _read_start(process)
        return now is not None and start in (0, now)
    if sys.platform == "win32":
        return _is_alive_on_windows(process)
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _lists_own_processes() -> bool:
    """Whether PROC counts processes as this one does; in a namespace of its own it may show those of another."""
    try:
        return (PROC / "self").readlink().name == str(os.getpid())
    except OSError:
        return False


def _read_start(process: int) -> int | None:
    """The time at which a process started, in the kernel's ticks; None where it has ended, or is not known."""
    if not _lists_own_processes():
        return None
    try:
        fields = (PROC / str(process) / "stat").read_text(errors="replace").rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None


def _is_alive_on_windows(process: int) -> bool:
    import ctypes

    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]  # on Windows alone
    limited_information, still_active = 0x1000, 259
    handle = kernel.OpenProcess(limited_information, False, process)
    if not handle:
        return False
    try:
        code = ctypes.c_ulong()
        return bool(kernel.GetExitCodeProcess(handle, ctypes.byref(code))) and code.value == still_active
    finally:
        kernel.CloseHandle(handle)


def _identify_machine() -> str:
    """Eight digits for the machine, or the container, in which numbers of processes count."""
    try:
        space = str((PROC / "self/ns/pid").readlink())
    except OSError:
        space = ""
    return hashlib.sha256(f"{platform.node()} {space}".encode(errors="replace")).hexdigest()[:8]
