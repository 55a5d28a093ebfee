"""External programs: compilers, package managers, emulators and converters that edge-asc starts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_asc.errors import EdgeAscError

CommandLine = list[str | Path]
"""A program and its arguments."""


def run_tool(
    command: Sequence[str | Path],
    failure: str,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    whole_output: bool = False,
) -> str:
    """Run a program to its end and return its output, stdout and stderr together.

    Args:
        command: the program and its arguments; no shell reads them.
        failure: start of the message where the program fails, such as "no system could be made".
        folder: that the program starts in; None for this process's own.
        environment: all variables of the program; None for those of this process.
        whole_output: put all of the output into that message, as for a compiler; else its last line.

    Raises:
        EdgeAscError: the program is not installed, or its exit code is not 0.
    """
    line = [str(part) for part in command]
    try:
        done = subprocess.run(
            line,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise EdgeAscError(f"{failure}: {line[0]} cannot be started ({error.strerror}); install it") from error
    if done.returncode:
        output = done.stdout.strip()
        if whole_output and output:
            raise EdgeAscError(f"{failure}: {line[0]} ended with exit code {done.returncode}:\n{output}")
        detail = last_line(output) or "it printed nothing"
        raise EdgeAscError(f"{failure}: {Path(line[0]).name} ended with exit code {done.returncode}: {detail}")
    return done.stdout


def last_line(text: str) -> str:
    """Return the last line of `text` that is not blank, without spaces around it; "" if there is none."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def find_script(name: str) -> Path:
    """Return the path of a command that a Python package installs beside the interpreter.

    Raises:
        EdgeAscError: the command is not there.
    """
    path = Path(sys.executable).parent / name
    if not path.exists():
        raise EdgeAscError(f"{path}: no such command; install the package that has {name} again")
    return path
