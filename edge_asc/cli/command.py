"""Commands of `edge-asc`, found through the entry points of the group `edge_asc.commands`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click

from edge_asc.registry import Registry


@dataclass(frozen=True)
class Need:
    """An optional package that a command, or a part of it, needs.

    Attributes:
        package: name on the package index.
        module: name to import.
        extra: extra of edge-asc that installs it; "" where edge-asc always does.
        purpose: what needs it, such as "charts of report".
    """

    package: str
    module: str
    extra: str
    purpose: str


@dataclass(frozen=True)
class Command:
    """One command, described without importing it.

    Attributes:
        module: module that holds the click command under the name `command`.
        help: one line for the list of commands.
        needs: optional packages, which `edge-asc doctor` lists.
    """

    module: str
    help: str
    needs: tuple[Need, ...] = ()

    def load(self) -> click.Command:
        """Import the module and return its click command."""
        command: click.Command = import_module(self.module).command
        return command


COMMANDS: Registry[Command] = Registry("edge_asc.commands", Command, "COMMAND", "command")
