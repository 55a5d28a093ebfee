"""The command line: parses, calls, prints. Data go to stdout, progress and logs to stderr.

Exit codes: 0 done; 1 a check did not hold; 2 usage or input; 3 unforeseen; 128 and its number for a signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

import edge_asc
from edge_asc.cli.command import COMMANDS
from edge_asc.cli.exits import exit_with, own_errors


class _Commands(click.Group):
    """The registered commands; a command's module is imported when the command is called."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with own_errors():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> object:
        with own_errors():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return COMMANDS.load(cmd_name).load() if cmd_name in COMMANDS.sources else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.all().items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [name for name in COMMANDS.names() if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS.load(name).help) for name in names), *options]


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(edge_asc.__version__, prog_name="edge-asc")
def cli() -> None:
    """Streaming acoustic scene classifiers for phones and single-board computers."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a command and exit with one of `ExitCode`.

    Args:
        arguments: of the command line; None for the process's own.
    """
    exit_with(lambda: cli.main(args=arguments, prog_name="edge-asc", standalone_mode=False))
