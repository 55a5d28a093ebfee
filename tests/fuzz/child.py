"""The process that reads damaged inputs: one line of JSON when it is ready and after each case.

    python tests/fuzz/child.py TARGET FOLDER SEED

FOLDER holds the whole inputs in `seeds`. Each line from standard input holds the number of a first case, and how many
cases to run. What came of each case goes to standard output.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from random import Random

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

from edge_asc.errors import EdgeAscError
from fuzz.target import Target, load_target

MIB = 2**20


def read_seeds(folder: Path) -> dict[str, bytes]:
    """Return the whole inputs of a run."""
    return {path.name: path.read_bytes() for path in sorted((folder / "seeds").iterdir())}


def damaged(target: Target, seeds: Mapping[str, bytes], seed: int, case: int) -> tuple[str, bytes]:
    """Return the name of the input that a case damages, and the damaged bytes."""
    name = Random(f"{seed}/{case}").choice(sorted(seeds))
    return name, target.mutate(Random(f"{seed}/{case}/{name}"), seeds[name], seeds)


def outcome(target: Target, path: Path, answer: str) -> tuple[str, str]:
    """Read a damaged input and return what came of it, and a detail."""
    try:
        found = target.read(path)
    except EdgeAscError as error:
        return "error", str(error)
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:
        return "traceback", traceback.format_exc()
    return ("unchanged" if found == answer else "other"), found[:200]


def peak() -> float:
    """Return the largest memory that this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def limit_memory(mebibytes: int) -> None:
    """Let allocations fail that take `mebibytes` more than the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + mebibytes * MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def serve(name: str, folder: Path, seed: int) -> None:
    """Read cases until there are no more."""
    # Libraries print to standard output, too: what they print goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    target, seeds = load_target(name), read_seeds(folder)
    whole = {key: target.read(folder / "seeds" / key) for key in seeds}
    # Threads and arenas reserve addresses that they do not use, hence the second term.
    limit_memory(target.memory + 2048)
    before = peak()
    answers.write(json.dumps(["ready"]) + "\n")
    for line in sys.stdin:
        first, count = map(int, line.split())
        for case in range(first, first + count):
            key, data = damaged(target, seeds, seed, case)
            path = folder / "cases" / key
            path.write_bytes(data)
            kind, detail = outcome(target, path, whole[key])
            if peak() > before + target.memory:
                kind, detail = "memory", f"{peak() - before:.0f} MiB more than before"
            answers.write(json.dumps([kind, case, detail]) + "\n")


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
