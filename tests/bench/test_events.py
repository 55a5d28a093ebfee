"""The wire protocol, and its page in the documentation."""

import json
import re
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asc.errors import EdgeAscError
from edge_asc_bench import schemas
from edge_asc_bench.events import (
    EVENTS,
    REQUESTS,
    Evaluate,
    Failed,
    LogitsWritten,
    MachineDescribed,
    MemoryRead,
    MessageError,
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
    request = Evaluate("features.npy", (3, 4), "samples.npy", (5, 6), "logits.npy")
    assert decode_request(encode(request)) == request


def test_fields_of_a_later_version_are_ignored_and_other_events_are_errors() -> None:
    assert decode_event('{"event": "error", "message": "m", "colour": "red"}') == Failed("m")
    for line in ('{"event": "song"}', '{"event": "error"}', "[]", "no JSON"):
        with pytest.raises(MessageError, match="expected a JSON event of: run, machine"):
            decode_event(line)


def test_an_event_with_a_field_of_another_type_is_an_error() -> None:
    line = '{"event": "memory", "task": 0, "peak": "much", "now": 1}'
    with pytest.raises(MessageError, match=r"damaged event 'memory': peak: got 'much', expected int or null"):
        decode_event(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"event": ["run"]}', "no event of that name"),
        ('{"event": "memory", "task": true, "peak": 1, "now": 1}', "task: got True, expected int"),
        ('{"event": "memory", "task": -1, "peak": 1, "now": 1}', "task: got a negative number"),
        ('{"event": "memory", "task": 0, "peak": 1e999, "now": 1}', "expected a finite number"),
        ('{"event": "memory", "task": 0, "task": 0, "peak": 1, "now": 1}', "two fields of one name"),
        ('{"event": "memory", "task": 0}', "lacks one of peak, now"),
        ('{"event": "times", "task": 0, "front_end": [1], "model": [1, 2], "engine": []}', "expected as many for each"),
        ('{"event": "times", "task": 0, "front_end": null, "model": [], "engine": []}', "above 0"),
        ('{"event": "sustained", "task": 0, "medians": [], "decisions": 0, "resident": [1, 1]}', "medians above 0"),
        *(
            (json.dumps({"event": "logits", "task": 0, "file": file, "rows": [1]}), "expected 'logits-0.npy'")
            for file in ("/etc/passwd", "../x.npy", "logits-1.npy", "", "logits-0.npy\x00")
        ),
    ],
)
def test_a_damaged_event_is_one_error(line: str, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        decode_event(line)


def test_events_of_unknown_tasks_and_before_their_model_is_opened_are_errors() -> None:
    opened = Opened(1, "litert 2", 1.5, 2.5, 1, 2, None, True)
    with pytest.raises(MessageError, match="of task 1, expected one below 1"):
        Observation(1).receive(opened)
    with pytest.raises(MessageError, match="before its event 'opened'"):
        Observation(1).receive(MemoryRead(0, 1, 1))


@given(
    st.text() | st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists).map(repr)
)
def test_any_line_is_an_event_or_one_error(line: str) -> None:
    with suppress(MessageError):
        decode_event(line)


@given(st.sampled_from(sorted(EVENTS)), st.data())
def test_any_field_is_accepted_or_one_error(name: str, data: st.DataObject) -> None:
    values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists)
    given_fields = {field.name: data.draw(values) for field in fields(EVENTS[name])}
    with suppress(EdgeAscError):  # of the event `error`, or a MessageError
        Observation(2).receive(decode_event(json.dumps({"event": name, **given_fields})))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.full((2, 10), np.nan, np.float32), "not finite"),
        (np.zeros((2, 10), np.float64), "float64 of shape"),
        (np.zeros((3, 10), np.float32), "expected float32 of 2 rows"),
        (np.zeros(2, np.float32), "expected float32 of 2 rows"),
        (np.array([{}]), "damaged"),
        (b"\x93NUMPY", "damaged"),
        (b"", "damaged"),
    ],
)
def test_files_of_a_device_are_checked_before_they_are_used(tmp_path: Path, rows: Any, message: str) -> None:
    path = tmp_path / "logits-0.npy"
    if isinstance(rows, bytes):
        path.write_bytes(rows)
    else:
        np.save(path, rows, allow_pickle=True)
    observation = Observation(1)
    observation.receive(Opened(0, "litert 2", 1.5, 2.5, 1, 2, None, True))
    observation.receive(LogitsWritten(0, "logits-0.npy", (1, 1)))
    with pytest.raises(EdgeAscError, match=message):
        observation.read_logits(tmp_path, (Task(0, "x", "x.onnx", "onnxruntime", None),), 0)


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
        assert set(variant) == set(definitions["Variant"]["required"])
    assert set(definitions["Variant"]["properties"]) - set(definitions["Variant"]["required"]) == {"failed", "stream"}
