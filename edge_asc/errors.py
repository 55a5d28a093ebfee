"""Errors that a user can act on, and the loading of optional packages."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

# Problems that one message lists.
SHOWN = 20


class EdgeAscError(Exception):
    """A problem in the input or the installation: what is wrong, what was expected, what to do.

    The command line prints the message alone and exits with 2.
    """


class AudioError(EdgeAscError):
    """Audio that cannot be read, or must not be classified (empty, NaN, truncated, wrong rate)."""


class DatasetError(EdgeAscError):
    """A data set that is damaged or incomplete, or that is in no known layout."""


class ContractError(EdgeAscError):
    """An artefact or a call that does not follow the stream contract."""


class ExportError(EdgeAscError):
    """An export that failed; nothing was written."""


class CheckFailedError(EdgeAscError):
    """A check that did not hold. The command line exits with 1."""


class OutputError(EdgeAscError, OSError):
    """A file or a folder that cannot be written, or that holds what is not edge-asc's own."""


class MissingExtraError(EdgeAscError, ImportError):
    """An optional package that is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional `module`; the error names the extra of edge-asc that installs it.

    Raises:
        MissingExtraError: the module is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise MissingExtraError(
            f"{missing} is not installed; install it with: pip install 'edge-asc[{extra}]'"
        ) from error
    except ImportError as error:
        raise MissingExtraError(
            f"{module} is installed but does not load ({error}); install it again for this machine: "
            f"pip install --force-reinstall 'edge-asc[{extra}]'"
        ) from error


def list_problems(title: str, problems: Sequence[str], advice: str) -> str:
    """Return a message: a title with the number of problems, one line each for the first SHOWN, and what to do."""
    lines = [f"{title} ({len(problems)}):", *(f"  {problem}" for problem in problems[:SHOWN])]
    if len(problems) > SHOWN:
        lines.append(f"  and {len(problems) - SHOWN} more")
    return "\n".join([*lines, advice])
