"""ExecuTorch with its XNNPACK backend, from PyTorch; in int8 by its quantiser, which calibrates on recorded steps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_peers.peer import Peer, Source
from edge_asc_peers.signature_module import signature_contract, signature_module, zero_inputs

if TYPE_CHECKING:
    from torch import Tensor, nn

MODEL = "model.pte"
QUANTISER = "executorch.backends.xnnpack.quantizer.xnnpack_quantizer"
PARTITIONER = "executorch.backends.xnnpack.partition.xnnpack_partitioner"


class ExecuTorch(Peer):
    """ExecuTorch's programs."""

    name, distribution, schemes = "executorch", "executorch", ("float", "int8")

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Export the model and lower it to XNNPACK."""
        import torch

        lower = require("executorch.exir", "peers").to_edge_transform_and_lower
        partitioner = require(PARTITIONER, "peers").XnnpackPartitioner()
        contract = signature_contract(source)
        inputs = tuple(torch.from_numpy(array) for array in zero_inputs(contract.signatures[0]))
        module = signature_module(Checkpoint.load(source.checkpoint), contract)
        with torch.no_grad():
            if scheme == "int8":
                module = _quantise(torch.export.export(module, inputs).module(), source)
            exported = torch.export.export(module, inputs)
        program = lower(exported, partitioner=[partitioner]).to_executorch()
        (folder / MODEL).write_bytes(program.buffer)
        return contract

    def open(self) -> None:
        """Load the program. The number of threads holds for all programs of a process."""
        library = require("executorch.extension.pybindings.portable_lib", "peers")
        library._unsafe_reset_threadpool(self.threads)
        runtime = require("executorch.runtime", "peers").Runtime
        # The method uses memory of the program.
        self._program = runtime.get().load_program(self.path / MODEL)
        self._method = self._program.load_method("forward")
        self._inputs: list[Tensor] = []
        self._outputs: list[Tensor] = []

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to tensors."""
        import torch

        self._inputs = [torch.tensor(inputs[spec.name]) for spec in self.signature.inputs]

    def compute(self) -> None:
        """Execute the method."""
        self._outputs = self._method.execute(self._inputs)

    def take(self) -> Tensors:
        """Copy the outputs to arrays."""
        pairs = zip(self.signature.outputs, self._outputs, strict=True)
        return {spec.name: np.array(tensor.numpy(), np.float32) for spec, tensor in pairs}


def _quantise(module: nn.Module, source: Source) -> nn.Module:
    """Return the module in integers for XNNPACK, with ranges from the recorded steps."""
    import torch

    pt2e = require("torchao.quantization.pt2e.quantize_pt2e", "peers")
    xnnpack = require(QUANTISER, "peers")
    quantiser = xnnpack.XNNPACKQuantizer().set_global(xnnpack.get_symmetric_quantization_config(is_per_channel=True))
    observed = pt2e.prepare_pt2e(module, quantiser)
    for inputs in source.recording:
        arrays = (inputs[spec.name] for spec in source.signature.inputs)
        observed(*(torch.tensor(array.swapaxes(2, 3) if array.ndim == 4 else array) for array in arrays))
    quantised: nn.Module = pt2e.convert_pt2e(observed)
    return quantised


PEER = ExecuTorch
