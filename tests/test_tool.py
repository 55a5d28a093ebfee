"""External programs: their output, and messages where they fail."""

import sys
from pathlib import Path

import pytest

from edge_asc.errors import EdgeAscError
from edge_asc.tool import find_script, last_line, run_tool

FAIL = [sys.executable, "-c", "import sys; print('first'); sys.stdout.flush(); sys.exit('second')"]


def test_a_tool_returns_what_it_prints(tmp_path: Path) -> None:
    program = "import os, sys; print(os.getcwd()); print(os.environ.get('COLOUR'), sys.argv[1], file=sys.stderr)"
    output = run_tool(
        [sys.executable, "-c", program, tmp_path], "no word", folder=tmp_path, environment={"COLOUR": "red"}
    )
    assert set(output.splitlines()) == {str(tmp_path), f"red {tmp_path}"}


def test_a_failure_shows_the_last_line_or_all() -> None:
    with pytest.raises(EdgeAscError, match=r"^no system: python\S* ended with exit code 1: second$"):
        run_tool(FAIL, "no system")
    with pytest.raises(EdgeAscError, match=r"(?s)exit code 1:\nfirst\nsecond$"):
        run_tool(FAIL, "no system", whole_output=True)
    with pytest.raises(EdgeAscError, match="exit code 3: it printed nothing"):
        run_tool([sys.executable, "-c", "raise SystemExit(3)"], "no system", whole_output=True)


def test_a_tool_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match=r"no system: no-such-tool cannot be started .*install it"):
        run_tool(["no-such-tool"], "no system")
    with pytest.raises(EdgeAscError, match="no such command; install the package that has no-such-tool again"):
        find_script("no-such-tool")


def test_the_last_line_is_not_blank() -> None:
    assert last_line("a\n  b  \n\n \n") == "b"
    assert last_line("\n") == ""
