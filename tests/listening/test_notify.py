"""Messages to systemd."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_asc.listening.notify import Notifier

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is of Linux")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        yield manager


def received(manager: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(manager.recv(100).decode())
        except BlockingIOError:
            return messages


def test_the_watchdog_is_kept_quiet_twice_within_its_time(manager: socket.socket) -> None:
    now = 0.0
    environment = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "10000000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = Notifier(environment, clock=lambda: now)
    notifier.say_ready()
    assert received(manager) == ["READY=1"]
    for step in range(81):  # 20 s
        now = 0.25 * step
        notifier.keep_alive()
    assert received(manager) == ["WATCHDOG=1"] * 5
    notifier.say_stopping()
    assert received(manager) == ["STOPPING=1"]


@pytest.mark.parametrize("changes", [{"WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": ""}, {"WATCHDOG_USEC": "x"}])
def test_a_watchdog_of_another_process_is_left_alone(changes: dict[str, str], manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "10000000"} | changes
    Notifier(environment).keep_alive()
    assert received(manager) == []


def test_an_abstract_socket_is_reached() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        name = f"edge-asc-test-{os.getpid()}"
        manager.bind("\0" + name)
        manager.settimeout(10)
        Notifier({"NOTIFY_SOCKET": f"@{name}"}).say_ready()
        assert manager.recv(100) == b"READY=1"


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "none"), "WATCHDOG_USEC": "1"}):
        notifier = Notifier(environment)
        notifier.say_ready()
        notifier.keep_alive()
        notifier.say_stopping()
