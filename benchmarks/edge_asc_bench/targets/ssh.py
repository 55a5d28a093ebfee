"""Machines over SSH: `ssh://[user@]host[:port]`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from edge_asc.errors import EdgeAscError
from edge_asc_bench.remote.connection import Finished
from edge_asc_bench.remote.target import RemoteTarget
from edge_asc_bench.target import TargetKind, TargetLostError, TargetOptions
from edge_asc_bench.timeouts import COMMAND, CONNECT, INSTALL, SILENCE, copy_timeout

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

# A connection without a reply for ALIVE · DEAD_AFTER s is lost.
ALIVE, DEAD_AFTER = 5, 3


@dataclass(frozen=True)
class SshDevice:
    """A host that `ssh` reaches, by the user's keys, known hosts and configuration.

    Attributes:
        name: URL of the target.
        host: name or address.
        user, port: None where the SSH configuration file decides.
        config: SSH configuration file; None for ~/.ssh/config.
    """

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    config: Path | None = None
    folder: str = "~/.cache/edge-asc"
    makes_environments: bool = True

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_SshConnection]:
        """Open a connection; see `Device`."""
        import asyncssh

        user, port = self.user or (), self.port or ()
        config = [str(self.config)] if self.config else ()
        try:
            opening = asyncssh.connect(
                self.host,
                port=port,
                username=user,
                config=config,
                connect_timeout=CONNECT,
                login_timeout=CONNECT,
                keepalive_interval=ALIVE,
                keepalive_count_max=DEAD_AFTER,
            )
            opened = await asyncio.wait_for(opening, CONNECT)
        except asyncssh.HostKeyNotVerifiable as error:
            raise EdgeAscError(
                f"{self.name}: its host key is not the known one ({error.reason}); if you trust the machine, connect "
                f"to it once: {self._command_line()}"
            ) from error
        except asyncssh.PermissionDenied as error:
            raise EdgeAscError(
                f"{self.name}: it refused the login ({error.reason}); add your key there: "
                f"{self._command_line('ssh-copy-id')}; a key with a passphrase must be in ssh-agent"
            ) from error
        except (ValueError, RecursionError) as error:
            raise EdgeAscError(f"{self.name}: the SSH configuration file is invalid ({error}); correct it") from error
        except (asyncssh.ConnectionLost, TimeoutError, OSError) as error:
            raise TargetLostError(f"{self.name}: no connection ({error or type(error).__name__})") from error
        except asyncssh.Error as error:
            raise EdgeAscError(f"{self.name}: no connection ({error.reason})") from error
        async with opened:
            yield _SshConnection(self.name, opened)

    def _command_line(self, program: str = "ssh") -> str:
        port = f" -p {self.port}" if self.port else ""
        return f"{program}{port} {f'{self.user}@' if self.user else ''}{self.host}"


class _SshConnection:
    """An open connection; see `Connection`."""

    def __init__(self, name: str, connection: SSHClientConnection) -> None:
        self._name, self._connection = name, connection

    async def run(self, command: str, text: str = "", timeout: float = COMMAND) -> Finished:
        import asyncssh

        try:
            done = await asyncio.wait_for(self._connection.run(command, input=text), timeout)
        except TimeoutError as error:
            raise self._lost(TimeoutError(f"a command did not end within {timeout:g} s")) from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error
        if done.exit_status is None or done.exit_status < 0:
            raise self._lost(ConnectionError("a command was interrupted"))
        return Finished(done.exit_status, str(done.stdout), str(done.stderr))

    async def lines(self, command: str) -> AsyncIterator[str]:
        import asyncssh

        try:
            async with self._connection.create_process(command) as process:
                while line := await asyncio.wait_for(process.stdout.readline(), SILENCE):
                    if line.endswith("\n"):  # else it was cut off
                        yield line
        except TimeoutError as error:
            raise self._lost(TimeoutError(f"it sent nothing for {SILENCE:g} s")) from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    async def put(self, source: Path, target: str) -> None:
        limit = copy_timeout(source.stat().st_size)
        await self._copy("put", str(source), target, f"{target} could not be written", limit)

    async def get(self, source: str, target: Path) -> None:
        await self._copy("get", source, str(target), f"{source} could not be read", INSTALL)

    async def _copy(
        self, method: Literal["get", "put"], source: str, target: str, failure: str, timeout: float
    ) -> None:
        import asyncssh

        try:
            async with asyncio.timeout(timeout), self._connection.start_sftp_client() as sftp:
                await getattr(sftp, method)(source, target)
        except TimeoutError as error:
            raise self._lost(TimeoutError(f"a file was not copied within {timeout:g} s")) from error
        except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection) as error:
            raise self._lost(error) from error
        except asyncssh.SFTPError as error:
            raise EdgeAscError(
                f"{self._name}: {failure} ({error.reason}); check the free space on the device"
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> TargetLostError:
        return TargetLostError(f"{self._name}: the connection was lost ({error or type(error).__name__})")


def open_host(url: str, options: TargetOptions) -> RemoteTarget:
    """Return the target of a URL.

    Raises:
        EdgeAscError: the URL names no host, or has a password or a path.
    """
    usage = TARGET.usage
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EdgeAscError(f"{url}: {error}; expected {usage}") from error
    if not parts.hostname or parts.path.strip("/") or parts.password:
        raise EdgeAscError(f"{url}: expected {usage}, without a password or a path")
    device = SshDevice(url, parts.hostname, parts.username, port, options.ssh_config)
    return RemoteTarget(device, options.python, options.torch, options.clean)


TARGET = TargetKind(
    scheme="ssh",
    usage="ssh://[user@]host[:port]",
    help="A 64-bit Linux host with Python 3.11, over SSH.",
    open=open_host,
    module="asyncssh",
)
