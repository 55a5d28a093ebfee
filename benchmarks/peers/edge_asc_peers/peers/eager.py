"""PyTorch as it is: the reference for windows, with the GRU over all embeddings at once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from edge_asc.contract import StreamContract
from edge_asc.runtime import Tensors
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_peers.peer import Peer, Source
from edge_asc_peers.signature_module import signature_contract, signature_module

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKPOINT = "checkpoint"


class Eager(Peer):
    """PyTorch as it is."""

    name: ClassVar[str] = "eager"
    distribution: ClassVar[str] = "torch"

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Copy the checkpoint."""
        shutil.copytree(source.checkpoint, folder / CHECKPOINT)
        return signature_contract(source)

    def open(self) -> None:
        """Load the checkpoint."""
        import torch

        torch.set_num_threads(self.threads)
        self._module: nn.Module = signature_module(Checkpoint.load(self.path / CHECKPOINT), self.contract)
        self._inputs: list[Tensor] = []
        self._outputs: tuple[Tensor, ...] = ()

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to tensors."""
        import torch

        self._inputs = [torch.tensor(inputs[spec.name]) for spec in self.signature.inputs]

    def compute(self) -> None:
        """Call the module."""
        import torch

        with torch.inference_mode():
            self._outputs = self._module(*self._inputs)

    def take(self) -> Tensors:
        """Copy the outputs to arrays."""
        names = [spec.name for spec in self.signature.outputs]
        return {name: tensor.numpy().copy() for name, tensor in zip(names, self._outputs, strict=True)}


PEER = Eager
