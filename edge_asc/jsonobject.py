"""Typed reads of parsed JSON, with the standard library alone."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar, cast, overload

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"

T = TypeVar("T")
C = TypeVar("C", bound=str)

NUMBER = (int, float)
# Integers that every reader of JSON can hold.
LARGEST_INTEGER = 2**63


def parse_json(text: str | bytes) -> object:
    """Parse one JSON document strictly.

    Raises:
        ValueError: not UTF-8, not JSON, nested too deeply, two fields of one name in an object, a number that is not
            finite, or an integer beyond 64 bits. Python's own parser lets most of these pass.
    """
    try:
        return json.loads(
            text.decode("utf-8") if isinstance(text, bytes) else text,
            object_pairs_hook=_make_object,
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            parse_int=_parse_integer,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"two fields of one name, {twice[:40]!r}")
    return value


def _refuse_constant(text: str) -> object:
    raise ValueError(f"got {text}, expected a finite number")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"got {text[:40]}, expected a finite number")
    return value


def _parse_integer(text: str) -> int:
    # Python refuses to convert very long texts, with advice that is not for users.
    if len(text) > 20 or not -LARGEST_INTEGER <= (value := int(text)) < LARGEST_INTEGER:
        raise ValueError(f"got {text[:40]}, expected an integer of at most 64 bits")
    return value


class JsonObject:
    """A parsed JSON object whose fields are read by type.

    Every method takes the name of a field. A field with a `default` may be missing or null.

    Raises:
        ValueError: on construction, the value is not an object; on a read, the field is missing or of another type.
            The message says which one, what it is and what was expected.
    """

    def __init__(self, value: object, where: str) -> None:
        """Wrap `value`; messages call it `where`, such as "contract"."""
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: got {_name(value)}, expected an object")
        self._value: Mapping[str, object] = value
        self._where = where

    def check_names(self, known: Sequence[str]) -> None:
        """Accept no other field than those of these names."""
        if unknown := sorted(set(self._value) - set(known)):
            raise ValueError(f"{self._where}: got unknown fields {', '.join(unknown)}")

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string."""
        return self._read(name, str, "a string", default)

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None where it is missing or null."""
        return None if self._value.get(name) is None else self.text(name)

    def choice(self, name: str, choices: Sequence[C], default: C | None = None) -> C:
        """Return one of `choices`."""
        value = self.text(name, default)
        for choice in choices:
            if value == choice:
                return choice
        raise ValueError(f"{self._where}.{name}: got {value!r}, expected {' or '.join(map(repr, choices))}")

    def integer(self, name: str, default: int | None = None) -> int:
        """Return an integer."""
        return self._read(name, int, "an integer", default)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """Return true or false."""
        return self._read(name, bool, "true or false", default)

    def number(self, name: str, default: float | None = None) -> float:
        """Return an integer or a float as a float."""
        return float(self._read(name, NUMBER, "a number", default))

    def optional_number(self, name: str) -> float | None:
        """Return an integer or a float as a float, or None where it is missing or null."""
        return None if self._value.get(name) is None else self.number(name)

    def texts(self, name: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a list of strings."""
        return self._items(name, str, "strings", default)

    def integers(self, name: str) -> tuple[int, ...]:
        """Return a list of integers."""
        return self._items(name, int, "integers", None)

    def numbers(self, name: str, default: tuple[float, ...] | None = None) -> tuple[float, ...]:
        """Return a list of numbers, integers as integers."""
        return self._items(name, NUMBER, "numbers", default)

    def child(self, name: str) -> JsonObject:
        """Return an object."""
        return JsonObject(self._value.get(name), f"{self._where}.{name}")

    def optional_child(self, name: str) -> JsonObject | None:
        """Return an object, or None where it is missing or null."""
        return None if self._value.get(name) is None else self.child(name)

    def child_or_empty(self, name: str) -> JsonObject:
        """Return an object, an empty one where it is missing or null."""
        return self.optional_child(name) or JsonObject({}, f"{self._where}.{name}")

    def children(self, name: str) -> tuple[JsonObject, ...]:
        """Return a list of objects."""
        return tuple(JsonObject(item, f"{self._where}.{name}[{i}]") for i, item in enumerate(self._list(name)))

    def children_or_empty(self, name: str) -> tuple[JsonObject, ...]:
        """Return a list of objects, an empty one where it is missing or null."""
        return () if self._value.get(name) is None else self.children(name)

    def named_children(self, name: str) -> dict[str, JsonObject]:
        """Return an object whose values are all objects."""
        value = self.child(name)._value
        return {key: JsonObject(item, f"{self._where}.{name}.{key}") for key, item in value.items()}

    def text_items(self) -> dict[str, str]:
        """Return this object's fields, which are all strings."""
        return {name: self.text(name) for name in self._value}

    def integer_items(self) -> dict[str, int]:
        """Return this object's fields, which are all integers."""
        return {name: self.integer(name) for name in self._value}

    def number_items(self) -> dict[str, float]:
        """Return this object's fields, which are all numbers."""
        return {name: self.number(name) for name in self._value}

    def raw(self, name: str) -> dict[str, JsonValue] | None:
        """Return an object as it is, for a reader of its own, or None where it is missing or null."""
        child = self.optional_child(name)
        return None if child is None else cast(dict[str, JsonValue], dict(child._value))

    def _list(self, name: str) -> Sequence[object]:
        value = self._value.get(name)
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"{self._where}.{name}: got {_name(value)}, expected a list")
        return value

    def _items(
        self, name: str, kind: type[T] | tuple[type, ...], noun: str, default: tuple[T, ...] | None
    ) -> tuple[T, ...]:
        if default is not None and self._value.get(name) is None:
            return default
        items = self._list(name)
        for item in items:
            if not _is_a(item, kind):
                raise ValueError(f"{self._where}.{name}: got {_name(item)} in a list, expected {noun}")
        return tuple(items)  # type: ignore[arg-type]

    @overload
    def _read(self, name: str, kind: type[T], noun: str, default: T | None) -> T: ...
    @overload
    def _read(self, name: str, kind: tuple[type, ...], noun: str, default: float | None) -> float: ...
    def _read(self, name: str, kind: type[T] | tuple[type, ...], noun: str, default: object) -> object:
        value = self._value.get(name)
        if value is None and default is not None:
            return default
        if not _is_a(value, kind):
            raise ValueError(f"{self._where}.{name}: got {_name(value)}, expected {noun}")
        return value


def _is_a(value: object, kind: type | tuple[type, ...]) -> bool:
    """Whether a JSON value is of a type; JSON's true and false are no numbers, and a number is finite."""
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return False
    if isinstance(value, str):
        # JSON can spell halves of characters, which no file or screen takes.
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if kind == NUMBER and isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    return True


def _name(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value) <= sys.float_info.max:
        return "a number that is not finite"
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
