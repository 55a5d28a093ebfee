"""The output layer of a TFLite file: found from its output back, replaced in a copy of the bytes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import numpy.typing as npt

from edge_asc import tflite_metadata
from edge_asc.adaptation.layer import IntegerLayer, OutputLayer, Site
from edge_asc.contract import METADATA_KEY, StreamContract
from edge_asc.errors import ContractError
from edge_asc.flatbuffer import BUFFER_DATA, METADATA_BUFFER, METADATA_NAME, MODEL_BUFFERS, MODEL_METADATA, Patch, Table
from edge_asc.seal import SPARE, seal
from edge_asc.tensors import Affine
from edge_asc.tflite_metadata import append_labels, strip_labels

# Positions of fields in TFLite's schema.
MODEL_CODES, MODEL_SUBGRAPHS, MODEL_SIGNATURES = 1, 2, 7
CODE_DEPRECATED, CODE_BUILTIN = 0, 3
SIGNATURE_OUTPUTS, SIGNATURE_SUBGRAPH = 1, 4
OUTPUT_NAME, OUTPUT_TENSOR = 0, 1
SUBGRAPH_TENSORS, SUBGRAPH_OPERATORS = 0, 3
OPERATOR_CODE, OPERATOR_INPUTS, OPERATOR_OUTPUTS = 0, 1, 2
TENSOR_SHAPE, TENSOR_TYPE, TENSOR_BUFFER, TENSOR_QPARAMS = 0, 1, 2, 4
QPARAMS_SCALE, QPARAMS_ZERO = 2, 3

DEQUANTIZE, FULLY_CONNECTED = 6, 9
FLOAT32, INT32, INT8 = 0, 2, 9


class TfliteEditor:
    """A TFLite file of one signature, whose logits come from a fully connected layer in float or int8.

    Attributes:
        site: the layer that it has.
    """

    def __init__(self, data: bytes, contract: StreamContract) -> None:
        """Find the output layer.

        Raises:
            ContractError: the logits come from something else, or the file is damaged.
        """
        self._data = strip_labels(data, contract)
        self._model = Table.root(data)
        names = [each.bytes(METADATA_NAME) for each in self._model.tables(MODEL_METADATA)]
        # TFLite Metadata names a file of labels behind the model.
        self._has_labels = tflite_metadata.NAME.encode() in names
        if self._has_labels and len(self._data) == len(data):
            raise ContractError("the file breaks off: the labels behind the model are missing; export it again")
        (signature,) = self._model.tables(MODEL_SIGNATURES)
        subgraph = list(self._model.tables(MODEL_SUBGRAPHS))[signature.uint(SIGNATURE_SUBGRAPH)]
        self._buffers = list(self._model.tables(MODEL_BUFFERS))
        self._tensors = list(subgraph.tables(SUBGRAPH_TENSORS))
        self._makers = {
            int(output): operator
            for operator in subgraph.tables(SUBGRAPH_OPERATORS)
            for output in operator.numbers(OPERATOR_OUTPUTS, np.int32)
        }
        self._codes = [
            max(code.byte(CODE_DEPRECATED), code.uint(CODE_BUILTIN)) for code in self._model.tables(MODEL_CODES)
        ]
        name = contract.signatures[0].output("logits").name.encode()
        last = [
            output.uint(OUTPUT_TENSOR)
            for output in signature.tables(SIGNATURE_OUTPUTS)
            if output.bytes(OUTPUT_NAME) == name
        ]
        self._outputs = last
        operator = self._makers.get(last[0]) if len(last) == 1 else None
        if operator is not None and self._code(operator) == DEQUANTIZE:
            self._outputs = [*_indices(operator, OPERATOR_INPUTS), *last]
            operator = self._makers.get(self._outputs[0])
        if operator is None or self._code(operator) != FULLY_CONNECTED:
            raise ContractError("the logits do not come from a fully connected layer")
        inputs = _indices(operator, OPERATOR_INPUTS)
        types = [self._tensors[index].byte(TENSOR_TYPE) for index in (*inputs, self._outputs[0])]
        self._is_integer = types == [INT8, INT8, INT32, INT8]
        users = Counter(tensor.uint(TENSOR_BUFFER) for tensor in self._tensors)
        buffers = [self._tensors[index].uint(TENSOR_BUFFER) for index in inputs[1:]]
        # Buffer 0 is that of tensors without constant data.
        is_own = all(index and users[index] == 1 for index in buffers)
        if not (self._is_integer or types == [FLOAT32] * 4) or not is_own:
            raise ContractError("the output layer is not one of float32 or int8 with its own weights")
        self._weight, self._bias = inputs[1:]
        classes, width = map(int, self._tensors[self._weight].numbers(TENSOR_SHAPE, np.int32))
        self.site = Site(classes, width, self._qparams(inputs[0]) if self._is_integer else None)

    def replace(self, layer: OutputLayer | IntegerLayer, contract: StreamContract) -> bytes:
        """Return the file with another output layer, which fits the site, and another contract, sealed."""
        patch = Patch(self._data)
        if isinstance(layer, IntegerLayer):
            weight, bias = layer.weight.values, layer.weight.bias.astype(np.int32)
            scales, zeros = layer.weight.scales, np.zeros(len(bias), np.int64)
            self._set_qparams(patch, self._weight, scales, zeros)
            self._set_qparams(patch, self._bias, layer.weight.bias_scales(layer.source), zeros)
            output = layer.output
            self._set_qparams(
                patch, self._outputs[0], np.array([output.scale], np.float32), np.array([output.zero_point], np.int64)
            )
        else:
            weight, bias = layer.weight.astype(np.float32), layer.bias.astype(np.float32)
        for index, values in ((self._weight, weight), (self._bias, bias)):
            patch.append(self._tensors[index].position(TENSOR_SHAPE), np.array(values.shape, np.int32))
            patch.replace(self._data_position(self._tensors[index].uint(TENSOR_BUFFER)), values.tobytes())
        for index in self._outputs:
            shape = np.array([1, len(bias)], np.int32)
            patch.append(self._tensors[index].position(TENSOR_SHAPE), shape)
        self._write_metadata(patch, contract)
        data = bytes(patch.data)
        return seal(append_labels(data, contract) if self._has_labels else data)

    def _write_metadata(self, patch: Patch, contract: StreamContract) -> None:
        """Put a contract, with the spaces that were there, and its TFLite Metadata in place of the file's."""
        for entry in self._model.tables(MODEL_METADATA):
            buffer, name = entry.uint(METADATA_BUFFER), entry.bytes(METADATA_NAME).decode()
            if name == METADATA_KEY:
                room = len(self._buffers[buffer].bytes(BUFFER_DATA))
                text = contract.dumps().encode()
                text = text.ljust(room) if len(text) <= room else contract.dumps(SPARE).encode()
                patch.replace(self._data_position(buffer), text)
            elif name == tflite_metadata.NAME:
                patch.replace(self._data_position(buffer), tflite_metadata.pack_metadata(contract))

    def _set_qparams(
        self, patch: Patch, tensor: int, scales: npt.NDArray[np.float32], zeros: npt.NDArray[np.int64]
    ) -> None:
        qparams = self._tensors[tensor].table(TENSOR_QPARAMS)
        patch.append(qparams.position(QPARAMS_SCALE), scales)
        patch.append(qparams.position(QPARAMS_ZERO), zeros)

    def _qparams(self, tensor: int) -> Affine:
        qparams = self._tensors[tensor].table(TENSOR_QPARAMS)
        (scale,), (zero,) = qparams.numbers(QPARAMS_SCALE, np.float32), qparams.numbers(QPARAMS_ZERO, np.int64)
        return Affine(float(scale), int(zero))

    def _data_position(self, buffer: int) -> int:
        return self._buffers[buffer].position(BUFFER_DATA)

    def _code(self, operator: Table) -> int:
        return self._codes[operator.uint(OPERATOR_CODE)]


def _indices(operator: Table, field: int) -> list[int]:
    return [int(index) for index in operator.numbers(field, np.int32)]
