"""ncnn, from TorchScript by pnnx. Its quantiser is not in its package, so that it runs in float alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_peers.peer import Peer, Source, zeros
from edge_asc_peers.tool import run_tool
from edge_asc_peers.torch import contract_of, module_of

HALVES = ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage")


class Ncnn(Peer):
    """ncnn's extractors."""

    name, package = "ncnn", "ncnn"

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Trace the model and run pnnx."""
        import torch

        contract = contract_of(source)
        inputs = [torch.from_numpy(value) for value in zeros(contract.signatures[0])]
        with torch.no_grad():
            module = module_of(Checkpoint.load(source.checkpoint), contract)
            torch.jit.trace(module, inputs, check_trace=False).save(folder / "model.pt")  # type: ignore[no-untyped-call]
        shapes = ",".join(str(list(value.shape)).replace(" ", "") for value in inputs)
        run_tool("pnnx", "model.pt", f"inputshape={shapes}", "fp16=0", folder=folder)
        for path in folder.iterdir():
            if not path.name.startswith("model.ncnn"):
                path.unlink()
        return contract

    def open(self) -> None:
        """Load the network, in single precision."""
        self._ncnn = require("ncnn", "peers")
        self._net = self._ncnn.Net()
        self._net.opt.num_threads = self.threads
        for option in HALVES:
            setattr(self._net.opt, option, False)
        self._net.load_param(str(self.path / "model.ncnn.param"))
        self._net.load_model(str(self.path / "model.ncnn.bin"))
        self._extractor: Any = None
        self._found: list[Any] = []

    def put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy them to a new extractor, without their batch axis."""
        self._extractor = self._net.create_extractor()
        for i, spec in enumerate(self.signature.inputs):
            value = values[spec.name]
            plane = np.ascontiguousarray(value[0] if value.ndim == 4 else value)
            self._extractor.input(f"in{i}", self._ncnn.Mat(plane).clone())

    def compute(self) -> None:
        """Extract every output, which computes what it needs."""
        self._found = [self._extractor.extract(f"out{i}")[1] for i in range(len(self.signature.outputs))]

    def take(self) -> Tensors:
        """Copy them to arrays."""
        pairs = zip(self.signature.outputs, self._found, strict=True)
        return {spec.name: np.array(value, np.float32).reshape(spec.shape) for spec, value in pairs}
