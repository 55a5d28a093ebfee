"""The limits of the gate: which change is a regression."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Self, get_args

import msgspec

from edge_asc.errors import EdgeAscError

Timings = Literal["same-machine", "anywhere", "off"]


@dataclass(frozen=True)
class Limits:
    """Limits of a check; the table `[gate]` of a TOML file.

    Attributes:
        false_alarms: chance that a whole check reports changed accuracy though nothing changed.
        agreement: drop of the share of decisions that equal the reference's.
        size: growth of a file.
        latency: growth of the median of a decision, as a multiple of the reference's in the same run.
        memory: growth of the peak resident set, as a multiple of the reference's in the same run.
        instructions: growth of the instructions of a decision, with the same version of the engine.
        timings: where latency and memory may have been measured: "same-machine", "anywhere" (of one architecture), or
            "off", which compares neither.
    """

    false_alarms: float = 0.01
    agreement: float = 0.01
    size: float = 0.02
    latency: float = 0.30
    memory: float = 0.20
    instructions: float = 0.02
    timings: Timings = "same-machine"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the limits of a TOML file; a limit that it does not name keeps its default.

        Raises:
            EdgeAscError: not TOML, an unknown limit, or one that is not a share above 0.
        """
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8")).get("gate", {})
        except (OSError, ValueError) as error:
            raise EdgeAscError(f"{path}: cannot be read ({error}); expected TOML with a table [gate]") from error
        if not isinstance(given, dict):
            raise EdgeAscError(f"{path}: gate is {given!r}; expected a table [gate]")
        known = [field.name for field in fields(cls)]
        if unknown := [name for name in given if name not in known]:
            raise EdgeAscError(f"{path}: unknown limit {unknown[0]}; expected some of {', '.join(known)}")
        for name, value in given.items():
            if name == "timings":
                if value not in get_args(Timings):
                    raise EdgeAscError(f"{path}: timings is {value!r}; expected {', '.join(get_args(Timings))}")
            elif not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise EdgeAscError(f"{path}: {name} is {value!r}; expected a share above 0")
        limits = msgspec.convert(given, cls)
        if limits.false_alarms >= 1:
            raise EdgeAscError(f"{path}: false_alarms is {limits.false_alarms:g}; expected less than 1")
        return limits
