"""Golden vectors, written once for all tests of other runtimes."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_asc_conformance.preparation import prepare


@pytest.fixture(scope="session")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `edge-asc conformance golden` writes, with the artefacts of two schemes."""
    folder = tmp_path_factory.mktemp("vectors") / "golden"
    prepare("fuse", folder, ["int8", "int8-dynamic"])
    return folder
