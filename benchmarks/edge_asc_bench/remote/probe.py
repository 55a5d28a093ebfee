"""Describes a device as JSON: sent to its own Python, which may be an old one."""

import importlib.util
import json
import os
import pathlib
import platform
import shutil
import struct
import sys

# Marks the reply; a login shell may print lines before it.
MARK = "edge-asc: "


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def main(folder: str, modules: "list[str]") -> None:
    """Print the description."""
    place = pathlib.Path(folder).expanduser()
    parent = next(path for path in (place, *place.parents) if path.is_dir())
    print(
        MARK
        + json.dumps(
            {
                "python": list(sys.version_info[:3]),
                "machine": platform.machine(),
                "bits": 8 * struct.calcsize("P"),
                "system": platform.system(),
                "libc": platform.libc_ver(),
                "folder": str(place),
                "writable": os.access(str(parent), os.W_OK),
                "free_bytes": shutil.disk_usage(str(parent)).free,
                "has_venv": _is_installed("venv") and _is_installed("ensurepip"),
                "modules": [module for module in modules if _is_installed(module)],
            }
        )
    )
