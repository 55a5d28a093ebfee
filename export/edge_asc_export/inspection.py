"""Inspection of an artefact by the format that it is in."""

from __future__ import annotations

from pathlib import Path

from edge_asc_export.format import format_of
from edge_asc_export.operations import Inspection


def inspect(path: Path) -> Inspection:
    """Count the operations of an artefact.

    Raises:
        ContractError: no format has files of this suffix.
        MissingExtraError: the package that reads the format is not installed.
    """
    return format_of(path).inspect(path)
