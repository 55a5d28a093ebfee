"""The folder of what can be made again: features of recordings, compiled artefacts."""

from __future__ import annotations

import os
from pathlib import Path

from edge_asc.errors import EdgeAscError


def default_cache() -> Path:
    """Return $EDGE_ASC_CACHE, or edge-asc in $XDG_CACHE_HOME, or ~/.cache/edge-asc.

    Raises:
        EdgeAscError: the user has no home folder, and none of the variables names another one.
    """
    try:
        if folder := os.environ.get("EDGE_ASC_CACHE"):
            return Path(folder).expanduser()
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        return (base if base.is_absolute() else Path.home() / ".cache") / "edge-asc"
    except RuntimeError as error:
        raise EdgeAscError(
            f"the cache has no folder ({error}); expected a home folder: set EDGE_ASC_CACHE to a folder that can be "
            "written"
        ) from error
