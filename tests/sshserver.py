"""A real OpenSSH server on loopback, which stands for a device."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge_asc_bench.target import Target, TargetOptions, open_target


@dataclass
class Server:
    """An SSH server that lets one key in, and a home folder for who logs in."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def kept(self) -> Path:
        return self.home / ".cache/edge-asc"

    def target(self, **options: Any) -> Target:
        return open_target(
            self.name, TargetOptions(**{"python": sys.executable, "ssh_config": self.folder / "config", **options})
        )

    def start(self, *environment: str) -> None:
        variables = " ".join([f"HOME={self.home}", *environment])
        config = (self.folder / "sshd_config.in").read_text() + f"SetEnv {variables}\n"
        (self.folder / "sshd_config").write_text(config)
        sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"])
        assert sshd is not None
        command = [sshd, "-D", "-f"]
        self.process = subprocess.Popen([*command, str(self.folder / "sshd_config"), "-E", str(self.folder / "log")])
        for _ in range(100):
            with socket.socket() as attempt:
                if attempt.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail(f"sshd does not answer: {(self.folder / 'log').read_text()}")

    def sessions(self) -> list[int]:
        """Processes of the server that serve a connection."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(child) for child in children]

    def cut(self) -> None:
        """Break every connection."""
        for number in self.sessions():
            for child in Path(f"/proc/{number}/task/{number}/children").read_text().split():
                os.kill(int(child), signal.SIGKILL)
            os.kill(number, signal.SIGKILL)

    def stop(self) -> None:
        if self.process:
            self.cut()
            self.process.terminate()
            self.process.wait()
            self.process = None


def make_server(folder: Path) -> Server:
    """Return a server, not yet started, with its keys and settings in a folder; without sshd the test is skipped."""
    if shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:" + os.environ["PATH"]) is None:
        pytest.skip("no sshd: apt-get install openssh-server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("host", "id", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "id.pub", folder / "authorized")
    (folder / "home").mkdir()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "config").write_text(f"Host *\n IdentityFile {folder}/id\n UserKnownHostsFile {folder}/known\n")
    lines = ["ListenAddress 127.0.0.1", f"Port {port}", f"HostKey {folder}/host", f"PidFile {folder}/pid"]
    lines += [f"AuthorizedKeysFile {folder}/authorized", "StrictModes no", "UsePAM no", "Subsystem sftp internal-sftp"]
    (folder / "sshd_config.in").write_text("\n".join([*lines, "PasswordAuthentication no", ""]))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it when it runs as root
    return Server(folder, port)
