"""An SSH server on loopback whose logins land on a board."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edge_asc.children import END_TIMEOUT
from edge_asc.errors import EdgeAscError
from edge_asc.tool import CommandLine, last_line, run_tool
from edge_asc_arm.board import Board
from edge_asc_arm.login import list_missing

HOST = "127.0.0.1"
START_TIMEOUT = 10.0


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        target: value of `edge-asc bench --target`.
        config: value of `edge-asc bench --ssh-config`: the accepted key and the known host.
    """

    target: str
    config: Path


@contextmanager
def serve(board: Board, folder: Path, *, port: int = 0, home: str = "", root: Path | None = None) -> Iterator[Server]:
    """Run OpenSSH's server on loopback until the context ends.

    Args:
        board: that logins land on.
        folder: for the server's keys and settings, created.
        port: to listen on; 0 for any free one.
        home: size of each login's home folder, as of `edge_asc_arm.login.enter`.
        root: folder of the board's system; None for the one in the cache.

    Raises:
        EdgeAscError: OpenSSH's server is not installed, no board can be entered, or the server does not start.
    """
    sshd = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if sshd is None:
        raise EdgeAscError("sshd is not installed; run: sudo apt install openssh-server")
    if missing := list_missing():
        raise EdgeAscError(f"no board can be entered: {'; '.join(missing)}")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    port = _free_port(port)
    for name in ("host", "login"):
        if not (folder / name).exists():
            command: CommandLine = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            run_tool(command, "no SSH key can be generated")
    (folder / "known_hosts").write_text(f"[{HOST}]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(
        f"Host {HOST}\n  IdentityFile {folder}/login\n  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n"
    )
    login = [sys.executable, "-P", "-m", "edge_asc", "arm", "enter", board.name, *(["--home", home] if home else [])]
    login += ["--root", str(root)] if root else []
    settings = {
        "ListenAddress": HOST,
        "Port": port,
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "login.pub",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PrintMotd": "no",
        "Subsystem": "sftp /usr/lib/openssh/sftp-server",
        "ForceCommand": shlex.join(login),
        "SetEnv": " ".join(
            f"{name}={os.environ[name]}" for name in ("EDGE_ASC_CACHE", "PYTHONPATH") if name in os.environ
        )
        or "EDGE_ASC=1",
    }
    (folder / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd requires it as root
    process = subprocess.Popen([sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "log")])
    try:
        _wait_until_listening(process, port, folder / "log")
        yield Server(f"ssh://{getpass.getuser()}@{HOST}:{port}", folder / "config")
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as attempt:
            if attempt.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.05)
    detail = last_line(log.read_text()) if log.exists() else ""
    raise EdgeAscError(f"sshd did not start: {detail or 'it printed nothing'}")


def _free_port(port: int) -> int:
    """Return `port`, or with 0 any free port.

    Raises:
        EdgeAscError: another program listens on it.
    """
    with socket.socket() as free:
        try:
            free.bind((HOST, port))
        except OSError as error:
            raise EdgeAscError(
                f"port {port} cannot be used ({error.strerror}); name another one with --port"
            ) from error
        return int(free.getsockname()[1])
