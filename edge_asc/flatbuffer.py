"""Reads tables of a flatbuffer, checks every offset, and replaces vectors: enough to edit a TFLite file.

A table starts with the signed distance back to its vtable. The vtable holds two sizes and then, for each field, the
field's distance from the table, 0 if absent. A field that is a string, a vector or a table holds the unsigned distance
from itself to it; a vector starts with its length. All numbers are little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

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


def _read(data: bytes | bytearray, layout: str, position: int) -> int:
    _check(data, position, struct.calcsize(layout))
    value: int = struct.unpack_from(layout, data, position)[0]
    return value


def _check(data: bytes | bytearray, position: int, size: int) -> None:
    if position < 0 or position + size > len(data):
        raise ContractError(
            f"damaged: bytes {position} to {position + size} are needed, the file has {len(data)}; copy it again"
        )
