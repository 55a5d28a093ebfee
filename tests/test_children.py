"""Child processes: what they return, report and raise, and that they end."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_asc.children import ChildError, make_environment, run_in_child
from edge_asc.errors import DatasetError, EdgeAscError
from edge_asc.progress import Phase, Progress


def add(left: int, right: int, progress: Progress) -> tuple[int, int]:
    return left + right, os.getpid()


def kill(progress: Progress) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave(progress: Progress) -> None:
    os._exit(3)


def fail(progress: Progress) -> None:
    raise DatasetError("as expected")


def stumble(progress: Progress) -> None:
    raise ZeroDivisionError("unforeseen")


def sleep(progress: Progress) -> None:
    time.sleep(600)


def report(progress: Progress) -> None:
    progress.note("starting")
    with progress.phase("outer", 2) as outer:
        outer.advance(loss=0.5)
        with progress.phase("inner") as inner:
            inner.update(3, 4, "renamed")
        outer.advance()


class Recorded(Progress):
    """Keeps what is reported."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def note(self, text: str) -> None:
        self.events.append(("note", text))

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        self.events.append(("open", title, total))
        yield RecordedPhase(self.events, title)
        self.events.append(("close", title))


class RecordedPhase(Phase):
    def __init__(self, events: list[tuple[Any, ...]], title: str) -> None:
        self.events, self.title = events, title

    def advance(self, count: float = 1, **figures: float) -> None:
        self.events.append(("advance", self.title, count, figures))

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        self.events.append(("update", self.title, done, total, title))


def test_a_result_comes_from_another_process() -> None:
    total, process = run_in_child(add, 2, 3)
    assert total == 5
    assert process != os.getpid()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (kill, r"the export process was ended by SIGKILL \(out of memory\?\)"),
        (leave, "the export process ended with exit code 3 and no error message"),
        (stumble, "(?s)the export process failed unexpectedly.*ZeroDivisionError: unforeseen"),
    ],
)
def test_the_end_of_a_child_is_an_error_with_a_name(function: Callable[[Progress], object], message: str) -> None:
    with pytest.raises(ChildError, match=message):
        run_in_child(function, name="export")


def test_an_error_for_the_user_is_raised_as_it_is() -> None:
    with pytest.raises(EdgeAscError, match=r"^as expected$") as raised:
        run_in_child(fail)
    assert type(raised.value) is DatasetError


def test_a_child_is_killed_after_its_time() -> None:
    with pytest.raises(ChildError, match=r"the sleeper process did not finish within 0\.1 s and was killed"):
        run_in_child(sleep, name="sleeper", timeout=0.1)


def test_progress_reaches_the_caller() -> None:
    progress = Recorded()
    run_in_child(report, progress=progress)
    assert progress.events == [
        ("note", "starting"),
        ("open", "outer", 2),
        ("advance", "outer", 1, {"loss": 0.5}),
        ("open", "inner", None),
        ("update", "inner", 3, 4, "renamed"),
        ("close", "inner"),
        ("advance", "outer", 1, {}),
        ("close", "outer"),
    ]


PARENT = """
import os, pathlib, sys
sys.path.insert(0, {tests!r})
import test_children
from edge_asc.children import run_in_child

if __name__ == "__main__":
    run_in_child(test_children.{function}, {file!r})
"""


def announce(file: Path, progress: Progress) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


def compute(file: Path, progress: Progress) -> None:
    """Hold the interpreter's lock for ever, as a slow import does for a while."""
    Path(file).write_text(str(os.getpid()))
    re.match(r"(a+)+$", 60 * "a" + "b")


@pytest.mark.parametrize("function", ["announce", "compute"])
def test_a_child_ends_with_its_parent(function: str, tmp_path: Path) -> None:
    file, script = tmp_path / "pid", tmp_path / "parent.py"
    script.write_text(PARENT.format(tests=str(Path(__file__).parent), function=function, file=str(file)))
    parent = subprocess.Popen([sys.executable, str(script)])
    try:
        while not (file.is_file() and file.read_text()):
            assert parent.poll() is None
            time.sleep(0.05)
    finally:
        parent.kill()
        parent.wait()
    child = int(file.read_text())
    for _ in range(600):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if (state := status_of(child)) == "Z":
            return
        time.sleep(0.1)
    pytest.fail(f"process {child} is still there, in state {state}")


def status_of(process: int) -> str:
    """The state of a process; "Z" for one that has ended and waits to be collected."""
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(process)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] or "Z"


USERS = 'raise SystemExit("a file of the user was imported")'


def list_modules(progress: Progress) -> tuple[list[str], dict[str, str]]:
    import __main__

    return [str(getattr(__main__, "__file__", None)), *sys.path], dict(os.environ)


@pytest.mark.parametrize("form", ["script", "stdin"])
def test_a_child_takes_nothing_of_the_user(form: str, tmp_path: Path) -> None:
    """Without a main guard, beside files named like those of the standard library, and with settings of Python."""
    source = f"""
import sys
sys.path.insert(1, {str(Path(__file__).parent)!r})
import test_children
from edge_asc.children import run_in_child
print(run_in_child(test_children.add, 2, 3)[0])
print(run_in_child(test_children.list_modules))
"""
    (tmp_path / "main.py").write_text(source)
    for name in ("runpy.py", "pickle.py", "signal.py"):
        (tmp_path / name).write_text(USERS)
    environment = {**os.environ, "PYTHONSTARTUP": "nowhere", "PYTHONWARNINGS": "error", "PIP_USER": "1"}
    command = ["-P", "main.py" if form == "script" else "-"]  # of the parent; its children have no choice
    done = subprocess.run(
        [sys.executable, *command],
        cwd=tmp_path,
        env=environment,
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    total, described = done.stdout.splitlines()
    assert total == "5"
    assert "main.py" not in described
    assert "PYTHONSTARTUP" not in described
    assert "PIP_USER" not in described


def spawn(file: Path, progress: Progress) -> None:
    """Start a process, and die."""
    child = subprocess.Popen(["sleep", "600"])
    Path(file).write_text(str(child.pid))
    time.sleep(600)


def test_what_a_child_has_started_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with pytest.raises(ChildError, match="did not finish"):
        run_in_child(spawn, file, timeout=20.0)
    assert status_of(int(file.read_text())) == "Z"


def unpicklable(progress: Progress) -> object:
    return lambda: None


def test_a_result_that_cannot_be_sent_is_an_error() -> None:
    with pytest.raises(ChildError, match="its result cannot be sent"):
        run_in_child(unpicklable)


def test_the_environment_keeps_where_packages_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_INDEX_URL", "PYTHONHASHSEED"):
        monkeypatch.setenv(name, "x")
    environment = make_environment({"MORE": "y"})
    assert {name for name in environment if name.startswith(("PYTHON", "PIP_"))} >= {"PIP_INDEX_URL", "PYTHONHASHSEED"}
    assert not {"PYTHONPATH", "PYTHONHOME", "PIP_TARGET"} & environment.keys()
    assert environment["MORE"] == "y"
