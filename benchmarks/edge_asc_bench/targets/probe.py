"""What a device is, as JSON: sent to its own Python, which may be an old one."""

import importlib.util
import json
import os
import pathlib
import platform
import shutil
import struct
import sys

# What a login shell prints before it is not the answer.
MARK = "edge-asc: "


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def main(folder: str, modules: "list[str]") -> None:
    """Print it."""
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
                "has_venv": _found("venv") and _found("ensurepip"),
                "modules": [module for module in modules if _found(module)],
            }
        )
    )
