"""Damages inputs and counts what comes of it: python tests/fuzz/harness.py [--cases N] [--seconds S] [TARGET …].

Each target (tests/fuzz/targets) runs in a child process, so that a crash, a hang or a lack of memory ends that process
alone; the case is then run once more, alone in a new process, and its input is kept. A run with the same seed gives the
same cases. The exit status is 1 if an input does what none may do.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from fuzz.child import damaged
from fuzz.target import Seeds, Target, load_target, target_names

CHILD = Path(__file__).with_name("child.py")
TESTS = CHILD.parents[1]
START = 300.0  # s until a child has read the whole inputs
SHOWN = 5
BATCH = 64  # cases that a child is asked for at once
# A file system in memory: a disk takes milliseconds for each case.
MEMORY = Path("/dev/shm")

# What may come of a damaged input, and what none may do.
GOOD = ("error", "unchanged")
BAD = ("other", "traceback", "crash", "hang", "memory")
TITLES = {
    "error": "clear errors",
    "unchanged": "unchanged answers",
    "other": "other answers",
    "traceback": "foreign tracebacks",
    "crash": "crashes",
    "hang": "hangs",
    "memory": "memory",
}


@dataclass(frozen=True)
class Failure:
    """A case that did what none may do.

    Attributes:
        target, seed, case: identify the damaged input.
        kind: one of BAD.
        detail: traceback, signal or answer.
        again: what came of it alone in a new process.
    """

    target: str
    seed: int
    case: int
    kind: str
    detail: str
    again: str

    def __str__(self) -> str:
        return f"{self.target} --seed {self.seed} --case {self.case}: {self.kind} (alone: {self.again})\n{self.detail}"


@dataclass
class Tally:
    """What came of the cases of one target."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """Number of cases."""
        return self.counts.total()


class Child:
    """A process that reads damaged inputs of one target."""

    def __init__(self, target: str, folder: Path, seed: int) -> None:
        command = [sys.executable, str(CHILD), target, str(folder), str(seed)]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path[1:]]), "OMP_NUM_THREADS": "1"},
        )
        self._pending = b""
        try:
            self._line(START)
        except (EOFError, TimeoutError) as error:
            text = self._said()
            self.close()
            raise RuntimeError(f"the child process of {target} does not start:\n{text}") from error

    def ask(self, first: int, count: int) -> None:
        """Ask for `count` cases from case `first` on."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # a process that has ended has no answers, either
            self._process.stdin.write(f"{first} {count}\n".encode())
            self._process.stdin.flush()

    def answer(self, timeout: float) -> tuple[str, str]:
        """Return what came of the next case, and a detail."""
        try:
            kind, _, detail = json.loads(self._line(timeout))
        except TimeoutError:
            return "hang", f"no answer within {timeout:g} s"
        except EOFError:
            code = self._process.wait()
            text = self._said()
            return ("memory" if "bad_alloc" in text or "MemoryError" in text else "crash"), f"exit code {code}\n{text}"
        return str(kind), str(detail)

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read()[-3000:].decode(errors="replace")

    def _line(self, timeout: float) -> bytes:
        assert self._process.stdout is not None
        end = time.monotonic() + timeout
        while b"\n" not in self._pending:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError
            chunk = os.read(self._process.stdout.fileno(), 65536)
            if not chunk:
                raise EOFError
            self._pending += chunk
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with suppress(BrokenPipeError):
                stream.close()


@contextmanager
def prepared(target: Target) -> Iterator[tuple[Path, Seeds]]:
    """Yield a folder with the whole inputs of a target, and these."""
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        for part in ("seeds", "cases", "work"):
            (folder / part).mkdir()
        seeds = target.seeds(folder / "work")
        for key, data in seeds.items():
            (folder / "seeds" / key).write_bytes(data)
        yield folder, seeds


def fuzz(name: str, *, cases: int, seconds: float, seed: int = 0, keep: Path | None = None, first: int = 0) -> Tally:
    """Run at most `cases` cases of a target, for at most about `seconds` after its inputs are made."""
    target, tally = load_target(name), Tally(name)
    with prepared(target) as (folder, seeds):
        child, end = Child(name, folder, seed), time.monotonic() + seconds
        case, asked = first, first  # the next case, and the first one that was not asked for
        try:
            while case < first + cases and time.monotonic() < end:
                if case == asked:
                    asked = min(case + BATCH, first + cases)
                    child.ask(case, asked - case)
                kind, detail = child.answer(target.timeout)
                again = kind
                if kind in ("crash", "hang", "memory"):
                    child.close()
                    again = _run_alone(name, folder, seed, case)
                    child, asked = Child(name, folder, seed), case + 1
                tally.counts[kind] += 1
                if kind in BAD and not (kind == "other" and target.other_answers):
                    tally.failures.append(Failure(name, seed, case, kind, detail, again))
                    if keep is not None:
                        _keep(keep, tally.failures[-1], damaged(target, seeds, seed, case))
                case += 1
        finally:
            child.close()
    return tally


def _run_alone(name: str, folder: Path, seed: int, case: int) -> str:
    child = Child(name, folder, seed)
    try:
        child.ask(case, 1)
        return child.answer(load_target(name).timeout)[0]
    finally:
        child.close()


def _keep(folder: Path, failure: Failure, case: tuple[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{failure.target}-{failure.seed}-{failure.case}"
    (folder / f"{stem}-{case[0]}").write_bytes(case[1])
    (folder / f"{stem}.txt").write_text(f"{failure}\n", encoding="utf-8")


def table(tallies: Sequence[Tally]) -> str:
    """Return a Markdown table of the counts."""
    rows = [["target", "cases", *TITLES.values()]]
    rows += [[t.target, str(t.cases), *(str(t.counts[kind]) for kind in TITLES)] for t in tallies]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> int:
    """Fuzz the targets that the command line names, or all."""
    parser = argparse.ArgumentParser(description="Damage inputs and count what comes of it.")
    parser.add_argument("targets", nargs="*", help=f"some of {', '.join(target_names())} [default: all]")
    parser.add_argument("--cases", type=int, default=1_000_000, help="cases of each target")
    parser.add_argument("--seconds", type=float, default=120, help="time for all targets together")
    parser.add_argument("--seed", type=int, default=0, help="of the damage")
    parser.add_argument("--case", type=int, help="one case alone, by its number")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), help="folder for inputs that fail")
    arguments = parser.parse_args()
    names, tallies = arguments.targets or target_names(), []
    cases, first = (arguments.cases, 0) if arguments.case is None else (1, arguments.case)
    for name in names:
        seconds = arguments.seconds / len(names)
        tally = fuzz(name, cases=cases, seconds=seconds, seed=arguments.seed, keep=arguments.keep, first=first)
        tallies.append(tally)
        for failure in tally.failures[:SHOWN]:
            print(failure, file=sys.stderr)
    print(table(tallies))
    failed = sum(len(tally.failures) for tally in tallies)
    if failed:
        print(f"{failed} inputs did what none may do; they are in {arguments.keep}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
