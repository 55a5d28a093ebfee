"""A trained model as a PyTorch module with the tensors of a contract's one signature, from which peers convert."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edge_asc.contract import Signature, StreamContract, TensorSpec
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_peers.peer import Source

if TYPE_CHECKING:
    from torch import Tensor, nn

    from edge_asc.models.crnn import CRNN

OPSET = 20


def signature_module(checkpoint: Checkpoint, contract: StreamContract) -> nn.Module:
    """Return a module whose inputs and outputs are those of the contract's one signature, in its order.

    Args:
        checkpoint: of the model.
        contract: with tensors as `signature_contract` has them.
    """
    import torch

    (signature,) = contract.signatures
    names = [spec.name for spec in signature.states()]
    outputs = [spec.name for spec in signature.outputs]
    model = _recurrent_model(checkpoint)

    class Module(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, features: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
            if signature.name == "step":
                logits, after = self.model.step(features, dict(zip(names, states, strict=True)))
                logits, hidden = logits[:, 0], [after[name] for name in names]
            else:
                y, stacked = self.model.gru(self.model.embed(features), torch.stack(list(states)))
                logits, hidden = self.model.output(y)[0], list(stacked)
            tensors = {"logits": logits}
            tensors |= {f"{name}_next": value for name, value in zip(names, hidden, strict=True)}
            return tuple(tensors[name] for name in outputs)

    return Module().eval()


def signature_contract(source: Source) -> StreamContract:
    """Return the contract of a source's `signature_module`: planes of (channel, mel, time), and the model's states."""
    states: dict[str, tuple[int, ...]] = {}
    if source.signature.name == "step":
        model = _recurrent_model(Checkpoint.load(source.checkpoint))
        states = {name: tuple(value.shape) for name, value in model.initial_state().items()}
    return _to_channels_first(source.contract, states)


def zero_inputs(signature: Signature) -> list[Array]:
    """Return an array of zeros for each input of a signature, in its order."""
    return [np.zeros(spec.shape, np.float32) for spec in signature.inputs]


def export_onnx(source: Source, path: Path) -> Source:
    """Export the source's model with `torch.onnx` to `path`, and return the source of that file."""
    import torch

    contract = signature_contract(source)
    (signature,) = contract.signatures
    inputs, outputs = ([spec.name for spec in specs] for specs in (signature.inputs, signature.outputs))
    torch.onnx.export(
        signature_module(Checkpoint.load(source.checkpoint), contract),
        tuple(torch.from_numpy(array) for array in zero_inputs(signature)),
        path,
        input_names=inputs,
        output_names=outputs,
        opset_version=OPSET,
        external_data=False,
    )
    return replace(source, onnx=path, contract=contract)


def _recurrent_model(checkpoint: Checkpoint) -> CRNN:
    from edge_asc.models.crnn import CRNN

    if not isinstance(checkpoint.model, CRNN):
        raise EdgeAscError(f"{checkpoint.name}: a model without a GRU; peers convert models with one")
    return checkpoint.model


def _to_channels_first(contract: StreamContract, states: Mapping[str, tuple[int, ...]]) -> StreamContract:
    """Return the contract with planes of (batch, channel, mel, time), and states of these shapes."""

    def turn(spec: TensorSpec) -> TensorSpec:
        if len(spec.shape) != 4:
            return spec
        batch, channel, time, mel = spec.shape
        shape = states.get(spec.feeds or spec.name, (batch, channel, mel, time))
        return replace(spec, shape=shape, axes=("batch", "channel", "mel", "time"))

    (signature,) = contract.signatures
    inputs, outputs = (tuple(map(turn, specs)) for specs in (signature.inputs, signature.outputs))
    return replace(contract, signatures=(replace(signature, inputs=inputs, outputs=outputs),))
