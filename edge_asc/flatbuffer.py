"""Reads tables of a flatbuffer and checks every offset: enough to find the metadata of a TFLite file.

A table starts with the signed distance back to its vtable. The vtable holds two sizes and then, for each field, the
field's distance from the table, 0 if absent. A field that is a string, a vector or a table holds the unsigned distance
from itself to it; a vector starts with its length. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from edge_asc.errors import ContractError

IDENTIFIER = b"TFL3"

# Positions of fields in TFLite's schema.
MODEL_BUFFERS, MODEL_METADATA = 4, 6
METADATA_NAME, METADATA_BUFFER = 0, 1
BUFFER_DATA = 0


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


def _read(data: bytes, layout: str, position: int) -> int:
    _check(data, position, struct.calcsize(layout))
    value: int = struct.unpack_from(layout, data, position)[0]
    return value


def _check(data: bytes, position: int, size: int) -> None:
    if position < 0 or position + size > len(data):
        raise ContractError(
            f"damaged: bytes {position} to {position + size} are needed, the file has {len(data)}; copy it again"
        )
