"""The command line: parses, calls, prints. Data go to stdout, progress and logs to stderr.

Exit codes: 0 done; 1 a check did not hold; 2 bad usage, bad input or a missing package; 130 interrupted.
"""

from __future__ import annotations

import os
import sys

import click

import edge_asc
from edge_asc.cli.command import COMMANDS
from edge_asc.errors import EdgeAscError


class _Commands(click.Group):
    """Loads a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return COMMANDS.load(cmd_name).load() if cmd_name in COMMANDS.sources else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.all().items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(edge_asc.__version__, prog_name="edge-asc")
def cli() -> None:
    """Streaming acoustic scene classifiers for phones and single-board computers."""


def main() -> None:
    """Run the command line; a known error is one message on stderr and exit code 2."""
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
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
        # Whoever read the output has enough of it; nothing is left to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        click.echo(f"edge-asc: {error}", err=True)
        sys.exit(2)
