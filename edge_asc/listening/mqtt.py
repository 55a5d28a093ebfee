"""Events and states on an MQTT broker, which may be away for as long as it likes."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.listening.broker import Broker
from edge_asc.listening.homeassistant import OFF, OFFLINE, ON, ONLINE, Topics, describe_device
from edge_asc.listening.sink import Change, Moment, Sink

if TYPE_CHECKING:
    from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

WAITING = 1000  # events that wait for a broker that is away or slow; then the oldest is given up
IN_FLIGHT = 20  # messages that the broker has not confirmed yet, beside those of the discovery
KEEP_ALIVE = 30  # s
SHORTEST_WAIT, LONGEST_WAIT = 1, 60  # between two tries to connect, s
FAREWELL = 3.0  # s that the end may take
NODE_DIGITS = 12


class MqttSink(Sink):
    """Publishes events, the current label and the state of each label.

    The stream only appends to a queue. A thread publishes from it, and paho's thread does the network. States are
    retained and sent when they change; a broker that comes back gets all of them again.

    Args:
        broker: where to publish.
        contract: of the model.
        labels: that events are reported for.
        report: prints one line when the broker is lost, and one when it is back.

    Raises:
        MissingExtraError: paho-mqtt is not installed.
        EdgeAscError: the certificate authorities cannot be read.
    """

    def __init__(
        self, broker: Broker, contract: StreamContract, labels: Sequence[str], report: Callable[[str], None]
    ) -> None:
        self._broker, self._report = broker, report
        self._topics = Topics(broker.prefix)
        self._discovery = describe_device(self._topics, contract.name, labels)
        self._events: deque[str] = deque()
        self._dropped = 0
        self._wanted = {self._topics.label(label): OFF for label in labels}
        self._sent: dict[str, str] = {}
        # Messages given to paho, and those confirmed; each number is written by one thread.
        self._count, self._confirmed = 0, 0
        self._label = ""
        self._problem = ""
        self._is_connected = self._is_new = self._is_closing = False
        self._wake = threading.Event()
        self._client = self._make_client()
        self._client.connect_async(broker.host, broker.port, KEEP_ALIVE)
        self._client.loop_start()
        self._thread = threading.Thread(target=self._publish_all, name="mqtt", daemon=True)
        self._thread.start()

    def observe(self, moment: Moment) -> None:
        """Queue the current label, if it is another one."""
        if moment.decision.answer != self._label:
            self._label = moment.decision.answer
            state = {"label": self._label, "probability": round(moment.decision.confidence, 4)}
            self._wanted[self._topics.sound] = json.dumps(state)
            self._wake.set()

    def receive(self, change: Change) -> None:
        """Queue an event, and the state of its label."""
        self._wanted[self._topics.label(change.event.label)] = ON if change.event.end is None else OFF
        self._events.append(json.dumps(change.to_json(), allow_nan=False))
        if len(self._events) > WAITING:
            self._events.popleft()
            self._dropped += 1
        self._wake.set()

    def close(self) -> None:
        """Send what waits, say that the listener is gone, and disconnect; within FAREWELL seconds."""
        deadline = time.monotonic() + FAREWELL
        self._is_closing = True
        self._wake.set()
        self._thread.join(FAREWELL)
        while self._is_connected and self._count > self._confirmed and time.monotonic() < deadline:
            time.sleep(0.01)
        self._client.disconnect()
        if self._is_connected:  # else its thread may wait for the network; it ends with the process
            self._client.loop_stop()

    def _make_client(self) -> Client:
        mqtt = require("paho.mqtt.client", "service")
        node = hashlib.sha256(f"{socket.gethostname()} {self._broker.prefix}".encode()).hexdigest()[:NODE_DIGITS]
        # The same name each time: the broker then ends what is left of an earlier connection.
        client: Client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"edge-asc-{node}")
        if self._broker.user:
            client.username_pw_set(self._broker.user, self._broker.password)
        if self._broker.is_encrypted:
            client.tls_set_context(self._broker.make_tls())
        client.reconnect_delay_set(SHORTEST_WAIT, LONGEST_WAIT)
        client.will_set(self._topics.availability, OFFLINE, qos=1, retain=True)
        client.on_connect, client.on_connect_fail = self._on_connect, self._on_connect_fail
        client.on_disconnect, client.on_publish = self._on_disconnect, self._on_publish
        return client

    def _publish_all(self) -> None:
        """Publish what waits until the end; the only thread that publishes."""
        while not self._is_closing:
            self._wake.wait()
            self._wake.clear()
            if self._is_connected:
                self._publish_news()
        if self._is_connected:
            self._publish_news()
            self._publish(self._topics.availability, OFFLINE, retain=True)

    def _publish_news(self) -> None:
        room = IN_FLIGHT + len(self._discovery) + (WAITING if self._is_closing else 0)
        if self._is_new:
            self._is_new = False
            self._sent = {}
            for topic, payload in self._discovery.items():
                self._publish(topic, payload, retain=True)
            self._publish(self._topics.availability, ONLINE, retain=True)
        for topic, payload in list(self._wanted.items()):
            if self._sent.get(topic) != payload and self._count - self._confirmed < room:
                self._sent[topic] = payload
                self._publish(topic, payload, retain=True)
        while self._events and self._count - self._confirmed < room:
            self._publish(self._topics.events, self._events.popleft(), retain=False)

    def _publish(self, topic: str, payload: str, *, retain: bool) -> None:
        self._count += 1
        self._client.publish(topic, payload, qos=1, retain=retain)

    def _on_connect(
        self, _: Client, __: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._lose("refuses", f"{reason}: check the user and the password")
            return
        missed = f"; {self._dropped} older events were given up" if self._dropped else ""
        self._report(f"{self._broker.name} is {'back' if self._problem else 'connected'}{missed}")
        self._problem, self._dropped = "", 0
        self._is_connected = self._is_new = True
        self._wake.set()

    def _on_connect_fail(self, _: Client, __: object) -> None:
        error = sys.exc_info()[1]  # paho calls this in its handler
        self._lose("is away", str(error or "no connection"))

    def _on_disconnect(
        self, _: Client, __: object, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        was_connected, self._is_connected = self._is_connected, False
        if was_connected and not self._is_closing:
            self._lose("is away", str(reason))

    def _on_publish(
        self, _: Client, __: object, number: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._confirmed += 1
        self._wake.set()

    def _lose(self, problem: str, reason: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._report(f"{self._broker.name} {problem} ({reason}); up to {WAITING} events wait for it")
