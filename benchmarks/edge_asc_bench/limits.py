"""The limits of the gate: which change is a regression."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Self, get_args

import msgspec

from edge_asc.errors import EdgeAscError

TABLE = "gate"
# A share: 0.02 is 2 %. A larger one is a percentage that was meant for a share, or a limit that limits nothing.
LARGEST_SHARE = 0.5
# Divergence, times and memory may be allowed to double: 1 is 100 %.
LARGEST = {"kl": 1.0, "latency": 1.0, "memory": 1.0}

Timings = Literal["same-machine", "anywhere", "off"]


@dataclass(frozen=True)
class Limits:
    """Limits of a check; the table `[gate]` of a TOML file. They are shares: 0.02 is 2 %.

    Attributes:
        false_alarms: chance that a whole check reports changed accuracy though nothing changed; at most 0.5.
        agreement: drop of the share of decisions that equal the reference's; at most 0.5.
        clear_agreement: the same among decisions whose margin exceeds 0.5 in the reference; at most 0.5.
        kl: growth of the divergence from the reference's probabilities; at most 1. Less than
            0.0005 nats is ignored.
        size: growth of a file, and of its arena in TensorFlow Lite Micro; at most 0.5.
        latency: growth of the median of a decision, as a multiple of the reference's in the same run; at most 1.
        memory: growth of the peak resident set, as a multiple of the reference's in the same run; at most 1.
        instructions: growth of the instructions of a decision, with the same version of the engine; at most 0.5.
        events: growth of the false alarms of events on an endless stream, and of those that int8 adds to float at the
            same detections; and drop of the share of sounds that are detected; at most 0.5.
        timings: where latency and memory may have been measured: "same-machine", "anywhere" (of one architecture), or
            "off", which compares neither.
    """

    false_alarms: float = 0.01
    agreement: float = 0.01
    clear_agreement: float = 0.001
    kl: float = 0.25
    size: float = 0.02
    latency: float = 0.30
    memory: float = 0.20
    instructions: float = 0.02
    events: float = 0.05
    timings: Timings = "same-machine"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the limits of a TOML file; a limit that it does not name keeps its default.

        Raises:
            EdgeAscError: not TOML, no table [gate], another table, an unknown limit, or one out of its range.
        """
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise EdgeAscError(f"{path}: cannot be read ({error}); expected TOML with a table [gate]") from error
        if unknown := [name for name in document if name != TABLE]:
            raise EdgeAscError(f"{path}: unknown table or key {unknown[0]!r}; expected the table [gate] alone")
        given = document.get(TABLE)
        if not isinstance(given, dict):
            problem = "has no table [gate]" if given is None else f"gate is {given!r:.40}"
            raise EdgeAscError(f"{path}: {problem}; expected a table [gate]")
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in known]:
            raise EdgeAscError(f"{path}: unknown limit {unknown[0]!r}; expected some of {', '.join(known)}")
        for name, value in given.items():
            if problem := _find_problem(name, value):
                raise EdgeAscError(f"{path}: {name} is {value!r:.40}; {problem}")
        return msgspec.convert(given, cls)


def _find_problem(name: str, value: object) -> str:
    """Return what was expected of a limit; "" if it is in its range."""
    if name == "timings":
        return "" if value in get_args(Timings) else f"expected {', '.join(get_args(Timings))}"
    largest = LARGEST.get(name, LARGEST_SHARE)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= largest:
        return ""
    return f"expected a share above 0 and of at most {largest:g}, such as 0.02 for 2 %"
