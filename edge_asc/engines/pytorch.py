"""Runs checkpoints in PyTorch, under the same contract as the artefacts that are exported of them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Signature, StreamContract, TensorSpec
from edge_asc.engine import Engine
from edge_asc.errors import ContractError, MissingExtraError
from edge_asc.frontend import Array
from edge_asc.loop import Loop
from edge_asc.runtime import Runtime, Tensors, check_inputs
from edge_asc.streaming import Carry, embeddings_in
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint

if TYPE_CHECKING:
    from torch import Tensor

    from edge_asc.models import CRNN

SECONDS = range(1, 11)
STREAMS = 32

PLANES = ("batch", "channel", "mel", "time")
ROW, ROWS = ("batch", "unit"), ("time", "unit")


class TorchRuntime(Runtime):
    """A checkpoint's CRNN in float32 PyTorch, on the CPU unless it is told otherwise."""

    def __init__(self, checkpoint: Checkpoint, threads: int = 1, *, whole: bool = False, device: str = "cpu") -> None:
        """Take the model of `checkpoint`, for `threads` threads; it is moved to `device`.

        With `whole`, `stream` computes each clip in one pass, as in training: what streaming must equal.

        Raises:
            ContractError: the model is no CRNN and does not stream.
        """
        import torch

        self.whole = whole
        self.engine = f"torch {torch.__version__}" + (", whole clip" if whole else "")
        self.contract = contract_of(checkpoint)
        self._device, self._threads = device, threads
        self._model = _recurrent(checkpoint).to(device)

    @classmethod
    def load(cls, path: str | Path, threads: int = 1) -> Self:
        """Open a checkpoint folder.

        Raises:
            EdgeAscError: no checkpoint there, a damaged one, or one that does not stream.
            MissingExtraError: torch or safetensors is not installed.
        """
        return cls(Checkpoint.load(path), threads)

    def run(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Compute a signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        import torch

        check_inputs(self.contract, signature, inputs)
        values = {name: torch.tensor(value, device=self._device) for name, value in inputs.items()}
        with torch.inference_mode(), _threads(self._threads):
            outputs = self._computed(signature, values)
        return {name: value.contiguous().cpu().numpy() for name, value in outputs.items()}

    def loop(self, signature: str) -> Loop:
        """A stream through a signature, at the start; its states stay tensors."""
        return _TensorLoop(self, self.contract.signature(signature))

    def _computed(self, signature: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        import torch

        model = self._model
        if signature == "step":
            logits, state = model.step(values.pop("features"), values)
            return {"logits": logits[:, 0], **{f"{name}_next": value for name, value in state.items()}}
        if signature != "gru":
            return {"embeddings": model.embed(values["features"])[0]}
        hidden = torch.stack([values[f"hidden_{i}"] for i in range(model.gru.num_layers)])
        y, hidden = model.gru(values["embedding"][None], hidden)
        return {"logits": model.output(y[0]), **{f"hidden_{i}_next": value for i, value in enumerate(hidden)}}

    def stream(self, features: Sequence[Array]) -> list[Array]:
        """Stream many clips: features, (frames, mels), to logits after every step, (steps, classes), of each.

        The same as step by step through `run`, up to float32 rounding; frames that do not fill a step are
        left out.

        Raises:
            ContractError: a windowed model, or features of another shape or not finite.
        """
        if self.contract.form != "causal":
            raise ContractError(f"{self.contract.name}: a windowed model has no steps; expected a causal one")
        step, mels = self.contract.signature("step").frames, self.contract.front_end.mels
        for clip in features:
            if clip.ndim != 2 or clip.shape[1] != mels:
                raise ContractError(f"features are {clip.shape}; expected (frames, {mels})")
            if not np.isfinite(clip).all():
                raise ContractError("features hold NaN or infinite values; expected finite ones")
        by_steps: dict[int, list[int]] = {}
        for i, clip in enumerate(features):
            by_steps.setdefault(len(clip) // step, []).append(i)
        logits: dict[int, Array] = {}
        for steps, clips in by_steps.items():
            for start in range(0, len(clips), STREAMS):
                batch = clips[start : start + STREAMS]
                stacked = np.stack([np.asarray(features[i][: steps * step], np.float32) for i in batch])
                logits.update(zip(batch, self._streamed(stacked, step), strict=True))
        return [logits[i] for i in range(len(features))]

    def _streamed(self, features: Array, step: int) -> Array:
        """(streams, frames, mels) → (streams, steps, classes)."""
        import torch

        results = np.empty((len(features), features.shape[1] // step, len(self.contract.labels)), np.float32)
        with torch.inference_mode(), _threads(self._threads):
            state = self._model.initial_state(len(features))
            planes = torch.from_numpy(features).to(self._device).transpose(1, 2)[:, None]
            if self.whole and features.shape[1]:
                results[:] = self._model(planes).logits.cpu().numpy()
                return results
            for i in range(results.shape[1]):
                logits, state = self._model.step(planes[..., i * step : (i + 1) * step], state)
                results[:, i] = logits[:, 0].cpu().numpy()
        return results

    def windows(self, features: Array, carries: Sequence[Carry], period: float) -> list[Array]:
        """Run the windows of many recordings: (streams, windows, frames, mels) to (streams, windows, classes).

        One result for each mode of `carries`, the same as of `WindowedClassifier` window by window, up to rounding.

        Raises:
            ContractError: a causal model.
        """
        import torch

        if self.contract.form != "windowed":
            raise ContractError(f"{self.contract.name}: a causal model has no windows; expected a windowed one")
        model, front_end = self._model, self.contract.front_end
        aligned = embeddings_in(period, front_end)
        results = [np.empty((*features.shape[:2], len(self.contract.labels)), np.float32) for _ in carries]
        with torch.inference_mode(), _threads(self._threads):
            fresh = torch.zeros(
                model.gru.num_layers, len(features), model.gru.hidden_size, device=self._device, dtype=torch.float32
            )
            states = [fresh] * len(carries)
            for i in range(features.shape[1]):
                planes = torch.from_numpy(features[:, i]).to(self._device).transpose(1, 2)[:, None]
                embeddings = model.embed(planes)
                for k, carry in enumerate(carries):
                    before = fresh if carry == "none" else states[k]
                    y, states[k] = model.gru(embeddings, before)
                    results[k][:, i] = model.output(y[:, -1]).cpu().numpy()
                    if carry == "aligned":
                        _, states[k] = model.gru(embeddings[:, :aligned], before)
        return results


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
        self._tensors = self._moved(state)

    def feed(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run on finite values of the source's own shape and type; the result, which is the caller's."""
        self._given = self._moved({self.source.name: value})
        self.call()
        self._tensors = {target: self._found[name] for name, target in self._feeds.items()}
        return self._found[self.result.name].numpy(force=True).copy()

    def _moved(self, values: Mapping[str, npt.NDArray[Any]]) -> dict[str, Tensor]:
        import torch

        return {name: torch.tensor(value, device=self._runtime._device) for name, value in values.items()}

    def _run(self) -> None:
        import torch

        with torch.inference_mode(), _threads(self._runtime._threads):
            self._found = self._runtime._computed(self.signature.name, self._given | self._tensors)


def contract_of(checkpoint: Checkpoint) -> StreamContract:
    """The contract under which `TorchRuntime` runs a checkpoint, channels first.

    Raises:
        ContractError: the model is no CRNN and does not stream.
    """
    import torch

    from edge_asc.models.complexity import deployed_parameters

    model, config = _recurrent(checkpoint), checkpoint.model.config
    return StreamContract(
        name=checkpoint.name,
        backbone=config.backbone,
        form=config.form,
        output=config.output,
        labels=checkpoint.labels,
        front_end=checkpoint.front_end,
        decision=checkpoint.decision,
        parameters=deployed_parameters(model),
        macs={},
        scheme="none",
        signatures=_steps(checkpoint, model) if config.form == "causal" else _windows(checkpoint, model),
        provenance={"checkpoint": checkpoint.name, "torch": torch.__version__},
    )


def _recurrent(checkpoint: Checkpoint) -> CRNN:
    from edge_asc.models import CRNN

    if not isinstance(checkpoint.model, CRNN):
        raise ContractError(
            f"{checkpoint.name}: a CNN with global average pooling classifies whole clips and does not "
            "stream; choose a model with head 'gru'"
        )
    return checkpoint.model


def _steps(checkpoint: Checkpoint, model: CRNN) -> tuple[Signature]:
    from edge_asc.models.crnn import STEP_FRAMES

    states = {name: tuple(value.shape) for name, value in model.initial_state().items()}
    mels, hop = checkpoint.front_end.mels, checkpoint.front_end.hop
    inputs = (TensorSpec("features", "features", (1, 1, mels, STEP_FRAMES), PLANES), *_inputs(states))
    outputs = (TensorSpec("logits", "logits", (1, len(checkpoint.labels)), ROW), *_outputs(states))
    return (Signature("step", STEP_FRAMES, STEP_FRAMES * hop, inputs, outputs),)


def _windows(checkpoint: Checkpoint, model: CRNN) -> tuple[Signature, ...]:
    import torch

    front_end, channels = checkpoint.front_end, model.gru.input_size
    shapes = copy.deepcopy(model).to("meta")  # computes shapes and nothing else
    signatures = []
    for seconds in SECONDS:
        frames = front_end.sample_rate * seconds // front_end.hop
        planes = (1, 1, front_end.mels, frames)
        rows = shapes.embed(torch.empty(planes, device="meta")).shape[1]
        features = TensorSpec("features", "features", planes, PLANES)
        embeddings = TensorSpec("embeddings", "embedding", (rows, channels), ROWS)
        signatures.append(Signature(f"window_{seconds}s", frames, frames * front_end.hop, (features,), (embeddings,)))
    states = {f"hidden_{i}": (1, model.gru.hidden_size) for i in range(model.gru.num_layers)}
    inputs = (TensorSpec("embedding", "embedding", (1, channels), ROW), *_inputs(states))
    outputs = (TensorSpec("logits", "logits", (1, len(checkpoint.labels)), ROW), *_outputs(states))
    return (*signatures, Signature("gru", 0, 0, inputs, outputs))


def _inputs(states: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "state", shape, _axes(shape)) for name, shape in states.items())


def _outputs(states: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"{name}_next", "state", shape, _axes(shape), feeds=name) for name, shape in states.items())


def _axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    return PLANES if len(shape) == 4 else ROW


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """PyTorch's number of threads, which is one for the whole process, for the length of a computation."""
    import torch

    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
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
    extra="train",
)
