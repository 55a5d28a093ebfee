"""Topics and discovery for Home Assistant: one device with a sensor, and a binary sensor for each label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import edge_asc
from edge_asc.jsonobject import JsonValue
from edge_asc.text import make_slug

DISCOVERY = "homeassistant"  # topic that Home Assistant listens to
ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"


@dataclass(frozen=True)
class Topics:
    """The topics of one listener.

    Attributes:
        prefix: of all of them.
    """

    prefix: str

    @property
    def events(self) -> str:
        """Events as JSON, not retained."""
        return f"{self.prefix}/events"

    @property
    def availability(self) -> str:
        """Whether the listener runs: ONLINE or OFFLINE."""
        return f"{self.prefix}/availability"

    @property
    def sound(self) -> str:
        """The current label and its probability, as JSON."""
        return f"{self.prefix}/sound"

    def label(self, label: str) -> str:
        """Whether a label's event lasts: ON or OFF."""
        return f"{self.prefix}/label/{make_slug(label)}"


def describe_device(topics: Topics, model: str, labels: Sequence[str]) -> dict[str, str]:
    """Return the retained messages by which Home Assistant finds the device: topic and JSON.

    Args:
        topics: of the listener.
        model: name of the model.
        labels: that events are reported for.
    """
    node = f"edge_asc_{make_slug(topics.prefix)}"
    common: dict[str, JsonValue] = {
        "availability_topic": topics.availability,
        "payload_available": ONLINE,
        "payload_not_available": OFFLINE,
        "device": {
            "identifiers": [node],
            "name": f"edge-asc {topics.prefix}",
            "manufacturer": "edge-asc",
            "model": model,
            "sw_version": edge_asc.__version__,
        },
        "origin": {"name": "edge-asc", "sw_version": edge_asc.__version__},
    }
    messages = {
        f"{DISCOVERY}/sensor/{node}/sound/config": {
            **common,
            "name": "Sound",
            "unique_id": f"{node}_sound",
            "object_id": f"{node}_sound",
            "icon": "mdi:ear-hearing",
            "state_topic": topics.sound,
            "value_template": "{{ value_json.label }}",
            "json_attributes_topic": topics.sound,
        }
    }
    for label in labels:
        name = f"label_{make_slug(label)}"
        messages[f"{DISCOVERY}/binary_sensor/{node}/{name}/config"] = {
            **common,
            "name": label.replace("_", " ").capitalize(),
            "unique_id": f"{node}_{name}",
            "object_id": f"{node}_{name}",
            "device_class": "sound",
            "state_topic": topics.label(label),
            "payload_on": ON,
            "payload_off": OFF,
        }
    return {topic: json.dumps(message) for topic, message in messages.items()}
