"""Reads and writes the fields of protobuf messages: enough to edit an ONNX file without the package onnx.

A message is a sequence of fields. Each starts with its number and its kind, as one integer of 7 bits a byte, the lowest
first. Fields that an edit does not touch are written as they were read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge_asc.errors import ContractError

# Kinds of fields: an integer; 8 bytes; bytes with their length, as strings and messages have; 4 bytes.
INTEGER, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_INTEGER = 10  # bytes


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        number: in the schema of the message.
        kind: INTEGER, FIXED64, BYTES or FIXED32.
        integer: value of an INTEGER, unsigned; 0 otherwise.
        content: value of another kind; empty otherwise.
    """

    number: int
    kind: int
    integer: int = 0
    content: bytes = b""

    @classmethod
    def of(cls, number: int, value: int | str | bytes) -> Field:
        """Make the field of an integer, a text or a message."""
        if isinstance(value, int):
            return cls(number, INTEGER, value)
        return cls(number, BYTES, content=value.encode() if isinstance(value, str) else value)

    def dumps(self) -> bytes:
        """Return the bytes of the field."""
        head = _write_integer(self.number << 3 | self.kind)
        if self.kind == INTEGER:
            return head + _write_integer(self.integer)
        return head + (_write_integer(len(self.content)) if self.kind == BYTES else b"") + self.content


class Message(tuple[Field, ...]):
    """The fields of a message, in their order."""

    __slots__ = ()

    @classmethod
    def parse(cls, data: bytes) -> Message:
        """Read a message.

        Raises:
            ContractError: it breaks off, or has a field of an unknown kind.
        """
        fields, position = [], 0
        while position < len(data):
            tag, position = _read_integer(data, position)
            number, kind = tag >> 3, tag & 7
            if kind == INTEGER:
                integer, position = _read_integer(data, position)
                fields.append(Field(number, kind, integer))
                continue
            if kind == BYTES:
                size, position = _read_integer(data, position)
            elif kind in (FIXED64, FIXED32):
                size = 8 if kind == FIXED64 else 4
            else:
                raise ContractError(f"damaged: field {number} is of kind {kind}, which protobuf no longer has")
            if position + size > len(data):
                raise ContractError(f"damaged: field {number} has {size} bytes, {len(data) - position} are there")
            fields.append(Field(number, kind, content=data[position : position + size]))
            position += size
        return cls(fields)

    def dumps(self) -> bytes:
        """Return the bytes of the message."""
        return b"".join(field.dumps() for field in self)

    def contents(self, number: int) -> list[bytes]:
        """Return the values of all fields of this number that are bytes, texts or messages."""
        return [field.content for field in self if field.number == number and field.kind == BYTES]

    def texts(self, number: int) -> list[str]:
        """Return the values of all fields of this number, as texts."""
        return [content.decode("utf-8", "replace") for content in self.contents(number)]

    def text(self, number: int) -> str:
        """Return the last value of a text; "" if absent."""
        return (self.texts(number) or [""])[-1]

    def integers(self, number: int) -> list[int]:
        """Return the values of all integers of this number, packed or not."""
        values = []
        for field in self:
            if field.number == number and field.kind == INTEGER:
                values.append(field.integer)
            elif field.number == number:
                position = 0
                while position < len(field.content):
                    value, position = _read_integer(field.content, position)
                    values.append(value)
        return values

    def without(self, *numbers: int) -> Message:
        """Return the message without the fields of these numbers."""
        return Message(field for field in self if field.number not in numbers)

    def extended(self, fields: Iterable[Field]) -> Message:
        """Return the message with fields behind its own."""
        return Message((*self, *fields))


def _read_integer(data: bytes, position: int) -> tuple[int, int]:
    """Return the integer at a position, and the position behind it."""
    value = 0
    for count, byte in enumerate(data[position : position + LONGEST_INTEGER]):
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, position + count + 1
    raise ContractError("damaged: an integer breaks off, or is longer than protobuf allows")


def _write_integer(value: int) -> bytes:
    result = bytearray()
    while value > 0x7F:
        result.append(value & 0x7F | 0x80)
        value >>= 7
    result.append(value)
    return bytes(result)
