"""PyTorch itself: eager, and compiled by its inductor."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edge_asc.contract import StreamContract
from edge_asc.errors import MissingExtraError
from edge_asc.runtime import Tensors
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_peers.peer import Peer, Source, channels_first, zeros

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKPOINT = "checkpoint"
OPSET = 20


def module_of(checkpoint: Checkpoint, contract: StreamContract) -> nn.Module:
    """A module that takes and gives the tensors of a contract's one signature, in its order."""
    import torch

    (signature,) = contract.signatures
    states = [spec.name for spec in signature.states()]
    outputs = [spec.name for spec in signature.outputs]
    model: Any = checkpoint.model

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            given = dict(zip(states, values, strict=True))
            if signature.name == "step":
                logits, after = self.model.step(features, given)
                found = {"logits": logits[:, 0], **{f"{name}_next": value for name, value in after.items()}}
            else:
                y, hidden = self.model.gru(self.model.embed(features), torch.stack(list(values)))
                found = {"logits": self.model.output(y)[0]}
                found |= {f"{name}_next": value for name, value in zip(states, hidden, strict=True)}
            return tuple(found[name] for name in outputs)

    return Module().eval()


def contract_of(source: Source) -> StreamContract:
    """The contract of `module_of`."""
    states = {}
    if source.signature.name == "step":
        model: Any = Checkpoint.load(source.checkpoint).model
        states = {name: tuple(value.shape) for name, value in model.initial_state().items()}
    return channels_first(source.contract, states)


def export_onnx(source: Source, path: Path) -> Source:
    """Have torch.onnx export the model to `path`; the source of that."""
    import torch

    contract = contract_of(source)
    (signature,) = contract.signatures
    inputs, outputs = ([spec.name for spec in specs] for specs in (signature.inputs, signature.outputs))
    torch.onnx.export(
        module_of(Checkpoint.load(source.checkpoint), contract),
        tuple(torch.from_numpy(value) for value in zeros(signature)),
        path,
        input_names=inputs,
        output_names=outputs,
        opset_version=OPSET,
        external_data=False,
    )
    return replace(source, onnx=path, contract=contract)


class Eager(Peer):
    """PyTorch as it is."""

    name, package = "eager", "torch"

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """The checkpoint as it is."""
        shutil.copytree(source.checkpoint, folder / CHECKPOINT)
        return contract_of(source)

    def open(self) -> None:
        """Load the checkpoint."""
        import torch

        torch.set_num_threads(self.threads)
        self._module: Any = module_of(Checkpoint.load(self.path / CHECKPOINT), self.contract)
        self._given: list[Tensor] = []
        self._found: tuple[Tensor, ...] = ()

    def put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy them to tensors."""
        import torch

        self._given = [torch.tensor(values[spec.name]) for spec in self.signature.inputs]

    def compute(self) -> None:
        """Call the module."""
        import torch

        with torch.inference_mode():
            self._found = self._module(*self._given)

    def take(self) -> Tensors:
        """Copy them to arrays."""
        names = [spec.name for spec in self.signature.outputs]
        return {name: value.numpy().copy() for name, value in zip(names, self._found, strict=True)}


class Compiled(Eager):
    """torch.compile with its default backend, which needs a C++ compiler."""

    name = "compile"

    @classmethod
    def installed(cls) -> str:
        """Its version.

        Raises:
            MissingExtraError: there is no C++ compiler.
        """
        if not shutil.which("g++"):
            raise MissingExtraError("compile: torch.compile needs g++: install g++")
        return super().installed()

    def open(self) -> None:
        """Load the checkpoint and compile it."""
        import torch

        super().open()
        self._module = torch.compile(self._module, dynamic=False)
