"""Errors that a user can act on, and the loading of optional packages."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class EdgeAscError(Exception):
    """A problem in the input or the installation: what was found, what was expected, what to do.

    The command line prints the message alone and exits with 2.
    """


class AudioError(EdgeAscError):
    """Audio that cannot be read, or must not be classified (empty, NaN, truncated, wrong rate)."""


class DatasetError(EdgeAscError):
    """A data set whose folder does not hold what its files promise."""


class ContractError(EdgeAscError):
    """An artefact or a call that does not follow the stream contract."""


class ExportError(EdgeAscError):
    """An export that failed; nothing was written."""


class MissingExtraError(EdgeAscError, ImportError):
    """An optional package that is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional `module`, or say in one line which extra of edge-asc installs it.

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
