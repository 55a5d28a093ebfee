"""Units, read as systemd reads them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest


def unquote(line: str) -> list[str]:
    """Read a command line as systemd.service(5) and systemd.syntax(7) describe it."""
    words = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    texts = [quoted or plain for quoted, plain in words]
    escapes = re.compile(r'\\(?:x([0-9a-f]{2})|(["\\]))')
    texts = [escapes.sub(lambda m: chr(int(m[1], 16)) if m[1] else m[2], text) for text in texts]
    return [text.replace("%%", "%").replace("$$", "$") for text in texts]


def verify(path: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed: apt install systemd")
    return subprocess.run([program, "verify", path], capture_output=True, text=True, check=False)
