"""The TFLite writer: graphs to one file of signatures that share their weights.

Tensors are (batch, time, mel, channel): what a step joins to its caches and keeps of them is then in one piece, and the
features are the frames as they arrive. The file is written operation by operation: every tensor has the name and the
quantisation parameters that the export form has, states are fed back raw, and the step is one XNNPACK partition.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edge_asc import tflite_metadata
from edge_asc.contract import METADATA_KEY, Signature, StreamContract
from edge_asc.seal import SPARE, seal
from edge_asc.tflite_metadata import append_labels, pack_metadata
from edge_asc_export.pipeline import Lowered
from edge_asc_export.signature import lowered_signature
from edge_asc_export.tflite_packing import aligned_buffer, load_schema, pack
from edge_asc_export.tflite_subgraph import SubgraphWriter

if TYPE_CHECKING:
    from ai_edge_litert.schema_py_generated import ModelT, SignatureDefT, SubGraphT

VERSION = 3


class TFLiteFile:
    """A model that is complete but for its contract."""

    def __init__(self, model: ModelT, graphs: Sequence[Lowered]) -> None:
        self._model, self._graphs = model, tuple(graphs)

    def signatures(self, hop: int) -> tuple[Signature, ...]:
        """Return the signatures of the file, in its order."""
        return tuple(lowered_signature(lowered, hop) for lowered in self._graphs)

    def finish(self, contract: StreamContract) -> bytes:
        """Return the file with this contract and its TFLite Metadata, sealed; the contract is the last buffer."""
        model = copy.copy(self._model)
        contents = {tflite_metadata.NAME: pack_metadata(contract), METADATA_KEY: contract.dumps(SPARE).encode()}
        model.buffers, model.metadata = list(model.buffers), []
        for name, content in contents.items():
            metadata = load_schema().MetadataT()
            metadata.name, metadata.buffer = name, len(model.buffers)
            model.buffers.append(aligned_buffer()(np.frombuffer(content, np.uint8)))
            model.metadata.append(metadata)
        return seal(append_labels(pack(model), contract))


def write_tflite(graphs: Sequence[Lowered]) -> TFLiteFile:
    """Write graphs as signatures of one file; the first one is also what the plain interpreter runs.

    Raises:
        ExportError: a graph has an operation that TFLite files of this toolkit do not have.
    """
    builder = _ModelBuilder()
    for lowered in graphs:
        SubgraphWriter(builder, lowered).write()
    return TFLiteFile(builder.model, graphs)


class _ModelBuilder:
    """Collects what all subgraphs of a file share. Follows `tflite_tensors.Model`."""

    def __init__(self) -> None:
        self.schema = load_schema()
        self.model = self.schema.ModelT()
        self.model.version = VERSION
        self.model.description = "edge-asc"
        self.model.buffers = [aligned_buffer()(None)]
        self.model.operatorCodes, self.model.subgraphs = [], []
        self.model.signatureDefs, self.model.metadata = [], []
        self._buffers: dict[bytes, int] = {}
        self._codes: dict[tuple[int, int], int] = {}

    def add_buffer(self, values: npt.NDArray[np.generic]) -> int:
        """Return the index of a buffer with these bytes; equal bytes are stored once."""
        content = np.ascontiguousarray(values).tobytes()
        key = hashlib.sha256(content).digest()
        if key not in self._buffers:
            self.model.buffers.append(aligned_buffer()(np.frombuffer(content, np.uint8)))
            self._buffers[key] = len(self.model.buffers) - 1
        return self._buffers[key]

    def add_code(self, builtin: int, version: int) -> int:
        """Return the index of an operator code."""
        if (builtin, version) not in self._codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode, code.version = builtin, version
            code.deprecatedBuiltinCode = min(builtin, 127)
            self.model.operatorCodes.append(code)
            self._codes[builtin, version] = len(self.model.operatorCodes) - 1
        return self._codes[builtin, version]

    def add_subgraph(self, subgraph: SubGraphT, signature: SignatureDefT) -> None:
        """Append a subgraph and the signature that runs it."""
        signature.subgraphIndex = len(self.model.subgraphs)
        self.model.subgraphs.append(subgraph)
        self.model.signatureDefs.append(signature)
