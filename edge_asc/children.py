"""Child processes: how every one is started, watched and ended, and functions that run in one.

A child is isolated: it imports neither from the working folder nor from the folder of the user's script, does not run
the user's main module, and gets an environment without settings of Python and pip. It ends when its parent ends,
however that ends: at the end of its stdin, which the parent holds open.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

import edge_asc
from edge_asc.errors import EdgeAscError
from edge_asc.progress import SILENT, Phase, Progress

T = TypeVar("T")

# Messages of a child: one of these and its values.
RESULT, ERROR, TRACEBACK, PROGRESS = range(4)
# Longest time that a child has for its own end, s.
END_TIMEOUT = 10.0
# Settings of Python that children keep, and of pip: where packages come from.
KEPT_PYTHON = (
    "PYTHONHASHSEED", "PYTHONUTF8", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE",
    "PYTHONUSERBASE",
)  # fmt: skip
KEPT_PIP = (
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT",
    "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_CONFIG_FILE", "PIP_TIMEOUT",
    "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES", "PIP_KEYRING_PROVIDER",
)  # fmt: skip
# Reads to the end of stdin, then kills the group.
WATCH = "while read -r _; do :; done; kill -KILL 0"
# Runs a module like `python -m`. Folders for imports come behind Python's own: they replace none of its modules.
BOOTSTRAP = (
    "import os, runpy, sys; "
    "sys.path += [path for path in sys.argv.pop(1).split(os.pathsep) if path and path not in sys.path]; "
    "sys.argv.pop(0); runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


class ChildError(EdgeAscError):
    """A child process that crashed, was killed, ran out of time, or raised an unforeseen error."""


def make_command(module: str, *arguments: str) -> list[str]:
    """Return the command line of an isolated child that runs a module as `python -m` does."""
    return [sys.executable, "-P", "-c", BOOTSTRAP, os.pathsep.join(_list_folders()), module, *arguments]


def make_environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child: this process's, without settings of Python and pip.

    Args:
        variables: to add.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
    environment |= {name: os.environ[name] for name in (*KEPT_PYTHON, *KEPT_PIP) if name in os.environ}
    home = os.environ.get("PYTHONHOME", "")
    if home and home.split(os.pathsep)[0] == sys.base_prefix:  # this Python does not start without it
        environment["PYTHONHOME"] = home
    return environment | dict(variables or {})


def _list_folders() -> list[str]:
    """The folders that this process imports from, but for the working folder and the script's own."""
    named = {path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    own = {str(Path.cwd())}
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is not None and not sys.flags.safe_path:
        own.add(str(Path(script).resolve().parent))
    folders = [path for path in sys.path if path and (path in named or str(Path(path).resolve()) not in own)]
    ours = str(Path(edge_asc.__file__).parent.parent)  # a source tree may be the working folder
    return [str(Path(path).absolute()) for path in (*folders, *([] if ours in folders else [ours]))]


def start_child(
    module: str, *arguments: str, stdin: int = subprocess.PIPE, in_group: bool = False, **options: Any
) -> subprocess.Popen[bytes]:
    """Start a module in an isolated process, which `end_child` ends.

    Args:
        module: to run.
        arguments: of it.
        stdin: a pipe, which the module watches with `end_with_stdin`.
        in_group: leave it in this process's group, such that it ends with that; else it leads one of its own.
        options: of `subprocess.Popen`.
    """
    command, environment = make_command(module, *arguments), make_environment()
    return subprocess.Popen(command, stdin=stdin, env=environment, start_new_session=not in_group, **options)


def end_child(process: subprocess.Popen[bytes], *, patience: float = 0.0) -> int:
    """End a child and every process that it has started; return its exit code.

    Args:
        process: the child; one that has ended is fine.
        patience: time that it has to end by itself, s.
    """
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    if process.returncode is None:
        kill_group(process.pid)  # none where the child is in its parent's group
        process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    return process.wait()


def kill_group(leader: int) -> None:
    """Kill the processes of a group; without effect where there are none, and on Windows."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)


def end_with_stdin() -> None:
    """End this process, and its group where it leads one, when its stdin ends: the parent has closed it, or ended.

    A thread waits for that. Code that holds the interpreter's lock, such as the import of a large library, keeps the
    thread waiting, so a shell waits, too, where there is one.
    """
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        quiet = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_WRONLY, 0) for descriptor in (1, 2)]
        with suppress(OSError):
            os.posix_spawn("/bin/sh", ["sh", "-c", WATCH], os.environ, file_actions=quiet)

    def watch() -> None:
        with suppress(OSError):
            while os.read(0, 4096):
                pass
        end_group()

    threading.Thread(target=watch, daemon=True).start()


def end_group() -> None:
    """End this process at once, and every process that it has started."""
    if hasattr(os, "getpgrp") and os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


class Child:
    """A child process that calls one function.

    Used as a context, it is killed at the end of the block unless it has ended. `kill` may be called from any thread.
    """

    def __init__(self, function: Callable[..., object], arguments: tuple[object, ...], name: str = "child") -> None:
        """Start the child; see `run_in_child`."""
        self.name = name
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._process = start_child("edge_asc.child", stdout=subprocess.PIPE)
        assert self._process.stdin
        assert self._process.stdout
        try:
            with suppress(OSError):  # a child that ended at once is noticed by its exit code
                write_message(self._process.stdin, (function, arguments))
        except BaseException:
            end_child(self._process)
            raise
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        end_child(self._process)

    def kill(self) -> None:
        """Kill the child and every process that it has started."""
        kill_group(self._process.pid)
        self._process.kill()

    def receive(self, timeout: float | None, progress: Progress) -> Any:
        """Wait for the result, and replay the child's progress; see `run_in_child`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with _Replay(progress) as replay:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                try:
                    message = self._messages.get(timeout=left)
                except queue.Empty:
                    raise ChildError(
                        f"the {self.name} process did not finish within {timeout:g} s and was killed"
                    ) from None
                if message is None:
                    code = end_child(self._process, patience=END_TIMEOUT)
                    raise ChildError(f"the {self.name} process {_describe_exit(code)}")
                kind, *values = message
                if kind == PROGRESS:
                    replay(*values)
                    continue
                break
        end_child(self._process, patience=END_TIMEOUT)
        if kind == ERROR:
            raise values[0]
        if kind == TRACEBACK:
            raise ChildError(f"the {self.name} process failed unexpectedly\n{values[0]}")
        return values[0]

    def _read(self, pipe: IO[bytes]) -> None:
        """Queue the child's messages; None where it ended without an outcome."""
        kind = PROGRESS
        while kind == PROGRESS:
            try:
                message = read_message(pipe)
            except Exception as error:  # an exception that cannot be made again from its arguments
                message = (TRACEBACK, f"its reply cannot be read: {error!r}")
            self._messages.put(message)
            if message is None:
                return
            kind = message[0]


def run_in_child(
    function: Callable[..., T],
    *arguments: object,
    name: str = "child",
    timeout: float | None = None,
    progress: Progress = SILENT,
) -> T:
    """Call `function(*arguments, progress)` in a fresh process and return its result.

    The child is started anew (no memory is shared), reports its progress to the caller's, and ends when this process
    ends, however it does.

    Args:
        function: importable by name; its last argument is a `Progress`.
        arguments: can be pickled, as can the result.
        name: of the process, in messages.
        timeout: seconds after which the child is killed; None waits for as long as it takes.
        progress: receives the child's progress.

    Raises:
        EdgeAscError: the one that the function raised.
        ChildError: the child crashed, was killed, ran out of time, or raised another error.
    """
    with Child(function, arguments, name) as child:
        result: T = child.receive(timeout, progress)
        return result


def write_message(pipe: IO[bytes], message: object) -> None:
    """Write a message: its length, 8 bytes, and its pickle."""
    data = pickle.dumps(message)
    pipe.write(struct.pack("<Q", len(data)) + data)
    pipe.flush()


def read_message(pipe: IO[bytes]) -> Any:
    """Read what `write_message` wrote; None at the end."""
    data = read_pickle(pipe)
    return None if data is None else pickle.loads(data)


def read_pickle(pipe: IO[bytes]) -> bytes | None:
    """Read the pickle of a message, which may import large libraries; None at the end."""
    header = pipe.read(8)
    if len(header) < 8:
        return None
    (size,) = struct.unpack("<Q", header)
    data = pipe.read(size)
    return data if len(data) == size else None


class _Replay(ExitStack):
    """Repeats a child's progress; phases that it left open end with this."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self._progress = progress
        self._phases: dict[int, tuple[ExitStack, Phase]] = {}

    def __call__(self, action: str, *values: Any) -> None:
        match action, values:
            case "note", (text,):
                self._progress.note(text)
            case "open", (key, title, total):
                stack = self.enter_context(ExitStack())
                self._phases[key] = stack, stack.enter_context(self._progress.phase(title, total))
            case "advance", (key, count, figures):
                self._phases[key][1].advance(count, **figures)
            case "update", (key, done, total, title):
                self._phases[key][1].update(done, total, title)
            case "close", (key,):
                self._phases.pop(key)[0].close()


def _describe_exit(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}{' (out of memory?)' if name == 'SIGKILL' else ''}"
    return f"ended with exit code {code} and no error message"
