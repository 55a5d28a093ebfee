"""Files that commands write: tried before the work begins, and kept elsewhere if they cannot be written after it."""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from pathlib import Path

import click

from edge_asc.cli.console import echo
from edge_asc.errors import EdgeAscError
from edge_asc.files import write_bytes
from edge_asc.output import try_writing


class OutputPath(click.ParamType):  # type: ignore[type-arg]  # generic from click 8.2 on, not before
    """A file, or a folder, that a command writes at its end; it is tried when the command line is read.

    Args:
        folder: it is a folder.
        append: text is appended to the file, if there is one.
    """

    name = "path"

    def __init__(self, *, folder: bool = False, append: bool = False) -> None:
        self._folder, self._append = folder, append

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; fail if nothing can be written there."""
        path = Path(value)
        try:
            check_output(path, folder=self._folder, append=self._append)
        except EdgeAscError as error:
            self.fail(str(error), param, ctx)
        return path


def check_output(path: Path, *, folder: bool = False, append: bool = False) -> None:
    """Check that a file, or files in a folder, can be written. Nothing that exists is changed, nothing is left behind.

    Raises:
        EdgeAscError: a folder in place of a file or the reverse, no permission, or no space.
    """
    try:
        if path.exists():
            if path.is_dir() != folder:
                kinds = ("a folder", "a file") if not folder else ("a file", "a folder")
                raise EdgeAscError(f"{path}: is {kinds[0]}, expected {kinds[1]}; give another name")
            if not folder:
                _check_file(path)
            if append or _is_device(path):
                return
        try_writing(next(parent for parent in (path, *path.absolute().parents) if parent.is_dir()))
        # A name that is too long, or a file where a folder is expected, is refused here.
        with suppress(FileNotFoundError):
            path.lstat()
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be written ({error.strerror}); give another place") from error


def save(path: Path, data: bytes) -> None:
    """Write the result of a command to a file, whole or not at all; to a device or a pipe as it stands.

    Raises:
        EdgeAscError: it cannot be written. The result is then in a temporary file that the message names. If that file
            cannot be written, the result is printed on stdout.
    """
    try:
        if _is_device(path):
            with path.open("wb") as file:
                file.write(data)
        else:
            # A link stays, and its target is replaced.
            write_bytes(path.resolve() if path.is_symlink() else path, data)
    except OSError as error:
        place = _rescue(data, path.suffix)
        raise EdgeAscError(
            f"{path}: cannot be written ({error.strerror or error}); the result is kept {place}"
        ) from error


def save_json(path: Path, value: object) -> None:
    """Write a JSON document; see `save`.

    Raises:
        EdgeAscError: as `save`.
        ValueError: the value holds NaN or an infinity.
    """
    save(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def append_text(path: Path, text: str) -> None:
    """Append text to a file.

    Raises:
        EdgeAscError: it cannot be written.
    """
    try:
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be written ({error.strerror}); give another place") from error


def _check_file(path: Path) -> None:
    """Check that a file, or a device such as /dev/stdout, takes data."""
    if not os.access(path, os.W_OK):
        raise EdgeAscError(f"{path}: is write-protected; give another name, or make it writable")
    if path.is_char_device():
        handle = os.open(path, os.O_WRONLY | getattr(os, "O_NOCTTY", 0))
        try:
            os.write(handle, b"")  # fails on a device that is always full
        finally:
            os.close(handle)


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _rescue(data: bytes, suffix: str) -> str:
    """Keep data in a temporary file, else print them; return where they are."""
    try:
        handle, name = tempfile.mkstemp(prefix="edge-asc-", suffix=suffix)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError:
        echo(data.decode(errors="backslashreplace"), newline=False)
        return "on standard output alone"
    return f"in {name}: move it from there"
