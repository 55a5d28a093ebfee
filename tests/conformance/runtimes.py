"""What tests of other runtimes need, or the reason why they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asc.errors import MissingExtraError
from edge_asc_conformance.host import HOSTS

EXAMPLES = Path(__file__).parents[2] / "examples"
MODULES = EXAMPLES / "node_modules"


def require_host(name: str) -> None:
    """Skip the test if a host is not installed."""
    try:
        HOSTS.load(name)().version(MODULES)
    except MissingExtraError as error:
        pytest.skip(str(error))
