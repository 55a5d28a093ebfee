"""Runtimes: an artefact in an engine, behind one small protocol, checked against its contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from edge_asc.contract import METADATA_KEY, AnyArray, Signature, StreamContract, check_tensors
from edge_asc.contract import Tensors as Tensors  # a part of the protocol, for those that implement it
from edge_asc.errors import ContractError
from edge_asc.flatbuffer import tflite_metadata
from edge_asc.loop import Loop

Kind = tuple[tuple[int, ...], str]
"""Shape of a tensor, and numpy's name of its type."""


class Runtime(Protocol):
    """An artefact in an engine. Streams through it share nothing."""

    engine: str
    """Name and version of the engine, such as "onnxruntime 1.22.0"."""
    contract: StreamContract

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute a signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, or of another shape or type, or features are not finite.
        """
        ...

    def loop(self, signature: str) -> Loop:
        """Start a stream through a signature.

        Raises:
            ContractError: no such signature, or one with several inputs or outputs that are not states.
        """
        return Loop(self, self.contract.signature(signature))


def check_inputs(contract: StreamContract, signature: str, inputs: Mapping[str, AnyArray]) -> None:
    """Compare inputs with the contract, since engines turn some wrong inputs into finite, wrong results.

    Raises:
        ContractError: an input is missing, unknown, of another shape or type, or a float input is not finite.
    """
    check_tensors(signature, "input", contract.signature(signature).input_kinds, inputs)


def read_contract(path: Path, text: str | bytes | None) -> StreamContract:
    """Return the contract in the metadata of the artefact at `path`.

    Raises:
        ContractError: the artefact holds none, or a damaged one, or one of another version.
    """
    if not text:
        raise ContractError(
            f"{path}: no stream contract inside (metadata {METADATA_KEY}); expected an artefact of `edge-asc export`"
        )
    try:
        return StreamContract.parse(text)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error


def read_tflite_contract(path: Path, data: bytes) -> StreamContract:
    """Return the contract in the TFLite file at `path`, whose content is `data`.

    Raises:
        ContractError: as `read_contract`, or not a TFLite file.
    """
    try:
        metadata = tflite_metadata(data, METADATA_KEY)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error
    return read_contract(path, metadata)


def check_interface(path: Path, signature: Signature, inputs: Mapping[str, Kind], outputs: Mapping[str, Kind]) -> None:
    """Compare the tensors of an artefact with those of its contract.

    Raises:
        ContractError: a tensor is missing, unknown, or of another shape or type.
    """
    for side, specs, actual in (("inputs", signature.inputs, inputs), ("outputs", signature.outputs, outputs)):
        expected = {spec.name: (spec.shape, spec.dtype) for spec in specs}
        for name in sorted(expected.keys() | actual.keys()):
            if expected.get(name) != actual.get(name):
                raise ContractError(
                    f"{path}: {signature.name} {side}: {name} is {_describe(actual.get(name))} in the file and "
                    f"{_describe(expected.get(name))} in its contract: the file is damaged; export it again"
                )


def _describe(kind: Kind | None) -> str:
    return "absent" if kind is None else f"{kind[1]} {kind[0]}"
