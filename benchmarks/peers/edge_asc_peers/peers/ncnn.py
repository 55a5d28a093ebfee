"""ncnn, from TorchScript by pnnx. Its package has no quantiser, so this peer runs in float alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc.tool import CommandLine, find_script, run_tool
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_peers.peer import Peer, Source
from edge_asc_peers.signature_module import signature_contract, signature_module, zero_inputs

HALF_PRECISION = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


class Ncnn(Peer):
    """ncnn's extractors."""

    name, distribution = "ncnn", "ncnn"

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Trace the model and run pnnx."""
        import torch

        contract = signature_contract(source)
        inputs = [torch.from_numpy(array) for array in zero_inputs(contract.signatures[0])]
        with torch.no_grad():
            module = signature_module(Checkpoint.load(source.checkpoint), contract)
            torch.jit.trace(module, inputs, check_trace=False).save(folder / "model.pt")  # type: ignore[no-untyped-call]
        shapes = ",".join(str(list(tensor.shape)).replace(" ", "") for tensor in inputs)
        command: CommandLine = [find_script("pnnx"), "model.pt", f"inputshape={shapes}", "fp16=0"]
        run_tool(command, "ncnn: the model cannot be converted", folder=folder)
        for path in folder.iterdir():
            if not path.name.startswith("model.ncnn"):
                path.unlink()
        return contract

    def open(self) -> None:
        """Load the network in single precision."""
        self._ncnn = require("ncnn", "peers")
        self._net = self._ncnn.Net()
        self._net.opt.num_threads = self.threads
        for option in HALF_PRECISION:
            setattr(self._net.opt, option, False)
        self._net.load_param(str(self.path / "model.ncnn.param"))
        self._net.load_model(str(self.path / "model.ncnn.bin"))
        self._extractor = self._net.create_extractor()
        self._outputs: list[object] = []

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to a new extractor, without their batch axis."""
        self._extractor = self._net.create_extractor()
        for i, spec in enumerate(self.signature.inputs):
            array = inputs[spec.name]
            plane = np.ascontiguousarray(array[0] if array.ndim == 4 else array)
            self._extractor.input(f"in{i}", self._ncnn.Mat(plane).clone())

    def compute(self) -> None:
        """Extract every output; ncnn computes what an output needs."""
        self._outputs = [self._extractor.extract(f"out{i}")[1] for i in range(len(self.signature.outputs))]

    def take(self) -> Tensors:
        """Copy the outputs to arrays."""
        pairs = zip(self.signature.outputs, self._outputs, strict=True)
        return {spec.name: np.array(matrix, np.float32).reshape(spec.shape) for spec, matrix in pairs}


PEER = Ncnn
