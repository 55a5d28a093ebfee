"""Packing of a TFLite model: the flatbuffer of the schema's objects, smaller and aligned.

Flatbuffers' object interface neither aligns buffers, as the schema asks, nor stores equal vectors once: the zero points
alone would add a third to an 8-bit file.
"""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_asc.errors import require

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT
    from flatbuffers import Builder

SCHEMA = "ai_edge_litert.schema_py_generated"
ALIGNMENT = 16


def load_schema() -> ModuleType:
    """Import the TFLite schema.

    Raises:
        MissingExtraError: ai-edge-litert is not installed.
    """
    return require(SCHEMA, "export")


@cache
def aligned_buffer() -> type:
    """Return the schema's buffer class, packed so that its bytes are aligned."""
    schema = load_schema()

    class AlignedBuffer(schema.BufferT):  # type: ignore[misc, name-defined]
        def Pack(self, builder: Builder) -> int:  # noqa: N802
            offset = None
            if self.data is not None:
                data = self.data.tobytes()
                builder.StartVector(1, len(data), ALIGNMENT)
                builder.head = builder.Head() - len(data)
                builder.Bytes[builder.Head() : builder.Head() + len(data)] = data
                offset = builder.EndVector()
            schema.BufferStart(builder)
            if offset is not None:
                schema.BufferAddData(builder, offset)
            return int(schema.BufferEnd(builder))

    return AlignedBuffer


@cache
def shared_qparams() -> type:
    """Return the schema's class of quantisation parameters, packed so that equal vectors are stored once."""
    schema = load_schema()

    class SharedQParams(schema.QuantizationParametersT):  # type: ignore[misc, name-defined]
        def Pack(self, builder: Builder) -> int:  # noqa: N802
            scale, zero = builder.shared_vector(self.scale), builder.shared_vector(self.zeroPoint)
            schema.QuantizationParametersStart(builder)
            schema.QuantizationParametersAddScale(builder, scale)
            schema.QuantizationParametersAddZeroPoint(builder, zero)
            schema.QuantizationParametersAddQuantizedDimension(builder, self.quantizedDimension)
            return int(schema.QuantizationParametersEnd(builder))

    return SharedQParams


def pack(model: ModelT) -> bytes:
    """Return the file of a model whose buffers and quantisation parameters are of the classes above."""
    flatbuffers = require("flatbuffers", "export")

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__(1 << 20)
            self.vectors: dict[bytes, int] = {}

        def shared_vector(self, values: npt.NDArray[np.generic]) -> int:
            key = values.dtype.str.encode() + values.tobytes()
            if key not in self.vectors:
                self.vectors[key] = self.CreateNumpyVector(values)
            return self.vectors[key]

    builder = SharingBuilder()
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
