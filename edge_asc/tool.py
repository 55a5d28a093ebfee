"""External programs: compilers, package managers, emulators and converters that edge-asc starts."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from edge_asc.children import END_TIMEOUT, kill_group, make_environment
from edge_asc.errors import EdgeAscError

# Longest time that a program may take, s.
TIMEOUT = 3600.0

CommandLine = list[str | Path]
"""A program and its arguments."""


def run_tool(
    command: Sequence[str | Path],
    failure: str,
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    whole_output: bool = False,
    timeout: float = TIMEOUT,
) -> str:
    """Run a program to its end and return its output, stdout and stderr together.

    The program, and what it starts, ends with this process: on an error here, and on Linux however this process ends.

    Args:
        command: the program and its arguments; no shell reads them.
        failure: start of the message where the program fails, such as "no system could be made".
        folder: that the program starts in; None for this process's own.
        environment: all variables of the program; None for those of this process, without settings of Python and pip.
        whole_output: put all of the output into that message, as for a compiler; else its last line.
        timeout: seconds after which the program is killed.

    Raises:
        EdgeAscError: the program is not installed, its exit code is not 0, or it takes longer.
    """
    line = [str(part) for part in command]
    variables = make_environment() if environment is None else environment
    if Path(line[0]).name == line[0] and shutil.which(line[0], path=variables.get("PATH")) is None:
        raise EdgeAscError(f"{failure}: {line[0]} cannot be started (no such program); install it")
    try:
        process = subprocess.Popen(
            [*_die_with_parent(), *line],
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise EdgeAscError(f"{failure}: {line[0]} cannot be started ({error.strerror}); install it") from error
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise EdgeAscError(f"{failure}: {Path(line[0]).name} took more than {timeout:g} s and was ended") from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode:
        if whole_output and output.strip():
            raise EdgeAscError(f"{failure}: {line[0]} ended with exit code {process.returncode}:\n{output.strip()}")
        detail = last_line(output) or "it printed nothing"
        raise EdgeAscError(f"{failure}: {Path(line[0]).name} ended with exit code {process.returncode}: {detail}")
    return output


def _die_with_parent() -> list[str]:
    """A program of Linux that starts another one, which the kernel kills when this process ends."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _kill(process: subprocess.Popen[str]) -> None:
    """End a program and what it has started."""
    kill_group(process.pid)
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=END_TIMEOUT)


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
