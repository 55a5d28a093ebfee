"""A peer: another runtime that runs a model of edge-asc, which the peer's own tools convert to a folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy.typing as npt

from edge_asc.contract import Signature, StreamContract
from edge_asc.engine import Engine
from edge_asc.errors import ContractError
from edge_asc.loop import Loop
from edge_asc.registry import Registry
from edge_asc.runtime import Runtime, Tensors, check_inputs
from edge_asc_peers.package import installed_version

CONTRACT = "contract.json"
# The peers of the reference and of the artefacts: a measurement has them in any case.
ALWAYS_MEASURED = ("eager", "onnxruntime")


@dataclass(frozen=True)
class Source:
    """One signature of a model, a step or a window, for a peer to convert.

    Attributes:
        checkpoint: folder of the model.
        artefact: its float ONNX artefact; every converted model is compared with this one.
        onnx: the file for peers that read ONNX: `artefact`, or the model as `torch.onnx` exports it.
        contract: of `onnx`; it has one signature.
        recording: the inputs of each step on some audio, by name; for calibration.
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
    """A converted model in its runtime: a folder whose suffix is the peer's name.

    A subclass converts a model, opens it and runs it. A module of a peer loads without the peer's packages; only
    `convert` and `open` import them.
    """

    name: ClassVar[str]
    """The name that the peer is registered under."""
    distribution: ClassVar[str]
    """Name on the package index of the package that the peer needs; results state its version."""
    schemes: ClassVar[tuple[str, ...]] = ("float",)
    """The peer's precisions: "float", and "int8" where it has a quantiser of its own."""
    reads_onnx: ClassVar[bool] = False
    """Whether the peer converts an ONNX file; else it converts a PyTorch module."""

    def __init__(self, path: Path, threads: int = 1) -> None:
        """Open the folder of a converted model. The runtime loads the model when a stream begins.

        Raises:
            ContractError: the folder holds no contract, or a damaged one.
            MissingExtraError: the peer is not installed.
        """
        self.path, self.threads = path, threads
        self.engine = f"{self.name} {self.installed_version()}"
        try:
            text = (path / CONTRACT).read_text()
        except OSError as error:
            raise ContractError(
                f"{path}: {CONTRACT} cannot be read ({error.strerror}); expected the folder of a converted model: "
                "convert it again"
            ) from error
        self.contract = StreamContract.parse(text)
        self.signature = self.contract.signatures[0]
        self._is_open = False

    @classmethod
    def installed_version(cls) -> str:
        """Return the version of the peer's package.

        Raises:
            MissingExtraError: the package is not installed.
        """
        return installed_version(cls.distribution, cls.name)

    @classmethod
    @abstractmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Write the converted model to an empty folder, and return the contract that it follows."""

    @abstractmethod
    def open(self) -> None:
        """Load the converted model in `self.path` for `self.threads` threads."""

    @abstractmethod
    def put(self, inputs: Tensors) -> None:
        """Copy all inputs to the runtime."""

    @abstractmethod
    def compute(self) -> None:
        """Make the runtime's own call. This alone is timed."""

    @abstractmethod
    def take(self) -> Tensors:
        """Return copies of all outputs."""

    def run(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Compute the signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        check_inputs(self.contract, signature, inputs)
        self._open_once()
        self.put(dict(inputs))
        self.compute()
        return self.take()

    def loop(self, signature: str) -> Loop:
        """Start a stream through the signature; its `call` is `compute`."""
        self._open_once()
        return _PeerLoop(self, self.contract.signature(signature))

    def _open_once(self) -> None:
        if not self._is_open:
            self.open()
            self._is_open = True


class _PeerLoop(Loop):
    """A stream whose states leave the runtime and return with every run; `call` is the runtime's own call alone."""

    _runtime: Peer

    def _prepare(self) -> None:
        self.call = self._runtime.compute

    def _step(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        self._runtime.put({self.source.name: value, **self._state})
        self.call()
        outputs = self._runtime.take()
        self._state = {target: outputs[name] for name, target in self._feeds.items()}
        return outputs[self.result.name]


# A peer's name is also the suffix of the folders that it converts models to.
PEERS: Registry[type[Peer]] = Registry("edge_asc.peers", type, "PEER", "peer")


def _name_of(path: Path) -> str:
    """Return the name of the peer that a folder's suffix states."""
    return path.suffix.removeprefix(".")


def _accepts(path: Path) -> bool:
    return _name_of(path) in PEERS.sources and (path / CONTRACT).is_file()


def _open(path: Path, threads: int) -> Peer:
    return PEERS.load(_name_of(path))(path, threads)


ENGINE = Engine(
    name="peer",
    title="peers",
    accepts=_accepts,
    open=_open,
    distribution="edge-asc",
    module="edge_asc_peers",
    extra="peers",
)
