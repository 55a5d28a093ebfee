"""Commands: what `edge-asc` offers, found through the entry points of the group `edge_asc.commands`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import click

from edge_asc.registry import Registry


@dataclass(frozen=True)
class Command:
    """One command, described without importing it.

    Attributes:
        module: that holds the click command under the name `command`.
        help: one line for the list of commands.
    """

    module: str
    help: str

    def load(self) -> click.Command:
        """Import the module and return its click command."""
        command: click.Command = import_module(self.module).command
        return command


COMMANDS: Registry[Command] = Registry("edge_asc.commands", Command, "COMMAND", "command")
