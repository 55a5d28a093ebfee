"""What a device is, as JSON: sent to its own Python, which may be an old one."""

import importlib.util
import json
import os
import platform
import shutil
import struct
import sys


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def main(folder: str, modules: "list[str]") -> None:
    """Print it."""
    place = os.path.expanduser(folder)
    parent = place
    while not os.path.isdir(parent):
        parent = os.path.dirname(parent)
    print(
        json.dumps(
            {
                "python": list(sys.version_info[:3]),
                "machine": platform.machine(),
                "bits": 8 * struct.calcsize("P"),
                "system": platform.system(),
                "libc": platform.libc_ver(),
                "folder": place,
                "writable": os.access(parent, os.W_OK),
                "free_bytes": shutil.disk_usage(parent).free,
                "has_venv": _found("venv") and _found("ensurepip"),
                "modules": [module for module in modules if _found(module)],
            }
        )
    )
