"""A command that a peer's package installs beside the interpreter."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_asc.errors import EdgeAscError


def run_tool(name: str, *arguments: str, folder: Path | None = None) -> None:
    """Run it, in silence.

    Raises:
        EdgeAscError: it is not there, or failed.
    """
    command = [str(Path(sys.executable).parent / name), *arguments]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise EdgeAscError(f"{command[0]}: not there; install the package that has {name} again") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise EdgeAscError(f"{name} ended with exit code {done.returncode}: {said[-1] if said else 'nothing said'}")
