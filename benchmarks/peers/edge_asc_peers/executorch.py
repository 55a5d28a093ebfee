"""ExecuTorch with its XNNPACK backend, from PyTorch; in int8 by its quantiser, which calibrates on recorded steps."""

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
from edge_asc_peers.torch import contract_of, module_of

MODEL = "model.pte"
QUANTISER = "executorch.backends.xnnpack.quantizer.xnnpack_quantizer"
PARTITIONER = "executorch.backends.xnnpack.partition.xnnpack_partitioner"


class ExecuTorch(Peer):
    """ExecuTorch's programs."""

    name, package, schemes = "executorch", "executorch", ("float", "int8")

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Export the model and lower it to XNNPACK."""
        import torch

        lower = require("executorch.exir", "peers").to_edge_transform_and_lower
        partitioner = require(PARTITIONER, "peers").XnnpackPartitioner()
        contract = contract_of(source)
        inputs = tuple(torch.from_numpy(value) for value in zeros(contract.signatures[0]))
        module: Any = module_of(Checkpoint.load(source.checkpoint), contract)
        with torch.no_grad():
            if scheme == "int8":
                module = _quantised(torch.export.export(module, inputs).module(), source)
            exported = torch.export.export(module, inputs)
        program = lower(exported, partitioner=[partitioner]).to_executorch()
        (folder / MODEL).write_bytes(program.buffer)
        return contract

    def open(self) -> None:
        """Load the program; its threads are all programs' of a process."""
        library = require("executorch.extension.pybindings.portable_lib", "peers")
        library._unsafe_reset_threadpool(self.threads)
        runtime = require("executorch.runtime", "peers").Runtime
        self._program = runtime.get().load_program(self.path / MODEL)
        self._method: Any = self._program.load_method("forward")
        self._given: list[Any] = []
        self._found: list[Any] = []

    def put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy them to tensors."""
        import torch

        self._given = [torch.tensor(values[spec.name]) for spec in self.signature.inputs]

    def compute(self) -> None:
        """Execute the method."""
        self._found = self._method.execute(self._given)

    def take(self) -> Tensors:
        """Copy them to arrays."""
        pairs = zip(self.signature.outputs, self._found, strict=True)
        return {spec.name: np.array(value.numpy(), np.float32) for spec, value in pairs}


def _quantised(module: Any, source: Source) -> Any:
    """The module with integers for XNNPACK, on ranges of the recorded steps."""
    import torch

    pt2e = require("torchao.quantization.pt2e.quantize_pt2e", "peers")
    kinds = require(QUANTISER, "peers")
    quantiser = kinds.XNNPACKQuantizer().set_global(kinds.get_symmetric_quantization_config(is_per_channel=True))
    prepared = pt2e.prepare_pt2e(module, quantiser)
    for inputs in source.recording:
        values = (inputs[spec.name] for spec in source.signature.inputs)
        prepared(*(torch.tensor(x.swapaxes(2, 3) if x.ndim == 4 else x) for x in values))
    return pt2e.convert_pt2e(prepared)
