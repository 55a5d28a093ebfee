"""Enters a board: a namespace in which aarch64 programs run, with the board's system as root."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc_arm.board import DEVICES, Board

# The emulator that is registered for aarch64 programs: it must need no library, to be found from inside.
QEMU = "qemu-aarch64-static"
TOOLS = {"unshare": "util-linux", "chroot": "coreutils"}
# An aarch64 machine runs a board's programs itself.
NATIVE = platform.machine() in ("aarch64", "arm64")
# ELF, 64 bits, little-endian, for AArch64 (machine 0xb7); the mask lets any system and kind of program through.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# The namespace's own binfmt_misc (Linux 6.7 and later) leaves the machine's as it is. The board's /proc is the real one
# with the processor's description laid over it; /sys is the board's alone.
SCRIPT = r"""
set -e
root=$1 emulator=$2 home=$3
if [ -n "$emulator" ]; then
    mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    printf '%s' ":aarch64:M::$MAGIC:$MASK:$emulator:OCF" > /proc/sys/fs/binfmt_misc/register
fi
described=$(mktemp)
cat "$root/proc/cpuinfo" > "$described"
mount --rbind /proc "$root/proc"
mount --bind "$described" "$root/proc/cpuinfo"
rm "$described"
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


def missing() -> list[str]:
    """What this machine lacks to enter a board, in words."""
    tools = TOOLS if NATIVE else {**TOOLS, QEMU: "qemu-user-static"}
    found = [f"{tool} (apt install {package})" for tool, package in tools.items() if _tool(tool) is None]
    release = [int(part) for part in re.findall(r"\d+", os.uname().release)[:2]]
    if release < [6, 7] and not NATIVE:
        found.append(f"Linux 6.7 or later, for namespaces with emulators of their own; this is {os.uname().release}")
    return found


def enter(board: Board, root: Path, command: str, *, home: str = "", keep: Mapping[str, str] | None = None) -> None:
    """Become a process on a board that runs a shell command, or a shell; on an aarch64 machine, as native code.

    Args:
        board: that programs see.
        root: of its system.
        command: for its shell; empty for an interactive one.
        home: size of a home folder in memory, such as "64m"; else it is in the system and stays.
        keep: variables for the programs.

    Raises:
        EdgeAscError: this machine cannot.
    """
    if lacking := missing():
        raise EdgeAscError(f"no board can be entered: {'; '.join(lacking)}")
    variables = {**LOGIN, **(keep or {}), "QEMU_CPU": board.cpu, "COMMAND": command}
    variables |= {"MAGIC": MAGIC, "MASK": MASK, "DEVICES": " ".join(DEVICES)}
    arguments = ["unshare", "-Urm", "bash", "-c", SCRIPT, "enter", str(root)]
    arguments += ["" if NATIVE else str(_tool(QEMU)), home]
    os.execvpe(_tool("unshare") or "unshare", arguments, {**variables, "PATH": f"{LOGIN['PATH']}:/usr/sbin:/sbin"})


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
