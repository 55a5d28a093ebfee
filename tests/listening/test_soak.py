"""Twenty minutes of audio with every sink: memory stays flat, and no event is missing."""

from __future__ import annotations

import http.client
import json
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import cast

import pytest

from edge_asc.contract import StreamContract
from edge_asc.listening.board import Board
from edge_asc.listening.clips import Clips
from edge_asc.listening.journal import Journal
from edge_asc.listening.server import PageAddress, PageServer
from listeners import RATE, FakeClassifier, make_listener, steps

SCENE = ("-", "rain", "rain", "rain", "", "", "church_bells", "church_bells", "-", "-")  # 2.5 s
SCENES = 480  # 20 min
GROWTH = 8e6  # bytes, of allocators and buffers


def resident() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_memory_is_flat_and_the_journal_complete(tmp_path: Path) -> None:
    pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed")
    from edge_asc.listening.broker import Broker
    from edge_asc.listening.mqtt import WAITING, MqttSink

    contract = cast(StreamContract, FakeClassifier().contract)
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        nowhere = Broker("127.0.0.1", probe.getsockname()[1], False, "", "home/ear")
    with ExitStack() as stack:
        journal = Journal(tmp_path / "journal")
        clips = Clips(tmp_path / "clips", 0.5, 200_000, RATE, 0.5, lambda _: None)
        away = MqttSink(nowhere, contract, ("rain", "church_bells"), lambda _: None)
        server = PageServer(PageAddress("127.0.0.1", 0), Board("fake", ["rain"]))
        for sink in (journal, clips, away, server):
            stack.callback(sink.close)
        listener = make_listener(journal, clips, away, server)
        samples = steps(*SCENE)
        for number in range(SCENES):
            listener.push(samples)
            if number == SCENES // 4:
                before = resident()
        listener.finish()
        assert resident() - before < GROWTH
        assert len(away._events) <= WAITING
        with closing(http.client.HTTPConnection("127.0.0.1", server._server.server_port, timeout=30)) as connection:
            connection.request("GET", "/events.json")
            assert len(json.loads(connection.getresponse().read())["events"]) == 2 * SCENES
    kept = list((tmp_path / "clips").iterdir())  # written by now
    assert kept
    assert sum(path.stat().st_size for path in kept) <= 200_000
    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert len(lines) == 4 * SCENES
    ends = [(line["label"], line["start"], line["end"]) for line in lines if line["event"] == "end"]
    assert ends == [
        event
        for number in range(SCENES)
        for event in (
            ("rain", 2.5 * number + 0.25, 2.5 * number + 1.0),
            ("church_bells", 2.5 * number + 1.5, 2.5 * number + 2.0),
        )
    ]
