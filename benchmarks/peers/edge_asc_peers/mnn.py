"""MNN, from the ONNX artefact; in int8 by its own quantisation of weights, with activations rounded as they come."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc_peers.peer import Peer, Source
from edge_asc_peers.tool import run_tool

MODEL = "model.mnn"

# The command mnnconvert installs a package that breaks onnx, and reports each conversion to MNN's authors.
CONVERT = "import sys, _tools; _tools.mnnconvert(sys.argv)"


class Mnn(Peer):
    """MNN's sessions."""

    name, package, schemes, reads_onnx = "mnn", "MNN", ("float", "int8"), True

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Run what mnnconvert runs."""
        options = ["--weightQuantBits", "8"] if scheme == "int8" else []
        files = ["--modelFile", str(source.onnx), "--MNNModel", str(folder / MODEL)]
        run_tool("python", "-c", CONVERT, "-f", "ONNX", *files, "--bizCode", "edge-asc", *options)
        return source.contract

    def open(self) -> None:
        """Make a session in single precision."""
        self._mnn = require("MNN", "peers")
        self._interpreter = self._mnn.Interpreter(str(self.path / MODEL))
        settings = {"numThread": self.threads, "backend": "CPU", "precision": "high", "memory": "low"}
        self._session = self._interpreter.createSession(settings)
        get = self._interpreter.getSessionInput, self._interpreter.getSessionOutput
        self._in, self._out = (
            {spec.name: (getter(self._session, spec.name), spec) for spec in specs}
            for getter, specs in zip(get, (self.signature.inputs, self.signature.outputs), strict=True)
        )

    def _host(self, value: npt.NDArray[Any]) -> Any:
        kind, layout = self._mnn.Halide_Type_Float, self._mnn.Tensor_DimensionType_Caffe
        return self._mnn.Tensor(value.shape, kind, np.ascontiguousarray(value), layout)

    def put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy them to the session's tensors."""
        for name, (tensor, _) in self._in.items():
            tensor.copyFrom(self._host(values[name]))

    def compute(self) -> None:
        """Run the session."""
        self._interpreter.runSession(self._session)

    def take(self) -> Tensors:
        """Copy them from the session's tensors."""
        found = {}
        for name, (tensor, spec) in self._out.items():
            host = self._host(np.zeros(spec.shape, np.float32))
            tensor.copyToHostTensor(host)
            found[name] = np.array(host.getNumpyData(), np.float32).reshape(spec.shape)
        return found
