"""MNN, from the ONNX artefact; in int8 by MNN's quantisation of weights, with activations quantised at each run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.frontend import Array
from edge_asc.runtime import Tensors
from edge_asc.tool import CommandLine, run_tool
from edge_asc_peers.peer import Peer, Source

MODEL = "model.mnn"

# The command mnnconvert installs a package that breaks onnx, and reports each conversion to MNN's authors.
CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class Mnn(Peer):
    """MNN's sessions."""

    name, distribution, schemes, reads_onnx = "mnn", "MNN", ("float", "int8"), True

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Call the converter behind the command mnnconvert."""
        command: CommandLine = [sys.executable, "-c", CONVERT, "-f", "ONNX", "--bizCode", "edge-asc"]
        command += ["--modelFile", source.onnx, "--MNNModel", folder / MODEL]
        command += ["--weightQuantBits", "8"] if scheme == "int8" else []
        run_tool(command, "mnn: the model cannot be converted")
        return source.contract

    def open(self) -> None:
        """Create a session in single precision."""
        self._mnn = require("MNN", "peers")
        self._interpreter = self._mnn.Interpreter(str(self.path / MODEL))
        settings = {"numThread": self.threads, "backend": "CPU", "precision": "high", "memory": "low"}
        self._session = self._interpreter.createSession(settings)
        get = self._interpreter.getSessionInput, self._interpreter.getSessionOutput
        self._in, self._out = (
            {spec.name: (getter(self._session, spec.name), spec) for spec in specs}
            for getter, specs in zip(get, (self.signature.inputs, self.signature.outputs), strict=True)
        )

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to the session's tensors."""
        for name, (tensor, _) in self._in.items():
            tensor.copyFrom(self._to_host_tensor(inputs[name]))

    def compute(self) -> None:
        """Run the session."""
        self._interpreter.runSession(self._session)

    def take(self) -> Tensors:
        """Copy the outputs from the session's tensors."""
        outputs = {}
        for name, (tensor, spec) in self._out.items():
            host = self._to_host_tensor(np.zeros(spec.shape, np.float32))
            tensor.copyToHostTensor(host)
            outputs[name] = np.array(host.getNumpyData(), np.float32).reshape(spec.shape)
        return outputs

    def _to_host_tensor(self, array: Array) -> Any:
        dtype, layout = self._mnn.Halide_Type_Float, self._mnn.Tensor_DimensionType_Caffe
        return self._mnn.Tensor(array.shape, dtype, np.ascontiguousarray(array), layout)


PEER = Mnn
