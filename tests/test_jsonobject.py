"""Typed reads of JSON: what is right is returned, and what is wrong is named with its place."""

from collections.abc import Callable

import pytest

from edge_asc.jsonobject import JsonObject

VALUE = {
    "text": "x",
    "integer": 3,
    "number": 2.5,
    "flag": True,
    "null": None,
    "texts": ["a", "b"],
    "numbers": [1, 2.5],
    "child": {"a": 1, "b": 2},
    "children": [{"a": 1}, {"a": 2}],
}


@pytest.fixture
def value() -> JsonObject:
    return JsonObject(VALUE, "it")


def test_reads_by_type(value: JsonObject) -> None:
    assert (value.text("text"), value.integer("integer"), value.flag("flag")) == ("x", 3, True)
    assert value.number("number") == 2.5
    assert value.number("integer") == 3.0
    assert isinstance(value.number("integer"), float)
    assert value.texts("texts") == ("a", "b")
    assert value.numbers("numbers") == (1, 2.5)
    assert value.choice("text", ("x", "y")) == "x"
    assert value.child("child").integer_items() == {"a": 1, "b": 2}
    assert [child.integer("a") for child in value.children("children")] == [1, 2]
    assert value.raw("child") == {"a": 1, "b": 2}


def test_defaults_stand_for_missing_and_null_fields(value: JsonObject) -> None:
    for name in ("absent", "null"):
        assert value.text(name, "d") == "d"
        assert value.integer(name, 0) == 0
        assert value.flag(name, False) is False
        assert value.texts(name, ()) == ()
        assert value.optional_text(name) is None
        assert value.optional_child(name) is None
        assert value.child_or_empty(name).text_items() == {}
        assert value.raw(name) is None


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda v: v.text("absent"), "it.absent: got nothing, expected a string"),
        (lambda v: v.text("integer"), "it.integer: got int '3', expected a string"),
        (lambda v: v.text("integer", "d"), "it.integer: got int '3', expected a string"),
        (lambda v: v.integer("flag"), "it.flag: got bool 'True', expected an integer"),
        (lambda v: v.integer("number"), "it.number: got float '2.5', expected an integer"),
        (lambda v: v.number("text"), "it.text: got str 'x', expected a number"),
        (lambda v: v.number("flag"), "it.flag: got bool 'True', expected a number"),
        (lambda v: v.flag("integer"), "it.integer: got int '3', expected true or false"),
        (lambda v: v.texts("text"), "it.text: got str 'x', expected a list"),
        (lambda v: v.texts("numbers"), "it.numbers: got int '1' in a list, expected strings"),
        (lambda v: v.integers("numbers"), "it.numbers: got float '2.5' in a list, expected integers"),
        (lambda v: v.choice("text", ("y", "z")), "it.text: got 'x', expected 'y' or 'z'"),
        (lambda v: v.child("texts"), "it.texts: got list .*, expected an object"),
        (lambda v: v.children("numbers"), r"it.numbers\[0\]: got int '1', expected an object"),
        (lambda v: v.child("child").text_items(), "it.child.a: got int '1', expected a string"),
        (lambda v: v.named_children("child"), "it.child.a: got int '1', expected an object"),
        (lambda v: v.check_names(list(VALUE)[1:]), "it: got unknown fields text"),
        (lambda v: JsonObject([1], "list"), "list: got list .*, expected an object"),
    ],
)
def test_errors_name_the_field(value: JsonObject, read: Callable[[JsonObject], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(value)
