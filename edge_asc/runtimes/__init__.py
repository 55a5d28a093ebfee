"""Engines that run artefacts, behind one small protocol."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from edge_asc.contract import StreamContract, check_tensors
from edge_asc.runtimes.loop import Loop

Tensors = dict[str, npt.NDArray[Any]]

MANIFEST = "manifest.json"


class Runtime(Protocol):
    """An artefact in an engine. Streams through it share nothing: their states come and go, or are kept apart."""

    engine: str
    """"onnxruntime", "litert" or "torch", and its version."""
    contract: StreamContract

    def run(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        """Compute a signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, or of another shape or type, or features are not finite.
        """
        ...

    def loop(self, signature: str) -> Loop:
        """A stream through a signature, at the start.

        Raises:
            ContractError: no such signature, or one with several inputs or outputs that are no state.
        """
        return Loop(self, self.contract.signature(signature))


def check_inputs(contract: StreamContract, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse inputs that the contract does not describe.

    Engines turn some of these into finite, wrong results.

    Raises:
        ContractError: an input is missing, unknown, of another shape or type, or a float input is not finite.
    """
    check_tensors(signature, "input", contract.signature(signature).input_kinds, inputs)


def open_runtime(path: str | Path, *, threads: int = 1) -> Runtime:
    """Open a model in the engine it needs.

    Args:
        path: an `.onnx` or `.tflite` artefact, a bundle (folder with a manifest; its TFLite file if LiteRT is
            installed, else its first ONNX file), a checkpoint folder, or the name of a model of the zoo.
        threads: of the engine.

    Raises:
        ContractError: nothing there that can be run, a damaged file, or one without a contract.
        MissingExtraError: the engine is not installed.
    """
    from edge_asc.runtimes.opening import locate

    return locate(Path(path))(threads)
