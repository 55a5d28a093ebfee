"""One kind of input that is fuzzed: where whole inputs come from, how they are damaged, and what reads them.

A new kind is one file, `targets/NAME.py`, that holds `TARGET`; see `targets/manifest.py`. `make fuzz TARGETS=NAME`
runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random

from fuzz.mutations import mutate_bytes

TARGETS = Path(__file__).parent / "targets"

Seeds = Mapping[str, bytes]
"""Whole inputs by file name; the name says how the input is stored for `Target.read`."""
Mutation = Callable[[Random, bytes, Seeds], bytes]
"""Damages one input; the other seeds are there to splice from."""


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        seeds: makes the whole inputs; called once a run, with an empty folder for temporary files.
        read: reads the file at a path as a user's program does, and returns its answer as text: equal answers are
            equal texts. What a user can mend is raised as `edge_asc.errors.EdgeAscError`.
        mutate: damages an input.
        other_answers: whether a damaged input may be read to another answer: where nothing in the input can tell.
        timeout: seconds after which a case counts as a hang.
        memory: MiB that a case may take more than the process had.
    """

    seeds: Callable[[Path], Seeds]
    read: Callable[[Path], str]
    mutate: Mutation = mutate_bytes
    other_answers: bool = False
    timeout: float = 20.0
    memory: int = 512


def target_names() -> list[str]:
    """Return the names of all targets: each is the module `TARGETS/NAME.py`, which holds `TARGET`."""
    return sorted(path.stem for path in TARGETS.glob("*.py"))


def load_target(name: str) -> Target:
    """Return a target by the name of its module, or by `package.module`."""
    target = import_module(name if "." in name else f"fuzz.targets.{name}").TARGET
    assert isinstance(target, Target)
    return target
