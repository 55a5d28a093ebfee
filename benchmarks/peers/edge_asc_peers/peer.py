"""A peer: another runtime that runs a model of edge-asc, converted by its own tools to a folder of its own."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edge_asc.contract import Signature, StreamContract
from edge_asc.engine import Engine
from edge_asc.errors import ContractError, MissingExtraError
from edge_asc.frontend import Array
from edge_asc.loop import Loop
from edge_asc.registry import Registry
from edge_asc.runtime import Runtime, Tensors, check_inputs

CONTRACT = "contract.json"


@dataclass(frozen=True)
class Source:
    """What a peer converts: one signature of a model, a step or a window.

    Attributes:
        checkpoint: folder of the model.
        artefact: its float ONNX artefact, which every conversion is compared with.
        onnx: that artefact, or what torch.onnx makes of the model.
        contract: of `onnx`, which has the one signature.
        recording: what went into each step of some audio, inputs by name; for calibration.
    """

    checkpoint: Path
    artefact: Path
    onnx: Path
    contract: StreamContract
    recording: tuple[Tensors, ...] = ()

    @property
    def signature(self) -> Signature:
        """The one signature."""
        return self.contract.signatures[0]


class Peer(Runtime):
    """A converted model in its runtime: a folder whose name ends in the peer's own.

    Subclasses say how a model is converted and opened, and what the runtime computes. Nothing of it is needed to import
    this package: a peer that is not installed says so when it is asked.
    """

    name: ClassVar[str]
    package: ClassVar[str]
    """The distribution that is installed, and whose version is told."""
    schemes: ClassVar[tuple[str, ...]] = ("float",)
    """What it can convert to: "float", and "int8" where it has a quantiser of its own."""
    reads_onnx: ClassVar[bool] = False
    """It converts an ONNX file, not a module of PyTorch."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Take a converted model; the runtime loads it when a stream begins.

        Raises:
            ContractError: the folder holds no contract, or a damaged one.
            MissingExtraError: the peer is not installed.
        """
        self.path, self.threads = path, threads
        self.engine = f"{self.name} {self.installed()}"
        try:
            text = (path / CONTRACT).read_text()
        except OSError as error:
            raise ContractError(
                f"{path}: no folder with {CONTRACT} ({error.strerror}); convert the model again"
            ) from error
        self.contract = StreamContract.parse(text)
        self.signature = self.contract.signatures[0]
        self._is_open = False

    @classmethod
    def installed(cls) -> str:
        """Its version.

        Raises:
            MissingExtraError: the peer is not installed.
        """
        try:
            return version(cls.package)
        except PackageNotFoundError as error:
            raise MissingExtraError(f"{cls.name}: {cls.package} is not installed: pip install {cls.package}") from error

    @classmethod
    @abstractmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Write the converted model to an empty folder; the contract under which it runs."""

    @abstractmethod
    def open(self) -> None:
        """Load what `convert` wrote to `self.path`, for `self.threads` threads."""

    @abstractmethod
    def put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Hand over every input."""

    @abstractmethod
    def compute(self) -> None:
        """The runtime's own call."""

    @abstractmethod
    def take(self) -> Tensors:
        """Every output, as memory of the caller's."""

    def run(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Compute the signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        check_inputs(self.contract, signature, inputs)
        self._ready()
        self.put(inputs)
        self.compute()
        return self.take()

    def loop(self, signature: str) -> Loop:
        """A stream through the signature, at the start; its call is the runtime's own."""
        self._ready()
        return _PeerLoop(self, self.contract.signature(signature))

    def _ready(self) -> None:
        if not self._is_open:
            self.open()
            self._is_open = True


class _PeerLoop(Loop):
    """States that come and go; what is timed is the runtime's call alone."""

    _runtime: Peer

    def _prepare(self) -> None:
        self.call = self._runtime.compute

    def feed(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run on finite values of the source's own shape and type; the result, which is the caller's."""
        self._runtime.put({self.source.name: value, **self._state})
        self.call()
        outputs = self._runtime.take()
        self._state = {target: outputs[name] for name, target in self._feeds.items()}
        return outputs[self.result.name]


# A peer's name is also the suffix of the folders that it converts models to.
PEERS: Registry[type[Peer]] = Registry("edge_asc.peers", type, "PEER", "peer")


def _accepts(path: Path) -> bool:
    return path.suffix.removeprefix(".") in PEERS.sources and (path / CONTRACT).is_file()


ENGINE = Engine(
    name="peer",
    title="peers",
    accepts=_accepts,
    open=lambda path, threads: PEERS.load(path.suffix.removeprefix("."))(path, threads),
    distribution="edge-asc",
    module="edge_asc_peers",
    extra="peers",
)


def channels_first(contract: StreamContract, states: Mapping[str, tuple[int, ...]]) -> StreamContract:
    """The contract of a module of PyTorch: planes of (channel, mel, time), states of these shapes."""

    def turned(spec: Any) -> Any:
        if len(spec.shape) != 4:
            return spec
        batch, channel, time, mel = spec.shape
        shape = states.get(spec.feeds or spec.name, (batch, channel, mel, time))
        return replace(spec, shape=shape, axes=("batch", "channel", "mel", "time"))

    (signature,) = contract.signatures
    inputs, outputs = (tuple(map(turned, specs)) for specs in (signature.inputs, signature.outputs))
    return replace(contract, signatures=(replace(signature, inputs=inputs, outputs=outputs),))


def zeros(signature: Signature) -> list[Array]:
    """A value of each input."""
    return [np.zeros(spec.shape, np.float32) for spec in signature.inputs]
