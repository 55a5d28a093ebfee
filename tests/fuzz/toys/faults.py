"""A target whose inputs do everything that none may do, to test the harness."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from random import Random

from edge_asc.errors import ContractError
from fuzz.target import Seeds, Target

KINDS = ("error", "unchanged", "other", "traceback", "crash", "hang", "memory")


def seeds(folder: Path) -> Seeds:
    return {"input.txt": b"whole"}


def mutate(random: Random, data: bytes, seeds: Seeds) -> bytes:
    return random.choice(KINDS).encode()


def read(path: Path) -> str:
    match path.read_text():
        case "error":
            raise ContractError("damaged")
        case "traceback":
            raise IndexError("list index out of range")
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "hang":
            time.sleep(60)
        case "memory":
            return str(len(bytearray(2**40)))
        case "other":
            return "another answer"
    return "answer"


TARGET = Target(seeds, read, mutate, timeout=1.0)
