"""Runs checkpoints in PyTorch, under the same contract as the artefacts that are exported from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from edge_asc.contract import AnyArray, Tensors
from edge_asc.engine import Engine
from edge_asc.errors import MissingExtraError
from edge_asc.loop import Loop
from edge_asc.provenance import Provenance
from edge_asc.runtime import Runtime, check_inputs
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint

if TYPE_CHECKING:
    from torch import Tensor


class TorchRuntime(Runtime):
    """A checkpoint's CRNN in float32 PyTorch.

    Attributes:
        model: the CRNN, in evaluation mode, on `device`.
        device: PyTorch's name of the device, such as "cpu" or "cuda:0".
        threads: CPU threads of each computation.
    """

    def __init__(self, checkpoint: Checkpoint, threads: int = 1, *, device: str = "cpu") -> None:
        """Take the model of `checkpoint` and move it to `device`.

        Raises:
            ContractError: the model is not a CRNN and does not stream.
        """
        import torch

        from edge_asc.training.checkpoint_contract import checkpoint_contract, recurrent_model

        self.engine = f"torch {torch.__version__}"
        self.contract = checkpoint_contract(checkpoint, provenance=Provenance(tools={"torch": torch.__version__}))
        self.device, self.threads = device, threads
        self.model = recurrent_model(checkpoint).to(device)

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Self:
        """Open a checkpoint folder.

        Raises:
            EdgeAscError: no checkpoint there, a damaged one, or one that does not stream.
            MissingExtraError: torch or safetensors is not installed.
        """
        return cls(Checkpoint.load(path), threads)

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute a signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        import torch

        check_inputs(self.contract, signature, inputs)
        values = {name: torch.tensor(value, device=self.device) for name, value in inputs.items()}
        outputs = self.compute(signature, values)
        return {name: value.contiguous().cpu().numpy() for name, value in outputs.items()}

    def loop(self, signature: str) -> Loop:
        """Start a stream through a signature; its states stay tensors."""
        return _TensorLoop(self, self.contract.signature(signature))

    def compute(self, signature: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute a signature on unchecked tensors of `device`."""
        import torch

        model, values = self.model, dict(inputs)
        with inference(self.threads):
            if signature == "step":
                logits, state = model.step(values.pop("features"), values)
                return {"logits": logits[:, 0], **{f"{name}_next": value for name, value in state.items()}}
            if signature != "gru":
                return {"embeddings": model.embed(values["features"])[0]}
            hidden = torch.stack([values[f"hidden_{i}"] for i in range(model.gru.num_layers)])
            y, hidden = model.gru(values["embedding"][None], hidden)
            return {"logits": model.output(y[0]), **{f"hidden_{i}_next": value for i, value in enumerate(hidden)}}


class _TensorLoop(Loop):
    """States that stay tensors, on the runtime's device."""

    _runtime: TorchRuntime

    @property
    def state(self) -> Tensors:
        """A copy of the states that the next run starts from."""
        return {name: value.numpy(force=True).copy() for name, value in self._tensors.items()}

    @state.setter
    def state(self, state: Tensors) -> None:
        self._check(state)
        self._tensors = self._to_tensors(state)

    def _step(self, value: AnyArray) -> AnyArray:
        self._source = self._to_tensors({self.source.name: value})
        self.call()
        self._tensors = {target: self._results[name] for name, target in self._feeds.items()}
        result: AnyArray = self._results[self.result.name].numpy(force=True).copy()
        return result

    def _peek(self) -> Tensors:
        return {name: value.numpy(force=True) for name, value in self._tensors.items()}

    def _to_tensors(self, values: Mapping[str, AnyArray]) -> dict[str, Tensor]:
        import torch

        return {name: torch.tensor(value, device=self._runtime.device) for name, value in values.items()}

    def _run(self) -> None:
        self._results = self._runtime.compute(self.signature.name, self._source | self._tensors)


@contextmanager
def inference(threads: int) -> Iterator[None]:
    """Compute without gradients on `threads` CPU threads; PyTorch's number of threads is one for the whole process."""
    import torch

    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            yield
    finally:
        if before != threads:
            torch.set_num_threads(before)


def _open(path: Path, threads: int) -> Runtime:
    try:
        return TorchRuntime.load(path, threads=threads)
    except MissingExtraError as error:
        raise MissingExtraError(
            f"{path.name} is a checkpoint, and {error}; or export it on a machine with torch and give the artefact here"
        ) from error


ENGINE = Engine(
    name="pytorch",
    title="PyTorch",
    accepts=is_checkpoint,
    open=_open,
    distribution="torch",
    module="torch",
    modules=("safetensors",),
    extra="train",
    preload=("torch", "edge_asc.training.checkpoint"),
)
