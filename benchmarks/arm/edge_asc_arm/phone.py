"""A phone: a real adbd in front of a board, in a network of its own."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc_arm.board import Board, build, copy, describe
from edge_asc_arm.debian import bootstrap
from edge_asc_arm.login import list_missing

# The first Debian release with an adbd that listens on a network.
RELEASE = "trixie"
LIBRARIES, DAEMON = "usr/lib/x86_64-linux-gnu", "usr/lib/android-sdk/platform-tools/adbd"
LOADER = "ld-linux-x86-64.so.2"
SERIAL, PORT, SERVER_PORT = "127.0.0.1:5555", 5555, 5038
TOOLS = {"adb": "adb", "ip": "iproute2", "mmdebstrap": "mmdebstrap"}
# adbd listens on every address: a network namespace separates it from the machine's network. The process namespace ends
# adbd and the adb server together with the command.
SCRIPT = r"""
python=$1 board=$2 serial=$3 log=$4
shift 4
ip link set lo up
"$python" -P -m edge_asc arm enter "$board" --phone --command "exec /$DAEMON" > "$log" 2>&1 &
adb start-server > /dev/null 2>&1 < /dev/null
for attempt in $(seq 100); do
    case $(adb connect "$serial" 2>&1) in
    *"connected to"*)
        if timeout 20 adb -s "$serial" wait-for-device; then "$@"; exit; fi
        break
        ;;
    esac
    sleep 0.1
done
echo "edge-asc: adb did not connect to the phone: $(tail -n 1 "$log")" >&2
exit 2
"""


def build_phone(board: Board) -> Path:
    """Return the root folder of a board with an adbd; build it if it is not in the cache.

    The daemon itself is a program of this machine; the programs that it starts are the board's.

    Raises:
        EdgeAscError: a tool is not installed, or packages cannot be fetched.
    """
    root = build(board)
    phone = root.with_name(f"{board.name}-phone")
    if (phone / "complete").exists():
        return phone
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        base, system = Path(temporary) / "adbd", Path(temporary) / "phone"
        base.mkdir()
        bootstrap(base, RELEASE, "amd64", ("adbd",))
        copy(root.with_name("base"), system)
        describe(board, system)
        shutil.copytree(base / LIBRARIES, system / LIBRARIES, symlinks=True)
        (system / DAEMON).parent.mkdir(parents=True)
        shutil.copy(base / DAEMON, system / DAEMON)
        (system / "lib64").mkdir(exist_ok=True)
        (system / "lib64" / LOADER).symlink_to(f"../{LIBRARIES}/{LOADER}")
        (system / "data/local/tmp").mkdir(parents=True)
        (system / "usr/lib/python3/dist-packages/packages.pth").write_text("/opt/packages\n")
        (system / "complete").touch()
        shutil.rmtree(phone, ignore_errors=True)
        system.rename(phone)
    return phone


def run_beside_phone(board: Board, command: Sequence[str]) -> None:
    """Replace this process by a command in a network where adb lists the phone as `SERIAL`.

    Raises:
        EdgeAscError: this machine lacks a tool, or is not x86-64.
    """
    if platform.machine() != "x86_64":
        raise EdgeAscError(f"this machine is {platform.machine()}; expected x86_64, for which adbd is")
    missing = [f"{tool} (apt install {name})" for tool, name in TOOLS.items() if shutil.which(tool) is None]
    if missing := list_missing() + missing:
        raise EdgeAscError(f"no phone can be connected: {'; '.join(missing)}")
    phone = build_phone(board)
    variables = {**os.environ, "DAEMON": DAEMON, "ANDROID_ADB_SERVER_PORT": str(SERVER_PORT)}
    arguments = ["unshare", "-Urn", "-fp", "--kill-child", "bash", "-c", SCRIPT, "phone"]
    arguments += [sys.executable, board.name, SERIAL, str(phone.parent / "adbd.log"), *command]
    os.execvpe("unshare", arguments, variables)
