"""The wire protocol, and its page in the documentation."""

import json
import re
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from edge_asc.errors import EdgeAscError
from edge_asc_bench import schemas
from edge_asc_bench.events import (
    EVENTS,
    REQUESTS,
    Evaluate,
    Failed,
    MachineDescribed,
    MemoryRead,
    Opened,
    RunStarted,
    TimesMeasured,
    decode_event,
    decode_request,
    encode,
)
from edge_asc_bench.job import Job, Settings, Task
from edge_asc_bench.machine import describe
from edge_asc_bench.observation import Observation

DOCS = Path(__file__).parents[2] / "docs"


def test_messages_survive_the_wire() -> None:
    opened = Opened(0, "litert 2", 1.5, 2.5, 1, 2, None, True)
    times = TimesMeasured(0, None, (1, 2), (1, 1))
    for event in (RunStarted("a", "now"), MachineDescribed(**asdict(describe())), opened, times, Failed("x")):
        assert decode_event(encode(event)) == event
    request = Evaluate("features.npy", (3, 4), "logits.npy")
    assert decode_request(encode(request)) == request


def test_fields_of_a_later_version_are_ignored_and_other_events_are_errors() -> None:
    assert decode_event('{"event": "error", "message": "m", "colour": "red"}') == Failed("m")
    for line in ('{"event": "song"}', '{"event": "error"}', "[]", "no JSON"):
        with pytest.raises(EdgeAscError, match="expected a JSON event of: run, machine"):
            decode_event(line)


def test_an_event_with_a_field_of_another_type_is_an_error() -> None:
    with pytest.raises(EdgeAscError, match=r"damaged event 'memory' .*Expected `int \| null`, got `str`"):
        Observation().receive(MemoryRead(0, "much", 1))  # type: ignore[arg-type]  # wrong on purpose


def test_the_documentation_names_every_message_and_field() -> None:
    text = (DOCS / "protocol.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in (*EVENTS, *REQUESTS))
    for name, kind in EVENTS.items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{name}` |") and line.count("|") == 4][:1]
        named = re.findall("`(\\w+)`", row.split("|")[2])
        assert set(named) == {field.name for field in fields(kind)}, name
    for sent in (Settings, Task):
        assert all(f"`{field.name}`" in text for field in fields(sent))
    assert all(f"`{field.name}`" in text for field in fields(Job))


@pytest.mark.parametrize("name", sorted(schemas.KINDS))
def test_the_schemas_are_up_to_date(name: str) -> None:
    written = (DOCS / "schemas" / name).read_text(encoding="utf-8")
    assert written == schemas.describe(schemas.KINDS[name]), "run: python -m edge_asc_bench.schemas docs/schemas"


def test_the_schema_of_a_result_has_the_fields_of_a_baseline() -> None:
    schema = json.loads((DOCS / "schemas/result.json").read_text(encoding="utf-8"))
    baseline = json.loads((DOCS.parent / "benchmarks/baselines/recordings/fuse.json").read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    assert set(baseline) <= set(definitions["Result"]["properties"])
    assert set(definitions["Result"]["required"]) <= set(baseline)
    for variant in baseline["variants"]:
        assert set(variant) == set(definitions["Variant"]["properties"]) == set(definitions["Variant"]["required"])
