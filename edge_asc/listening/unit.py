"""A systemd unit that runs a command as a service."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import EdgeAscError, OutputError
from edge_asc.files import explain_failure, write_bytes

NAME = "edge-asc-listen"
STATE = NAME  # folder below /var/lib, or ~/.local/state, that belongs to the service
SYSTEM_FOLDER = Path("/etc/systemd/system")
MARK = "# Written by edge-asc listen --install-service; sha256 "
WATCHDOG = 60  # s
# The state folder, and the folder of credentials, in a unit.
STATE_FOLDER, CREDENTIALS = "%S/" + STATE, "%d"


@dataclass(frozen=True)
class Argument:
    """One argument of the command.

    Attributes:
        text: as the command is to see it.
        folder: stands before the text as it is: a specifier of systemd, such as STATE_FOLDER.
    """

    text: str
    folder: str = ""

    def quote(self, *, is_program: bool = False) -> str:
        """Return the argument as a word of ExecStart, whatever characters it has.

        Args:
            is_program: it is the program, in which systemd replaces no variables.

        Raises:
            EdgeAscError: it has a byte that is not UTF-8, or NUL.
        """
        if re.search("[\x00\ud800-\udfff]", self.text):
            raise EdgeAscError(f"{self.text!r}: cannot stand in a systemd unit; expected a name in UTF-8")
        text = self.text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
        if not is_program:
            text = text.replace("$", "$$")
        text = re.sub("[\x01-\x1f\x7f]", lambda match: f"\\x{ord(match[0]):02x}", text)
        word = self.folder + text
        return word if re.fullmatch(r"[\w@%+=:,./-]+", word, re.ASCII) else f'"{word}"'


@dataclass(frozen=True)
class Unit:
    """A service.

    Attributes:
        command: program and arguments.
        is_user: it belongs to one user and runs with that user's rights; else it has a user of its own.
        has_network: it uses the network.
        has_end: its source may end, as a pipe does, and is opened again then; such a source may also be silent for
            long, so that no watchdog watches it.
        credentials: files that only root needs to be able to read, by the names under which the service finds them.
        can_back_off: this systemd can wait longer after each failure; an older one waits as long each time.
    """

    command: Sequence[Argument]
    is_user: bool
    has_network: bool
    has_end: bool
    credentials: Sequence[tuple[str, Path]] = ()
    can_back_off: bool = True

    def format(self) -> str:
        """Return the text of the unit, whose first line has a digest of the others.

        Raises:
            EdgeAscError: an argument cannot stand in a unit.
        """
        words = [argument.quote(is_program=not index) for index, argument in enumerate(self.command)]
        lines = [
            "[Unit]",
            "Description=Sound events by edge-asc",
            "StartLimitIntervalSec=0",
            *(["Wants=network-online.target", "After=network-online.target"] if self._waits_for_network else []),
            *([] if self.is_user else ["After=sound.target"]),
            "",
            "[Service]",
            "Type=notify",
            f"ExecStart={' '.join(words)}",
            # SIGTERM is the way to stop it: 128 and 15.
            "SuccessExitStatus=143",
            f"Restart={'always' if self.has_end else 'on-failure'}",
            *(
                ["RestartSec=5", "RestartSteps=5", "RestartMaxDelaySec=5min"]
                if self.can_back_off
                else ["RestartSec=30"]
            ),
            *([] if self.has_end else [f"WatchdogSec={WATCHDOG}"]),
            "TimeoutStopSec=30",
            f"StateDirectory={STATE}",
            "StateDirectoryMode=0700",
            "UMask=0077",
            *(f"LoadCredential={name}:{_to_line(path)}" for name, path in self.credentials),
            *self._harden(),
            "",
            "[Install]",
            f"WantedBy={'default' if self.is_user else 'multi-user'}.target",
        ]
        text = "\n".join(lines) + "\n"
        return f"{MARK}{_digest(text)}\n{text}"

    @property
    def _waits_for_network(self) -> bool:
        return self.has_network and not self.is_user  # managers of users do not know that target

    def _harden(self) -> list[str]:
        """Return what the service is not allowed to do. Managers of users can hold it to less.

        MemoryDenyWriteExecute is not among it: callbacks of PortAudio and kernels of engines are code made at run time.
        """
        families = "AF_UNIX AF_INET AF_INET6 AF_NETLINK" if self.has_network else "AF_UNIX"
        lines = [
            "NoNewPrivileges=yes",
            "LockPersonality=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            f"RestrictAddressFamilies={families}",
            "SystemCallArchitectures=native",
        ]
        if self.is_user:
            return lines
        return [
            "DynamicUser=yes",
            "SupplementaryGroups=audio",
            "DevicePolicy=closed",
            "DeviceAllow=char-alsa rw",
            *([] if self.has_network else ["PrivateNetwork=yes"]),
            "ProtectSystem=strict",
            "ProtectHome=read-only",
            "PrivateTmp=yes",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "ProtectProc=invisible",
            "RestrictNamespaces=yes",
            "CapabilityBoundingSet=",
            "AmbientCapabilities=",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~@privileged",
            "SystemCallErrorNumber=EPERM",
            *lines,
        ]


def _to_line(path: Path) -> str:
    """Return a path as the rest of a line, where quotes would be a part of it."""
    text = str(path)
    if re.search("[\x00-\x1f\x7f\ud800-\udfff]", text) or text != text.strip() or text.endswith("\\"):
        raise EdgeAscError(f"{text!r}: cannot stand in a systemd unit; expected a name without line ends, in UTF-8")
    return text.replace("%", "%%")


def can_back_off() -> bool:
    """Return whether systemd here is of version 254 or later, which knows RestartSteps."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    match = re.match(r"systemd (\d+)", done.stdout)
    return match is not None and int(match[1]) >= 254


def unit_path(*, is_user: bool) -> Path:
    """Return where the unit belongs."""
    if not is_user:
        return SYSTEM_FOLDER / f"{NAME}.service"
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "systemd/user" / f"{NAME}.service"


def check_access(paths: Sequence[Path]) -> None:
    """Check that a user without rights can reach some files and folders.

    Raises:
        EdgeAscError: some folder above them is closed to others.
    """
    for path in paths:
        for place in (path, *path.absolute().parents):
            needed = 0o5 if place == path else 0o1
            if place.exists() and place.stat().st_mode & needed != needed:
                raise EdgeAscError(
                    f"{path}: {place} is closed to the service's own user; install edge-asc and the model where all "
                    "users can read them, such as /opt, or add --user for a service with your rights"
                )


def install(path: Path, text: str) -> bool:
    """Write a unit; return whether it has changed.

    Raises:
        OutputError: another unit is there, or one that was edited, or the folder cannot be written.
    """
    try:
        present = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        present = ""
    except OSError as error:
        raise explain_failure(path, error) from error
    if present == text:
        return False
    if present and not _is_ours(present):
        raise OutputError(
            f"{path}: was not written by edge-asc, or was edited since; remove it first, and keep changes of your own "
            f"in a drop-in: systemctl edit {NAME}"
        )
    write_bytes(path, text.encode())
    return True


def _is_ours(text: str) -> bool:
    first, _, rest = text.partition("\n")
    return first == MARK + _digest(rest)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
