"""Debian systems in folders: packages of any release and architecture, unpacked without running them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc.tool import CommandLine, run_tool

SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
UNNEEDED = ("doc", "man", "locale", "info", "perl", "perl5")


def bootstrap(root: Path, release: str, architecture: str, packages: Sequence[str]) -> None:
    """Unpack Debian packages, and the packages that they depend on, into a folder.

    Args:
        root: the folder, which exists.
        release: of Debian, such as "bookworm".
        architecture: Debian's name of it, such as "arm64".
        packages: names.

    Raises:
        EdgeAscError: mmdebstrap is not installed, or the packages cannot be fetched.
    """
    if shutil.which("mmdebstrap") is None:
        raise EdgeAscError("mmdebstrap is not installed; run: sudo apt install mmdebstrap debian-archive-keyring")
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"]
    command += [f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNNEEDED]
    # As an archive, so that the files belong to the user who unpacks it: without root, mmdebstrap has users of its own.
    archive = root.with_name(f"{root.name}.tar")
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        command += [release, str(archive), *_mirror()]
        run_tool(command, f"Debian {release} for {architecture} cannot be fetched", environment=environment)
        unpack: CommandLine = ["tar", "--extract", "--file", archive, "--directory", root, "--exclude=./dev/*"]
        run_tool(unpack, f"Debian {release} for {architecture} cannot be unpacked", environment=environment)
    finally:
        archive.unlink(missing_ok=True)


def _mirror() -> list[str]:
    """Return the mirror that this machine uses if it runs Debian; else nothing, and mmdebstrap chooses one."""
    try:
        is_debian = re.search(r"^ID=debian$", Path("/etc/os-release").read_text(), re.MULTILINE)
    except OSError:
        return []
    texts = [path.read_text() for path in SOURCES if is_debian and path.is_file()]
    match = re.search(r"^(?:URIs:|deb(?:\s+\[.*?\])?)\s+(https?://\S+)", "\n".join(texts), re.MULTILINE)
    return [match[1]] if match else []
