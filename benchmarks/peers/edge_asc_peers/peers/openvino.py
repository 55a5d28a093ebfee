"""OpenVINO, from the ONNX artefact; in int8 by NNCF, which calibrates on recorded steps."""

from __future__ import annotations

from pathlib import Path

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc_peers.peer import Peer, Source

MODEL = "model.xml"
SETTINGS = {"NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}


class OpenVino(Peer):
    """OpenVINO's inference requests."""

    name, distribution, schemes, reads_onnx = "openvino", "openvino", ("float", "int8"), True

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Read the ONNX file, quantise it for "int8", and write OpenVINO's own format."""
        openvino = require("openvino", "peers")
        model = openvino.Core().read_model(source.onnx)
        if scheme == "int8":
            nncf = require("nncf", "peers")
            model = nncf.quantize(model, nncf.Dataset(list(source.recording)), subset_size=len(source.recording))
        openvino.save_model(model, folder / MODEL, compress_to_fp16=False)
        return source.contract

    def open(self) -> None:
        """Compile the model for this processor."""
        openvino = require("openvino", "peers")
        settings = {**SETTINGS, "INFERENCE_NUM_THREADS": self.threads}
        self._compiled = openvino.Core().compile_model(str(self.path / MODEL), "CPU", settings)
        self._request = self._compiled.create_infer_request()
        specs = (self.signature.inputs, self.signature.outputs)
        self._in, self._out = ({spec.name: self._request.get_tensor(spec.name).data for spec in side} for side in specs)

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to the request's tensors."""
        for name, memory in self._in.items():
            memory[...] = inputs[name]

    def compute(self) -> None:
        """Run the request."""
        self._request.infer(share_outputs=True)

    def take(self) -> Tensors:
        """Copy the outputs from the request's tensors."""
        return {name: memory.copy() for name, memory in self._out.items()}


PEER = OpenVino
