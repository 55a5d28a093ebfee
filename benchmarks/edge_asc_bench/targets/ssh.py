"""Machines over SSH: `ssh://[user@]host[:port]`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edge_asc.errors import EdgeAscError, require
from edge_asc_bench.targets import TargetLostError
from edge_asc_bench.targets.remote import Finished, RemoteTarget

# A connection that answers nothing for ALIVE · DEAD_AFTER s is lost.
ALIVE, DEAD_AFTER = 5, 3
TIMEOUT = 20


@dataclass(frozen=True)
class SshDevice:
    """A host that `ssh` reaches, by the user's keys, known hosts and configuration.

    Attributes:
        name: the target's.
        host, user, port: None where the user's configuration decides.
        config: another file than ~/.ssh/config, as of `ssh -F`.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    config: Path | None = None
    folder: str = "~/.cache/edge-asc"
    makes_environments: bool = True

    @classmethod
    def target(
        cls,
        name: str,
        *,
        python: str = "python3",
        torch: bool = False,
        clean: bool = False,
        ssh_config: Path | None = None,
    ) -> RemoteTarget:
        """The target of a URL.

        Raises:
            EdgeAscError: the URL names no host, or has a path.
            MissingExtraError: asyncssh is not installed.
        """
        require("asyncssh", "bench")
        try:
            url = urlsplit(name)
            port = url.port
        except ValueError as error:
            raise EdgeAscError(f"{name}: {error}; expected ssh://[user@]host[:port]") from error
        if not url.hostname or url.path.strip("/") or url.password:
            raise EdgeAscError(f"{name}: expected ssh://[user@]host[:port], without a password or a path")
        return RemoteTarget(cls(name, url.hostname, url.username, port, ssh_config), python, torch, clean)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_SshConnection]:
        """Open a connection; see `Device`."""
        import asyncssh

        options: dict[str, Any] = {"keepalive_interval": ALIVE, "keepalive_count_max": DEAD_AFTER}
        if self.user:
            options["username"] = self.user
        if self.port:
            options["port"] = self.port
        if self.config:
            options["config"] = [str(self.config)]
        try:
            opened = await asyncssh.connect(self.host, connect_timeout=TIMEOUT, **options)
        except asyncssh.HostKeyNotVerifiable as error:
            raise EdgeAscError(
                f"{self.name}: its host key is not the known one ({error.reason}); if you trust the machine, connect "
                f"once by hand: {self._by_hand()}"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise EdgeAscError(
                f"{self.name}: it refused the login ({error.reason}); have it accept your key: "
                f"{self._by_hand('ssh-copy-id')}; a key with a passphrase must be in ssh-agent"
            ) from error
        except (ValueError, RecursionError) as error:
            raise EdgeAscError(f"{self.name}: the configuration of ssh is not understood ({error})") from error
        except (asyncssh.ConnectionLost, TimeoutError, OSError) as error:
            raise TargetLostError(f"{self.name}: no connection ({error or type(error).__name__})") from error
        except asyncssh.Error as error:
            raise EdgeAscError(f"{self.name}: no connection ({error.reason})") from error
        async with opened:
            yield _SshConnection(self.name, opened)

    def _by_hand(self, program: str = "ssh") -> str:
        port = f" -p {self.port}" if self.port else ""
        return f"{program}{port} {f'{self.user}@' if self.user else ''}{self.host}"


class _SshConnection:
    """An open connection; see `Connection`."""

    def __init__(self, name: str, connection: Any) -> None:
        self._name, self._connection = name, connection

    async def run(self, command: str, text: str = "") -> Finished:
        import asyncssh

        try:
            done = await self._connection.run(command, input=text)
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error
        if done.exit_status is None or done.exit_status < 0:
            raise self._lost(ConnectionError("a command was cut off"))
        return Finished(done.exit_status, str(done.stdout), str(done.stderr))

    async def lines(self, command: str) -> AsyncIterator[str]:
        import asyncssh

        try:
            async with self._connection.create_process(command) as process:
                async for line in process.stdout:
                    if line.endswith("\n"):  # else it was cut off
                        yield line
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    async def put(self, source: Path, target: str) -> None:
        await self._copied("put", str(source), target, f"{target} could not be written")

    async def get(self, source: str, target: Path) -> None:
        await self._copied("get", source, str(target), f"{source} could not be read")

    async def _copied(self, method: str, source: str, target: str, failure: str) -> None:
        import asyncssh

        try:
            async with self._connection.start_sftp_client() as sftp:
                await getattr(sftp, method)(source, target)
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
            raise self._lost(error) from error
        except asyncssh.SFTPError as error:
            raise EdgeAscError(f"{self._name}: {failure} ({error.reason}); is there room on the device?") from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> TargetLostError:
        return TargetLostError(f"{self._name}: the connection was lost ({error or type(error).__name__})")
