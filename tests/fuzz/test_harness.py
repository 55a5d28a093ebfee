"""The fuzz harness sees every kind of fault; each target holds on a few cases (`make fuzz` runs more)."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from fuzz.harness import BAD, fuzz, table
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.target import target_names
from fuzz.toys.faults import KINDS, TARGET


def test_every_kind_is_seen_in_the_case_that_does_it(tmp_path: Path) -> None:
    tally = fuzz("fuzz.toys.faults", cases=40, seconds=120, keep=tmp_path)
    expected = [TARGET.mutate(Random(f"0/{case}/input.txt"), b"", {}).decode() for case in range(40)]
    assert set(expected) == set(KINDS)
    assert {kind: expected.count(kind) for kind in KINDS} == dict(tally.counts)
    assert {failure.case: failure.kind for failure in tally.failures} == {
        case: kind for case, kind in enumerate(expected) if kind in BAD
    }
    assert all(failure.again == failure.kind for failure in tally.failures)
    kept = {path.name for path in tmp_path.glob("*-input.txt")}
    assert kept == {f"fuzz.toys.faults-0-{failure.case}-input.txt" for failure in tally.failures}
    row = "| fuzz.toys.faults | 40 | " + " | ".join(str(expected.count(kind)) for kind in KINDS) + " |"
    assert table([tally]).splitlines()[2] == row


@pytest.mark.parametrize("mutate", [mutate_bytes, mutate_json])
def test_damage_is_reproducible_and_never_fails(mutate: object) -> None:
    assert callable(mutate)
    data = json.dumps({"a": [1, 2.5, {"b": None, "c": "text"}], "d": True}).encode()
    first, again = ([mutate(Random(i), data, {"x": data}) for i in range(500)] for _ in range(2))
    assert first == again
    assert sum(item != data for item in first) > 450


@pytest.mark.parametrize("name", target_names())
def test_a_target_holds_on_a_few_cases(name: str, tmp_path: Path) -> None:
    tally = fuzz(name, cases=25, seconds=60, seed=1)
    assert tally.cases > 0
    assert not tally.failures, "\n".join(map(str, tally.failures))
