"""A phone's way in: a real adbd in front of a board, in a network of its own."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc_arm.board import Board, bootstrap, build, copy, describe
from edge_asc_arm.login import missing

# The first Debian release with an adbd that listens on a network.
RELEASE = "trixie"
LIBRARIES, DAEMON = "usr/lib/x86_64-linux-gnu", "usr/lib/android-sdk/platform-tools/adbd"
LOADER = "ld-linux-x86-64.so.2"
SERIAL, PORT, SERVER_PORT = "127.0.0.1:5555", 5555, 5038
TOOLS = {"adb": "adb", "ip": "iproute2", "mmdebstrap": "mmdebstrap"}
# adbd listens on every address: a network namespace keeps it from the machine's own. The process namespace ends it, and
# the adb server, with the command.
SCRIPT = r"""
python=$1 board=$2 serial=$3 log=$4
shift 4
ip link set lo up
"$python" -m edge_asc_arm enter "$board" --phone --command "exec /$DAEMON" > "$log" 2>&1 &
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
echo "edge_asc_arm: no phone came up: $(tail -n 1 "$log")" >&2
exit 2
"""


def build_phone(board: Board) -> Path:
    """The root folder of a board with an adbd, and a Python that finds its packages; made where it is not in the cache.

    The daemon itself is a program of this machine: what it starts is the board's.

    Raises:
        EdgeAscError: as of `build`.
    """
    root = build(board)
    phone = root.with_name(f"{board.name}-phone")
    if (phone / "complete").exists():
        return phone
    with tempfile.TemporaryDirectory(dir=root.parent) as temporary:
        base, made = Path(temporary) / "adbd", Path(temporary) / "phone"
        base.mkdir()
        bootstrap(base, RELEASE, "amd64", ("adbd",))
        copy(root.with_name("base"), made)
        describe(board, made)
        shutil.copytree(base / LIBRARIES, made / LIBRARIES, symlinks=True)
        (made / DAEMON).parent.mkdir(parents=True)
        shutil.copy(base / DAEMON, made / DAEMON)
        (made / "lib64").mkdir(exist_ok=True)
        (made / "lib64" / LOADER).symlink_to(f"../{LIBRARIES}/{LOADER}")
        (made / "data/local/tmp").mkdir(parents=True)
        (made / "usr/lib/python3/dist-packages/packages.pth").write_text("/opt/packages\n")
        (made / "complete").touch()
        shutil.rmtree(phone, ignore_errors=True)
        made.rename(phone)
    return phone


def connected(board: Board, command: Sequence[str]) -> None:
    """Become a process that runs a command beside a phone that adb lists as `SERIAL`.

    Raises:
        EdgeAscError: this machine cannot.
    """
    if platform.machine() != "x86_64":
        raise EdgeAscError(f"a phone's adbd is a program for x86_64; this machine is {platform.machine()}")
    lacking = missing() + [f"{tool} (apt install {name})" for tool, name in TOOLS.items() if shutil.which(tool) is None]
    if lacking:
        raise EdgeAscError(f"no phone can be connected: {'; '.join(lacking)}")
    phone = build_phone(board)
    variables = {**os.environ, "DAEMON": DAEMON, "ANDROID_ADB_SERVER_PORT": str(SERVER_PORT)}
    arguments = [
        "unshare",
        "-Urn",
        "-fp",
        "--kill-child",
        "bash",
        "-c",
        SCRIPT,
        "phone",
        sys.executable,
        board.name,
        SERIAL,
    ]
    os.execvpe("unshare", [*arguments, str(phone.parent / "adbd.log"), *command], variables)
