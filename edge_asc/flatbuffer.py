"""Reads and packs tables of a flatbuffer, checks every offset, and replaces vectors: enough to edit a TFLite file.

A table starts with the signed distance back to its vtable. The vtable holds two sizes and then, for each field, the
field's distance from the table, 0 if absent. A field that is a string, a vector or a table holds the unsigned distance
from itself to it; a vector starts with its length. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from edge_asc.errors import ContractError

IDENTIFIER = b"TFL3"

# Positions of fields in TFLite's schema.
MODEL_BUFFERS, MODEL_METADATA = 4, 6
METADATA_NAME, METADATA_BUFFER = 0, 1
BUFFER_DATA = 0

# Of the data of a buffer, bytes; enough for any other vector, too.
ALIGNMENT = 16

Value: TypeAlias = "np.uint8 | np.uint32 | str | npt.NDArray[np.float32] | tuple[Fields, ...] | Fields"
"""A field: a number, a string, a vector of numbers, a vector of tables, or a table."""
Fields: TypeAlias = Mapping[int, Value]
"""A table to pack: values by their position in the schema."""


def tflite_metadata(data: bytes, name: str) -> bytes | None:
    """Return the metadata buffer called `name` of a TFLite file, or None if the file has none of that name.

    Raises:
        ContractError: not a TFLite file, or a damaged one.
    """
    if data[4:8] != IDENTIFIER:
        mark = IDENTIFIER.decode()
        raise ContractError(f"not a TFLite file (no {mark} mark); expected an artefact of `edge-asc export`")
    model = Table.root(data)
    for entry in model.tables(MODEL_METADATA):
        if entry.bytes(METADATA_NAME) == name.encode():
            index = entry.uint(METADATA_BUFFER)
            for i, buffer in enumerate(model.tables(MODEL_BUFFERS)):
                if i == index:
                    return buffer.bytes(BUFFER_DATA)
            raise ContractError(f"damaged: metadata {name} names buffer {index}, which is not there; copy it again")
    return None


class Table:
    """A table at a position of a flatbuffer. Fields are identified by their number in the schema."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position
        vtable = position - self._read("<i", position)
        size = self._read("<H", vtable)
        self._fields = [self._read("<H", vtable + i) for i in range(4, size - 1, 2)]

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Return the root table of a file."""
        return cls(data, _read(data, "<I", 0))

    def uint(self, field: int) -> int:
        """Return an unsigned 32-bit field; 0 if absent, which is how flatbuffers store zeros."""
        position = self._field(field)
        return 0 if position is None else self._read("<I", position)

    def byte(self, field: int) -> int:
        """Return a signed 8-bit field; 0 if absent."""
        position = self._field(field)
        return 0 if position is None else self._read("<b", position)

    def numbers(self, field: int, dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
        """Return a vector of numbers; empty if absent."""
        start, length = self._vector(field, np.dtype(dtype).itemsize)
        return np.frombuffer(self._data, dtype, length, start)

    def table(self, field: int) -> Table:
        """Return the table of a field.

        Raises:
            ContractError: it is absent.
        """
        position = self.position(field)
        return Table(self._data, position + self._read("<I", position))

    def position(self, field: int) -> int:
        """Return the position of a field.

        Raises:
            ContractError: it is absent.
        """
        position = self._field(field)
        if position is None:
            raise ContractError(f"field {field} of a table is absent; expected a file as edge-asc export writes it")
        return position

    def bytes(self, field: int) -> bytes:
        """Return a string or a vector of bytes; empty if absent."""
        start, length = self._vector(field, 1)
        return self._data[start : start + length]

    def tables(self, field: int) -> Iterator[Table]:
        """Yield the tables of a vector; none if absent."""
        start, length = self._vector(field, 4)
        for position in range(start, start + 4 * length, 4):
            yield Table(self._data, position + self._read("<I", position))

    def _field(self, field: int) -> int | None:
        if field >= len(self._fields) or not self._fields[field]:
            return None
        return self._position + self._fields[field]

    def _vector(self, field: int, item: int) -> tuple[int, int]:
        position = self._field(field)
        if position is None:
            return 0, 0
        position += self._read("<I", position)
        length = self._read("<I", position)
        _check(self._data, position + 4, item * length)
        return position + 4, length

    def _read(self, layout: str, position: int) -> int:
        return _read(self._data, layout, position)


class Patch:
    """A copy of a flatbuffer in which vectors are replaced; everything else stays where it is.

    Attributes:
        data: the copy.
    """

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def append(self, position: int, values: npt.NDArray[np.generic]) -> None:
        """Append a vector of numbers to the file, and let the field at a position point to it.

        The former vector stays, since other fields may point to it.
        """
        self.data += bytes(-(len(self.data) + 4) % ALIGNMENT)
        struct.pack_into("<I", self.data, position, len(self.data) - position)
        self.data += struct.pack("<I", len(values)) + values.tobytes()

    def replace(self, position: int, content: bytes) -> None:
        """Replace a vector of bytes that no other field points to: in its place if that has room, else appended.

        The rest of the former vector becomes zeros.
        """
        start = position + _read(self.data, "<I", position)
        room = _read(self.data, "<I", start)
        fits = len(content) <= room
        _check(self.data, start + 4, room)
        self.data[start + 4 : start + 4 + room] = content.ljust(room, b"\0") if fits else bytes(room)
        if fits:
            struct.pack_into("<I", self.data, start, len(content))
        else:
            self.append(position, np.frombuffer(content, np.uint8))


def pack(root: Fields, identifier: bytes) -> bytes:
    """Return the flatbuffer of a table; equal strings are stored once."""
    data = bytearray(4) + identifier
    references: list[tuple[int, Value]] = [(0, root)]
    strings: list[tuple[int, str]] = []
    # References lead forward: a table is followed by what it refers to, and all tables by the strings.
    for place, value in references:
        if isinstance(value, str):
            strings.append((place, value))
            continue
        data += bytes(-len(data) % 4)
        position = len(data)
        if isinstance(value, Mapping):
            position += _append_table(data, value, references)
        elif isinstance(value, tuple):
            data += struct.pack("<I", len(value)) + bytes(4 * len(value))
            references += [(position + 4 + 4 * i, each) for i, each in enumerate(value)]
        else:
            data += struct.pack("<I", value.size) + value.astype("<f4").tobytes()
        struct.pack_into("<I", data, place, position - place)
    positions: dict[str, int] = {}
    for place, text in strings:
        if text not in positions:
            data += bytes(-len(data) % 4)
            positions[text] = len(data)
            content = text.encode()
            data += struct.pack("<I", len(content)) + content + b"\0"
        struct.pack_into("<I", data, place, positions[text] - place)
    return bytes(data)


def _append_table(data: bytearray, fields: Fields, references: list[tuple[int, Value]]) -> int:
    """Append a vtable and its table, whose fields have 4 bytes each; return the distance of the table."""
    count = max(fields, default=-1) + 1
    offsets = [4 + 4 * list(fields).index(i) if i in fields else 0 for i in range(count)]
    padding = bytes(-(4 + 2 * count) % 4)
    data += padding
    vtable, size = len(data), 4 + 2 * count
    data += struct.pack(f"<{2 + count}H", size, 4 + 4 * len(fields), *offsets)
    table = len(data)
    data += struct.pack("<i", table - vtable)
    for value in fields.values():
        if isinstance(value, np.uint8 | np.uint32):
            data += struct.pack("<I", int(value))
        else:
            references.append((len(data), value))
            data += bytes(4)
    return len(padding) + size


def _read(data: bytes | bytearray, layout: str, position: int) -> int:
    _check(data, position, struct.calcsize(layout))
    value: int = struct.unpack_from(layout, data, position)[0]
    return value


def _check(data: bytes | bytearray, position: int, size: int) -> None:
    if position < 0 or position + size > len(data):
        raise ContractError(
            f"damaged: bytes {position} to {position + size} are needed, the file has {len(data)}; copy it again"
        )
