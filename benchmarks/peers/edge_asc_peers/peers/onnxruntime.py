"""ONNX Runtime on the model as `torch.onnx` exports it, to compare with ONNX Runtime on the artefact."""

from __future__ import annotations

import shutil
from pathlib import Path

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc_peers.peer import Peer, Source

MODEL = "model.onnx"


class OnnxRuntime(Peer):
    """ONNX Runtime's sessions, with memory bound once."""

    name, distribution, reads_onnx = "onnxruntime", "onnxruntime", True

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Copy the ONNX file."""
        shutil.copyfile(source.onnx, folder / MODEL)
        return source.contract

    def open(self) -> None:
        """Create a session."""
        onnxruntime = require("onnxruntime", "peers")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(self.path / MODEL), options)
        self._binding = self._session.io_binding()
        sides = (self.signature.inputs, self._binding.bind_input), (self.signature.outputs, self._binding.bind_output)
        self._in, self._out = ({spec.name: spec.empty() for spec in specs} for specs, _ in sides)
        for (_, bind), memory in zip(sides, (self._in, self._out), strict=True):
            for name, array in memory.items():
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to the bound memory."""
        for name, memory in self._in.items():
            memory[...] = inputs[name]

    def compute(self) -> None:
        """Run the session."""
        self._session.run_with_iobinding(self._binding)

    def take(self) -> Tensors:
        """Copy the outputs from the bound memory."""
        return {name: memory.copy() for name, memory in self._out.items()}


PEER = OnnxRuntime
