"""Messages to systemd, as of sd_notify(3): the service is ready, and its watchdog is kept quiet."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping


class Notifier:
    """Sends messages to the manager that started this process; does nothing without one.

    Args:
        environment: variables of the process.
        clock: s, as of `time.monotonic`.
    """

    def __init__(
        self, environment: Mapping[str, str] = os.environ, clock: Callable[[], float] = time.monotonic
    ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for an abstract socket.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock = clock
        is_ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        timeout = environment.get("WATCHDOG_USEC", "")
        # Half the timeout is what systemd recommends.
        self._period = int(timeout) / 2e6 if is_ours and timeout.isdecimal() else None
        self._last = -float("inf")

    def say_ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def keep_alive(self) -> None:
        """Keep the watchdog quiet; to be called with each block of audio."""
        if self._period is not None and self._clock() - self._last >= self._period:
            self._last = self._clock()
            self._send("WATCHDOG=1")

    def say_stopping(self) -> None:
        """Say that the service ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)) as connection:
                connection.settimeout(1.0)
                connection.connect(self._address)
                connection.send(message.encode())
        except OSError:  # the manager is gone, which is no reason to stop
            return
