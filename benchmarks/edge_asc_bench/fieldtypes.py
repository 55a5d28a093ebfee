"""Types of the fields of dataclasses, checked with the standard library alone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import NoneType, UnionType
from typing import get_args, get_origin, get_type_hints


@cache
def _read_hints(kind: type) -> dict[str, object]:
    return get_type_hints(kind)


def find_mismatch(kind: type, given: dict[str, object]) -> str:
    """Return which field is not of its type: what it is and what was expected; "" if all are."""
    hints = _read_hints(kind)
    for name, value in given.items():
        if not _fits(value, hints[name]):
            return f"{name}: got {value!r:.40}, expected {_describe_type(hints[name])}"
    return ""


def _fits(value: object, hint: object) -> bool:
    """Whether a value is of the type of a field."""
    if isinstance(hint, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_fits(item, get_args(hint)[0]) for item in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(_fits(item, get_args(hint)[1]) for item in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is hint


def _describe_type(hint: object) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(map(_describe_type, get_args(hint)))
    if get_origin(hint) is tuple:
        return f"a list of {_describe_type(get_args(hint)[0])}"
    if hint is NoneType:
        return "null"
    return "an object" if get_origin(hint) is dict else getattr(hint, "__name__", str(hint))


def list_numbers(value: object) -> Iterator[float]:
    """Yield the numbers in a field."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from list_numbers(item)


def freeze(value: object) -> object:
    """Return a value with tuples in place of lists."""
    return tuple(map(freeze, value)) if isinstance(value, list) else value
