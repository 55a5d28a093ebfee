"""A login on a board: a namespace in which aarch64 programs run, with the board's system as root."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc_arm.board import DEVICES, Board

# The emulator that Linux starts for aarch64 programs. It is static, since the board has no libraries for it.
QEMU = "qemu-aarch64-static"
TOOLS = {"unshare": "util-linux", "chroot": "coreutils"}
# An aarch64 machine runs a board's programs without an emulator.
NATIVE = platform.machine() in ("aarch64", "arm64")
# ELF, 64 bits, little-endian, for AArch64 (machine 0xb7); the mask accepts any system and kind of program.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# The namespace has a binfmt_misc of its own (Linux 6.7 and later), so the machine's stays as it is. The board's /proc
# is the machine's, with the board's description of the processor mounted over it; /sys is the board's alone.
SCRIPT = r"""
set -e
root=$1 emulator=$2 home=$3
if [ -n "$emulator" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    printf '%s' ":aarch64:M::$MAGIC:$MASK:$emulator:OCF" > /proc/sys/fs/binfmt_misc/register
fi
cpuinfo=$(mktemp)
cat "$root/proc/cpuinfo" > "$cpuinfo"
mount --rbind /proc "$root/proc"
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
rm "$cpuinfo"
for name in $DEVICES; do mount --bind "/dev/$name" "$root/dev/$name"; done
mkdir -p "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 none "$root/dev/pts"
mount --bind "$root/dev/pts/ptmx" "$root/dev/ptmx"
if [ -n "$home" ]; then mount -t tmpfs -o "size=$home" none "$root/home/pi"; fi
cd "$root/home/pi"
if [ -n "$COMMAND" ]; then set -- /bin/bash -c "cd; $COMMAND"; else set -- /bin/bash -l; fi
exec chroot "$root" "$@"
"""
LOGIN = {"HOME": "/home/pi", "USER": "pi", "LOGNAME": "pi", "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


def list_missing() -> list[str]:
    """Return what this machine lacks to enter a board, each as text for a message; empty if it lacks nothing."""
    tools = TOOLS if NATIVE else {**TOOLS, QEMU: "qemu-user-static"}
    missing = [f"{tool} (apt install {package})" for tool, package in tools.items() if _find_tool(tool) is None]
    release = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if release < [6, 7] and not NATIVE:
        missing.append(f"Linux 6.7 or later, for namespaces with emulators of their own; this is {os.uname().release}")
    return missing


def enter(board: Board, root: Path, command: str, *, home: str = "", keep: Mapping[str, str] | None = None) -> None:
    """Replace this process by a shell on a board. On an aarch64 machine, it runs as native code.

    Args:
        board: that programs see.
        root: folder of its system.
        command: for the shell; "" for an interactive one.
        home: size of a home folder in memory, such as "64m"; "" for the system's own folder, which keeps its files.
        keep: further environment variables.

    Raises:
        EdgeAscError: this machine lacks a tool.
    """
    if missing := list_missing():
        raise EdgeAscError(f"no board can be entered: {'; '.join(missing)}")
    variables = {**LOGIN, **(keep or {}), "QEMU_CPU": board.cpu, "COMMAND": command}
    variables |= {"MAGIC": MAGIC, "MASK": MASK, "DEVICES": " ".join(DEVICES)}
    arguments = ["unshare", "-Urm", "bash", "-c", SCRIPT, "enter", str(root)]
    arguments += ["" if NATIVE else str(_find_tool(QEMU)), home]
    os.execvpe(_find_tool("unshare") or "unshare", arguments, {**variables, "PATH": f"{LOGIN['PATH']}:/usr/sbin:/sbin"})


def _find_tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
