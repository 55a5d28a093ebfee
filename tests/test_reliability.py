"""The page about reliability names tests that exist, and every target of the fuzz harness."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from fuzz.target import target_names

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs/reliability.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


def test_every_named_test_exists() -> None:
    assert len(NAMED) > 50
    for file, name in NAMED:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in functions, f"{file}::{name}"


def test_every_class_has_a_promise_and_a_test() -> None:
    rows = PAGE.partition("## Promises")[2].partition("\n## ")[0].splitlines()
    classes = [row for row in rows if row.startswith("| ") and not row.startswith("| class")]
    assert len(classes) == 20
    assert all("::" in row.split(" | ")[2] for row in classes)


def test_every_target_is_counted() -> None:
    table = PAGE.partition("| target | cases | clear errors |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \| ", table, re.MULTILINE) == target_names()
