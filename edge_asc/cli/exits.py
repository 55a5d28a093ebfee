"""How a command ends: its exit code, and the one handler of errors.

`docs/exit-codes.md` lists the codes for users.
"""

from __future__ import annotations

import io
import os
import platform
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import IntEnum
from types import FrameType
from typing import NoReturn

import click

import edge_asc
from edge_asc.cli.extras import describe_missing
from edge_asc.errors import CheckFailedError, EdgeAscError
from edge_asc.text import escape_controls


class ExitCode(IntEnum):
    """Exit codes of all commands; a command that a signal ended has 128 and the signal's number."""

    DONE = 0
    CHECK_FAILED = 1
    BAD_INPUT = 2
    UNFORESEEN = 3


class ClosedPipeError(Exception):
    """The reader of the output has closed it, as `head` does: nobody is left to print for."""


class UnforeseenError(Exception):
    """An error that no code foresees, under a name that click does not take for one of its own."""


@contextmanager
def own_errors() -> Iterator[None]:
    """Pass errors through click under names of this module, where click would exit with a code of its own.

    click ends with 1 on a closed pipe, and takes the unexpected end of a file for an interruption.
    """
    try:
        yield
    except BrokenPipeError as error:
        if _has_lost_reader():
            raise ClosedPipeError from error
        raise UnforeseenError("a pipe to another process is closed") from error
    except EOFError as error:
        raise UnforeseenError("the unexpected end of a file") from error


def exit_with(run: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit.

    A known error is one message on stderr; an unforeseen one is a traceback and how to report it.
    """
    _open_streams()
    _end_on_signals()
    try:
        code = _run(run)
    except SystemExit as error:  # of a signal, while an error was printed
        code = error.code if isinstance(error.code, int) else ExitCode.UNFORESEEN
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    sys.exit(int(code))


def _run(run: Callable[[], int | None]) -> int:
    try:
        code = run() or ExitCode.DONE
        with own_errors():
            sys.stdout.flush()
        return code
    except SystemExit as error:
        return _flush(_read_code(error))
    except EdgeAscError as error:
        _print_message(str(error))
        if isinstance(error, CheckFailedError):
            return _flush(ExitCode.CHECK_FAILED)
    except click.ClickException as error:
        text = io.StringIO()
        error.show(text)
        _print(text.getvalue().rstrip("\n"))
    except (click.Abort, KeyboardInterrupt):
        _print_message("interrupted")
        return _flush(128 + signal.SIGINT)
    except ClosedPipeError:
        _drop_stdout()
        return ExitCode.DONE
    except OSError as error:
        _print_message(_describe(error))
    except MemoryError:
        _print_message("the memory of this machine is not enough; close other programs, or give less input")
    except ModuleNotFoundError as error:
        if (message := describe_missing(error)) is None:
            return _flush(_print_traceback())
        _print_message(message)
    except Exception:
        return _flush(_print_traceback())
    return _flush(ExitCode.BAD_INPUT)


def _read_code(error: SystemExit) -> int:
    if error.code is None:
        return ExitCode.DONE
    if isinstance(error.code, int):
        return error.code
    _print_message(str(error.code))
    return ExitCode.BAD_INPUT


def _flush(code: int) -> int:
    """Write out what is printed already; where nobody takes it, the exit code stays."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        _drop_stdout()
    return code


def _describe(error: OSError) -> str:
    """Return what the system refused, and for which file."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return ": ".join([*names, error.strerror])


def _print_traceback() -> int:
    _print(traceback.format_exc().rstrip("\n"))
    _print_message(
        "this error was not foreseen, and is a defect of edge-asc; please report it on the page of the project, with "
        "the lines above, the command and this line:\n"
        f"edge-asc {edge_asc.__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    return ExitCode.UNFORESEEN


def _print_message(text: str) -> None:
    _print(f"edge-asc: {text}")


def _print(text: str) -> None:
    """Print on stderr, if somebody reads it."""
    with suppress(OSError, ValueError):
        click.echo(escape_controls(text, keep="\n"), err=True)


def _open_streams() -> None:
    """Open what the caller closed, as `>&-` does, so that no file of ours takes its number; print any character."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one.
            os.open(os.devnull, os.O_RDONLY if mode == "r" else os.O_WRONLY)
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_stdout() -> None:
    """Send what is left to print to nowhere, so that the interpreter's own flush does not fail."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def _has_lost_reader() -> bool:
    """Whether the reader of stdout has closed it."""
    if not hasattr(select, "poll"):  # Windows
        return True
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    except (OSError, ValueError):  # no file at all
        return True


def _end_on_signals() -> None:
    """Let SIGTERM and SIGHUP end the command as an error does: what it has open is closed and removed."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What the parent ignores, as nohup does, stays ignored; only the main thread may set handlers.
        with suppress(ValueError):
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _exit_on_signal)


def _exit_on_signal(number: int, _: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
