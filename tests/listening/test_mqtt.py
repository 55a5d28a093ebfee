"""Events on a real broker: mosquitto, on a loopback port."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from edge_asc.contract import StreamContract
from edge_asc.detection.event import SoundEvent
from edge_asc.listening import mqtt as module
from edge_asc.listening.broker import Broker
from edge_asc.listening.homeassistant import Topics, describe_device
from edge_asc.listening.mqtt import MqttSink
from edge_asc.listening.sink import Change
from listeners import Collector, make_listener, steps

paho = pytest.importorskip("paho.mqtt.client", reason="paho-mqtt is not installed: pip install 'edge-asc[service]'")

LABELS = ("rain", "church_bells")
TOPICS = Topics("home/ear")
CONTRACT = cast(StreamContract, SimpleNamespace(name="fake"))
PATIENCE = 30.0  # s, of a busy machine
FAST = 0.2  # s between two tries to connect


def mosquitto() -> str:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    return program


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {PATIENCE:g} s")
        time.sleep(0.02)


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """A broker on a port that stays the same when it is started again."""

    folder: Path
    settings: list[str]
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        lines = [f"listener {self.port} 127.0.0.1", "persistence false", f"user {Path.home().owner()}", *self.settings]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        log = (self.folder / "mosquitto.log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [mosquitto(), "-c", self.folder / "mosquitto.conf"], stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(self._answers, "mosquitto starts")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "mosquitto.log").read_text()
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, ["allow_anonymous true"])
    server.start()
    yield server
    server.kill()


class Subscriber:
    """Keeps all messages; `state` has the last one of each topic."""

    def __init__(self, port: int, **options: object) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        if user := options.get("user"):
            self._client.username_pw_set(user, options["password"])
        if tls := options.get("tls"):
            self._client.tls_set(str(tls))
        ready = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _, __, m: self.messages.append((m.topic, m.payload.decode(), m.retain))
        self._client.reconnect_delay_set(FAST, FAST)
        self._client.connect("localhost" if tls else "127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(PATIENCE)

    @property
    def state(self) -> dict[str, str]:
        return {topic: payload for topic, payload, _ in self.messages}

    @property
    def events(self) -> list[dict[str, object]]:
        return [json.loads(payload) for topic, payload, _ in list(self.messages) if topic == TOPICS.events]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextmanager
def subscribe(port: int, **options: object) -> Iterator[Subscriber]:
    subscriber = Subscriber(port, **options)
    try:
        yield subscriber
    finally:
        subscriber.close()


@contextmanager
def publish(broker: Broker) -> Iterator[tuple[MqttSink, list[str]]]:
    lines: list[str] = []
    sink = MqttSink(broker, CONTRACT, LABELS, lines.append)
    try:
        yield sink, lines
    finally:
        sink.close()
        sink._client.loop_stop()  # a thread that waits for the network outlives `close`


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST_WAIT", FAST)
    monkeypatch.setattr(module, "LONGEST_WAIT", FAST)


def broker(
    port: int,
    host: str = "127.0.0.1",
    *,
    is_encrypted: bool = False,
    user: str = "",
    password: str | None = None,
    authorities: Path | None = None,
) -> Broker:
    return Broker(host, port, is_encrypted, user, "home/ear", password, authorities)


def change(number: int, *, ended: bool = True) -> Change:
    return Change("microphone", SoundEvent("rain", float(number), number + 0.5 if ended else None, 0.9, 0.8))


def test_events_and_states_are_published(server: Server) -> None:
    with subscribe(server.port) as subscriber, publish(broker(server.port)) as (sink, lines):
        wait_until(lambda: subscriber.state.get(TOPICS.availability) == "online", "online")
        listener = make_listener(sink)
        listener.push(steps("-"))
        # A state that the next one replaces before it is sent is left out.
        wait_until(lambda: TOPICS.sound in subscriber.state, "a first label")
        listener.push(steps("rain", "rain"))
        wait_until(lambda: subscriber.state.get(TOPICS.label("rain")) == "ON", "rain is on")
        wait_until(lambda: json.loads(subscriber.state[TOPICS.sound])["label"] == "rain", "the label is rain")
        listener.push(steps("-", "-"))
        wait_until(lambda: len(subscriber.events) == 2, "both events")
        wait_until(lambda: subscriber.state[TOPICS.label("rain")] == "OFF", "rain is off")
        assert [event["event"] for event in subscriber.events] == ["start", "end"]
        assert subscriber.events[1]["end"] == 0.75
    assert [payload for topic, payload, _ in subscriber.messages if topic == TOPICS.label("rain")] == [
        "OFF",
        "ON",
        "OFF",
    ]
    sounds = [json.loads(payload)["label"] for topic, payload, _ in subscriber.messages if topic == TOPICS.sound]
    assert sounds == ["other", "rain", "other"]  # on change alone
    assert lines == [f"127.0.0.1:{server.port} is connected"]


def test_states_and_discovery_are_retained_and_events_are_not(server: Server) -> None:
    with publish(broker(server.port)) as (sink, _):
        make_listener(sink).push(steps("rain", "rain"))
        with subscribe(server.port) as before:
            wait_until(lambda: before.events or TOPICS.sound in before.state, "a message")
    with subscribe(server.port) as subscriber:
        expected = {*describe_device(TOPICS, "fake", LABELS), TOPICS.availability, TOPICS.sound}
        expected |= {TOPICS.label(label) for label in LABELS}
        wait_until(lambda: expected <= set(subscriber.state), "all retained topics")
        assert all(retained for *_, retained in subscriber.messages)
        assert subscriber.events == []
        assert subscriber.state[TOPICS.availability] == "offline"  # it was closed


def test_home_assistant_finds_the_device() -> None:
    messages = {topic: json.loads(text) for topic, text in describe_device(TOPICS, "fake", ("rain", "ä/+#")).items()}
    assert len(messages) == 3
    (sensor,) = [m for topic, m in messages.items() if topic.startswith("homeassistant/sensor/")]
    binary = [m for topic, m in messages.items() if topic.startswith("homeassistant/binary_sensor/")]
    assert all(topic.endswith("/config") and not set("+# ä") & set(topic) for topic in messages)
    assert len({m["unique_id"] for m in messages.values()}) == 3
    assert all(m["device"] == sensor["device"] and m["availability_topic"] == TOPICS.availability for m in binary)
    assert sensor["state_topic"] == TOPICS.sound
    assert binary[0]["state_topic"] == TOPICS.label("rain")
    other = describe_device(Topics("home_ear"), "fake", ("rain",))
    assert not {json.loads(m)["unique_id"] for m in other.values()} & {m["unique_id"] for m in messages.values()}


def test_a_listener_that_dies_goes_offline(server: Server) -> None:
    with subscribe(server.port) as subscriber, publish(broker(server.port)) as (sink, _):
        wait_until(lambda: subscriber.state.get(TOPICS.availability) == "online", "online")
        sink._client.reconnect_delay_set(60, 60)
        connection = sink._client.socket()
        assert isinstance(connection, socket.socket)
        connection.shutdown(socket.SHUT_RDWR)  # as if its process were killed
        wait_until(lambda: subscriber.state[TOPICS.availability] == "offline", "offline")


def test_a_killed_broker_comes_back_and_no_event_is_lost(server: Server) -> None:
    with publish(broker(server.port)) as (sink, lines):
        with subscribe(server.port) as subscriber:
            sink.receive(change(0))
            wait_until(lambda: len(subscriber.events) == 1, "the first event")
            server.kill()
            wait_until(lambda: len(lines) == 2, "a line for the loss")
        for number in range(1, 50):
            sink.receive(change(number))
        sink.receive(change(50, ended=False))
        server.start()
        with subscribe(server.port) as subscriber:
            # The first try to connect may come before the subscription: all events come after this one.
            wait_until(lambda: len(lines) == 3, "a line for the return")
            sink.receive(change(51))
            wait_until(lambda: any(event["start"] == 51 for event in subscriber.events), "the last event")
            wait_until(lambda: subscriber.state.get(TOPICS.availability) == "online", "online again")
    assert "is away (" in lines[1]
    assert lines[2].endswith("is back")
    assert len(lines) == 3


def test_events_that_waited_are_sent_in_their_order(tmp_path: Path) -> None:
    server = Server(tmp_path, ["allow_anonymous true"])
    late = Server(tmp_path, ["allow_anonymous true"])
    server.start()
    with subscribe(server.port) as subscriber, publish(broker(late.port)) as (sink, lines):
        wait_until(lambda: lines, "a line that the broker is away")
        for number in range(100):
            sink.receive(change(number))
        late.port = server.port
        sink._client.connect_async("127.0.0.1", server.port)  # the broker is there now, with its subscriber
        wait_until(lambda: len(subscriber.events) == 100, "all events")
        assert [event["start"] for event in subscriber.events] == list(range(100))
        assert "is away (" in lines[0]
        assert lines[1].endswith("is back")
    server.kill()


def test_the_queue_is_bounded_and_gives_up_the_oldest(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 10)
    with publish(broker(free_port())) as (sink, lines):
        wait_until(lambda: lines, "a line that the broker is away")
        for number in range(35):
            sink.receive(change(number))
        with subscribe(server.port) as subscriber:
            sink._client.connect_async("127.0.0.1", server.port)
            wait_until(lambda: len(subscriber.events) == 10, "ten events")
            assert [event["start"] for event in subscriber.events] == list(range(25, 35))
    assert lines[1].endswith("is back; 25 older events were given up")


def test_a_password_is_needed(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed: apt install mosquitto")
    mosquitto()
    passwords = tmp_path / "passwords"
    subprocess.run([program, "-b", "-c", passwords, "ear", "right"], check=True, capture_output=True)
    server = Server(tmp_path, ["allow_anonymous false", f"password_file {passwords}"])
    server.start()
    try:
        with subscribe(server.port, user="ear", password="right") as subscriber:
            with publish(broker(server.port, user="ear", password="wrong")) as (sink, lines):
                wait_until(lambda: lines, "a refusal")
                sink.receive(change(0))
                time.sleep(5 * FAST)  # several tries
                assert len(lines) == 1
                assert "refuses (Not authorized" in lines[0]
            assert subscriber.events == []
            with publish(broker(server.port, user="ear", password="right")) as (sink, lines):
                sink.receive(change(0))
                wait_until(lambda: subscriber.events, "an event")
    finally:
        server.kill()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: apt install openssl")
    folder = tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=folder)

    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority", "-days", "2")
    run("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
    run("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)
    return folder


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paho leaves a refused socket open
def test_tls_is_verified(certificates: Path, tmp_path: Path) -> None:
    settings = [f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key", "allow_anonymous true"]
    server = Server(tmp_path, settings)
    server.start()
    authorities = certificates / "ca.pem"
    try:
        with subscribe(server.port, tls=authorities) as subscriber:
            with publish(broker(server.port, "localhost", is_encrypted=True, authorities=authorities)) as (sink, lines):
                sink.receive(change(0))
                wait_until(lambda: subscriber.events, "an event")
                assert lines == [f"localhost:{server.port} is connected"]
            for wrong in (  # no trust; another name
                broker(server.port, "localhost", is_encrypted=True),
                broker(server.port, "127.0.0.1", is_encrypted=True, authorities=authorities),
            ):
                with publish(wrong) as (sink, lines):
                    wait_until(lambda: lines, "a refusal")
                    assert "certificate verify failed" in lines[0]
            assert len(subscriber.events) == 1
    finally:
        server.kill()


def test_a_broker_that_does_not_answer_delays_nothing() -> None:
    """It accepts a connection, and then its network takes no byte."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        sink = MqttSink(broker(silent.getsockname()[1]), CONTRACT, LABELS, lambda _: None)
        journal, stuck, released = Collector(), threading.Event(), threading.Event()

        def wait(*_: object, **__: object) -> None:
            stuck.set()
            released.wait(PATIENCE)

        sink._client.publish = wait  # type: ignore[method-assign, assignment]
        sink._is_connected = True
        listener = make_listener(journal, sink)
        listener.push(steps("-"))
        assert stuck.wait(PATIENCE)
        for _ in range(50):
            listener.push(steps("rain", "rain", "-", "-"))
        listener.finish()
        assert len(journal.changes) == 100
        assert not released.is_set()
        sink._is_connected = False
        released.set()
        sink.close()
