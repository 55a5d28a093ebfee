"""The command line: parses, calls, prints. Data go to stdout, progress and logs to stderr.

Exit codes: 0 done; 1 a check did not hold; 2 bad usage, bad input or a missing package; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

import edge_asc
from edge_asc.cli.command import COMMANDS
from edge_asc.errors import EdgeAscError


class _Commands(click.Group):
    """The registered commands; a command's module is imported when the command is called."""

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
    """Run a command and exit; a known error is one message on stderr and exit code 2.

    Args:
        arguments: of the command line; None for the process's own.
    """
    try:
        sys.exit(cli.main(args=arguments, prog_name="edge-asc", standalone_mode=False) or 0)
    except EdgeAscError as error:
        click.echo(f"edge-asc: {error}", err=True)
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("edge-asc: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # The reader of the output has closed it; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        click.echo(f"edge-asc: {error}", err=True)
        sys.exit(2)
