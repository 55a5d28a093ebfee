"""Packages of other projects, which are installed or not."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from edge_asc.errors import MissingExtraError


def installed_version(distribution: str, user: str = "") -> str:
    """Return the version of a package.

    Args:
        distribution: its name on the package index.
        user: what needs it, for the message; "" to leave that out.

    Raises:
        MissingExtraError: the package is not installed.
    """
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        needed = f"{user}: {distribution}" if user else distribution
        raise MissingExtraError(f"{needed} is not installed; run: pip install {distribution}") from error
