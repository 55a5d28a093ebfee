"""Devices over ADB: `adb://[serial]`."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edge_asc.errors import EdgeAscError
from edge_asc_bench.remote.connection import Finished
from edge_asc_bench.remote.target import RemoteTarget
from edge_asc_bench.target import TargetKind, TargetLostError
from edge_asc_bench.timeouts import COMMAND, CONNECT, SILENCE

if TYPE_CHECKING:
    import adbutils

T = TypeVar("T")


@dataclass(frozen=True)
class AdbDevice:
    """A device that `adb devices` lists. Its Python must have numpy and the runtimes: nothing is installed there.

    Attributes:
        name: URL of the target.
        serial: None for the only device.
    """

    name: str
    serial: str | None
    folder: str = "/data/local/tmp/edge-asc"
    makes_environments: bool = False

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[_AdbConnection]:
        """Open a connection; see `Device`."""
        yield _AdbConnection(self.name, await asyncio.to_thread(self._find))

    def _find(self) -> adbutils.AdbDevice:
        import adbutils

        try:
            client = adbutils.AdbClient(socket_timeout=CONNECT)
            states = {entry.serial: entry.state for entry in client.list()}
        except (adbutils.AdbError, OSError) as error:
            raise EdgeAscError(f"{self.name}: the adb server cannot be reached ({error}); run: adb devices") from error
        serials = [self.serial] if self.serial else list(states)
        if len(serials) != 1 or serials[0] not in states:
            listed = ", ".join(f"{serial} ({state})" for serial, state in states.items()) or "no device"
            raise EdgeAscError(f"{self.name}: adb lists {listed}; expected one of these as {self._example()}")
        if states[serials[0]] != "device":
            raise EdgeAscError(
                f"{self.name}: its state is {states[serials[0]]}; enable USB debugging on the device, and authorise "
                "this computer"
            )
        return client.device(serials[0])

    def _example(self) -> str:
        return f"{self.name.partition('://')[0]}://SERIAL"


class _AdbConnection:
    """A device; see `Connection`."""

    def __init__(self, name: str, device: adbutils.AdbDevice) -> None:
        self._name, self._device = name, device

    async def run(self, command: str, text: str = "", timeout: float = COMMAND) -> Finished:
        if text:  # adb's shell has no standard input of its own here: the text becomes a file
            with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                file.write(text)
                file.flush()
                target = f"/data/local/tmp/{Path(file.name).name}"
                await self.put(Path(file.name), target)
            command = f"{command} < {target}; code=$?; rm -f {target}; exit $code"
        done = await self._call(lambda: self._device.shell2(command, timeout=timeout, v2=True))
        return Finished(done.returncode, done.stdout or "", done.stderr or "")

    async def lines(self, command: str) -> AsyncIterator[str]:
        stream = await self._call(lambda: self._execute(f"{command} 2>/dev/null"))
        try:
            rest = b""
            while part := await self._call(lambda: stream.conn.recv(65536)):
                *lines, rest = (rest + part).split(b"\n")
                for line in lines:
                    yield line.decode()
        finally:
            with suppress(OSError):
                stream.close()

    def _execute(self, command: str) -> adbutils.AdbConnection:
        """A stream of a command's output, byte for byte: no terminal in between."""
        stream = self._device.open_transport(timeout=SILENCE)
        stream.send_command(f"exec:{command}")
        stream.check_okay()
        return stream

    async def put(self, source: Path, target: str) -> None:
        await self._call(lambda: self._open_sync().push(source, target, check=True))

    async def get(self, source: str, target: Path) -> None:
        # One file under the name given here: a folder on the device would bring names of its own.
        await self._call(lambda: self._open_sync().pull_file(source, target))

    def _open_sync(self) -> adbutils.sync.Sync:
        import adbutils.sync

        return adbutils.sync.Sync(_LimitedDevice(self._device))

    async def _call(self, call: Callable[[], T]) -> T:
        import adbutils

        try:
            return await asyncio.to_thread(call)
        except (adbutils.AdbError, OSError) as error:
            raise TargetLostError(f"{self._name}: the connection was lost ({error or type(error).__name__})") from error


class _LimitedDevice:
    """A device whose transports are lost when they are silent; those of adbutils wait for ever."""

    def __init__(self, device: adbutils.AdbDevice) -> None:
        self._device = device

    def open_transport(self, command: str | None = None, timeout: float | None = None) -> adbutils.AdbConnection:
        return self._device.open_transport(command, timeout=SILENCE if timeout is None else timeout)


TARGET = TargetKind(
    scheme="adb",
    usage="adb://[serial]",
    help="A device over ADB whose Python has numpy and the engines.",
    open=lambda url, options: RemoteTarget(
        AdbDevice(url, url.partition("://")[2] or None), options.python, options.torch
    ),
    module="adbutils",
)
