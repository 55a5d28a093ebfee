"""Every exit code means one thing, for every command; what is printed goes where somebody reads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from edge_asc.cli import main
from edge_asc.cli.command import COMMANDS
from edge_asc.cli.exits import ExitCode
from edge_asc.errors import CheckFailedError, EdgeAscError

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.parametrize("name", COMMANDS.names())
def test_an_unknown_option_is_usage(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(name, "--no-such-option\x1b[31m") == ExitCode.BAD_INPUT
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (CheckFailedError("too far\x1b[31m"), 1, "edge-asc: too far\\x1b[31m\n"),
        (EdgeAscError("the input [b]is[/b] bad\x1b[31m"), 2, "edge-asc: the input [b]is[/b] bad\\x1b[31m\n"),
        (FileNotFoundError(2, "No such file", "a\nb\x9b"), 2, "edge-asc: a\nb\\x9b: No such file\n"),
        (MemoryError(), 2, "edge-asc: the memory of this machine"),
        (RuntimeError("a defect\x1b]0;x\x07"), 3, "not foreseen"),
        (KeyError("x"), 3, "Traceback (most recent call last)"),
        (EOFError("x"), 3, "the unexpected end of a file"),
        (RecursionError("x"), 3, "please report it"),
        (KeyboardInterrupt(), 130, "edge-asc: interrupted\n"),
        (
            ModuleNotFoundError("No module named 'torch'", name="torch.nn"),
            2,
            "edge-asc: torch is not installed; install",
        ),
        (ModuleNotFoundError("No module named 'sklearn'", name="sklearn"), 2, "edge-asc[reproduce]'\n"),
        (ModuleNotFoundError("No module named 'edge_ask'", name="edge_ask"), 3, "Traceback (most recent call last)"),
        (ModuleNotFoundError("without a name"), 3, "Traceback (most recent call last)"),
        (SystemExit(1), 1, ""),
        (SystemExit("text"), 2, "edge-asc: text\n"),
        (SystemExit(143), 143, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("name", COMMANDS.names())
def test_each_error_has_its_exit_code(
    name: str,
    error: BaseException,
    code: int,
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    monkeypatch.setattr(COMMANDS.load(name).load(), "make_context", fail)
    assert run(name) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert ("Traceback" in captured.err) == (code == ExitCode.UNFORESEEN)
    assert captured.out == ""
    assert "\x1b" not in captured.err


def shell(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", "-c", f"set -o pipefail; {script.replace('EDGE', f'{sys.executable} -m edge_asc')}"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **environment}, timeout=300
    )


@pytest.mark.parametrize(
    "script", ["EDGE doctor | true", "EDGE --help | true", "EDGE doctor >&-", "EDGE doctor >&- 2>&- <&-"]
)
def test_output_that_nobody_reads_is_no_error(script: str) -> None:
    done = shell(script)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_full_disk_is_one_message() -> None:
    done = shell("EDGE doctor > /dev/full")
    assert (done.returncode, done.stderr) == (2, "edge-asc: No space left on device\n")


def test_colours_in_a_file_are_those_that_were_asked_for() -> None:
    assert "\x1b[" in shell("EDGE doctor | cat", FORCE_COLOR="1").stdout
    assert "\x1b" not in shell("EDGE doctor | cat", FORCE_COLOR="").stdout


def test_a_gate_needs_no_home() -> None:
    baseline = DOCS.parent / "benchmarks/baselines/recordings/fuse.json"
    done = shell(
        f"env -u HOME -u XDG_CACHE_HOME EDGE check {baseline} --baseline {baseline}", EDGE_ASC_CACHE="~no-such-user/x"
    )
    assert done.returncode == 0, done.stderr
    assert "comparisons hold" in done.stdout


def test_a_signal_ends_a_command_with_its_number() -> None:
    code = "import os, signal, sys, edge_asc.cli.exits as e\n"
    code += "e.exit_with(lambda: os.kill(os.getpid(), int(sys.argv[1])))"
    for number in (signal.SIGTERM, signal.SIGHUP):
        done = subprocess.run([sys.executable, "-c", code, str(int(number))], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (128 + number, b"")


def test_the_documentation_lists_every_code() -> None:
    text = (DOCS / "exit-codes.md").read_text(encoding="utf-8")
    assert all(f"\n| {int(code)} |" in text for code in ExitCode)
    assert all(f"`{name}`" in text for name in COMMANDS.names())


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (("arm", "cost", "fuse-int8"), "msgspec", "bench"),
        (("peers", "fuse"), "msgspec", "peers"),
        (("peers", "fuse"), "torch", "peers"),
        (("quantisers", "x", "fuse"), "msgspec", "peers"),
        (("quantisers", "x", "fuse"), "torch", "peers"),
        (("check", "x.json", "--baseline", "x.json"), "msgspec", "bench"),
    ],
)
def test_a_command_without_its_extra_says_how_to_install_it(
    arguments: tuple[str, ...], module: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x").mkdir()
    program = f"import sys; sys.modules[{module!r}] = None; from edge_asc.cli import main; main({list(arguments)!r})"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    hint = f"edge-asc: {module} is not installed; install it with: pip install 'edge-asc[{extra}]'\n"
    assert (done.returncode, done.stderr, done.stdout) == (ExitCode.BAD_INPUT, hint, "")
