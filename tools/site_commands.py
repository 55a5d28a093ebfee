"""The reference of the command line as Markdown, read from the click commands."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

# What Markdown or HTML would read as markup, outside code.
MARKUP = re.compile(r"([\\*_\[\]|])")


def describe_commands(command: click.Command, name: str) -> str:
    """Return a section for a command and for each of its subcommands, in Markdown.

    Args:
        command: the outermost command.
        name: of the program.
    """
    return "\n".join(_describe(command, click.Context(command, info_name=name, **command.context_settings)))


def _describe(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    subcommands = []
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (each := command.get_command(context, name)) is not None and not each.hidden:
                subcommands.append((each, click.Context(each, info_name=name, parent=context)))
    if context.parent is not None:
        yield from (f"{'#' * (path.count(' ') + 1)} {path}", "", *_describe_text(command.help or ""), "")
        yield from ("```text", " ".join([path, *command.collect_usage_pieces(context)]), "```", "")
        yield from _tabulate("option", [param.get_help_record(context) for param in command.get_params(context)])
        yield from _tabulate_epilog(command, context)
    else:
        rows = [(f"{path} {each.name}", each.get_short_help_str(limit=200)) for each, _ in subcommands]
        yield from _tabulate("command", [(f"[`{name}`](#{name.replace(' ', '-')})", text) for name, text in rows])
    for each, inner in subcommands:
        yield from _describe(each, inner)


def _describe_text(text: str) -> Iterator[str]:
    """Yield the lines of a help text; what click must not wrap becomes a block of code."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        if lines and lines[0].strip() == "\b":
            yield from ("```text", *inspect.cleandoc("\n".join(lines[1:])).splitlines(), "```", "")
        else:
            yield from (*map(_escape, lines), "")


def _tabulate(title: str, records: list[tuple[str, str] | None]) -> Iterator[str]:
    rows = [record for record in records if record is not None and record[1]]
    if not rows:
        return
    yield from (f"| {title} | meaning |", "|---|---|")
    for name, text in rows:
        shown = name if name.startswith("[") else "`` " + name.replace("|", "\\|") + " ``"
        yield f"| {shown} | {_escape(text)} |"
    yield ""


def _tabulate_epilog(command: click.Command, context: click.Context) -> Iterator[str]:
    """Yield what a command adds to its help by itself, such as the list of targets."""
    formatter = click.HelpFormatter(width=1000)
    command.format_epilog(context, formatter)
    if text := inspect.cleandoc(formatter.getvalue()):
        yield from ("```text", *text.splitlines(), "```", "")


def _escape(text: str) -> str:
    """Return text as Markdown that shows it as it is, with the code in backticks as code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part.replace("|", "\\|") if part.startswith("`") else _escape_words(part) for part in parts)


def _escape_words(text: str) -> str:
    return MARKUP.sub(r"\\\1", text.replace("&", "&amp;").replace("<", "&lt;"))
