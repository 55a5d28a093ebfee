"""The command line: parses, calls, prints. Data go to stdout, progress and logs to stderr.

Exit codes: 0 done; 1 a check did not hold; 2 bad usage, bad input or a missing package; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

import edge_asc
from edge_asc.errors import EdgeAscError

COMMANDS = {
    "bench": "Latency, memory and accuracy of models, side by side, here or on a device.",
    "check": "Gate a benchmark's result against a baseline.",
    "classify": "Classify a recording, or the microphone live.",
    "doctor": "Say what is installed, what is missing, and how to get it.",
    "evaluate": "Accuracy at each length of checkpoints and artefacts, side by side.",
    "export": "Write streaming ONNX and TFLite artefacts, proven against PyTorch.",
    "inspect": "Show the contract, size and operations of an artefact.",
    "report": "Write one page of what was found.",
    "reproduce": "The paper's table and figures, on your data.",
    "scenes": "Write a data set of generated scenes.",
    "train": "Train a classifier.",
}


class _Commands(click.Group):
    """Loads a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"edge_asc.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


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
