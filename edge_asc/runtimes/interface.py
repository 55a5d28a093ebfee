"""What an artefact says of itself, checked against what its engine found in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge_asc.contract import METADATA_KEY, Signature, StreamContract
from edge_asc.errors import ContractError

Tensor = tuple[tuple[int, ...], str]
"""Shape and numpy's type name."""


def read_contract(path: Path, text: str | bytes | None) -> StreamContract:
    """The contract in the metadata of the artefact at `path`.

    Raises:
        ContractError: none there, or a damaged one, or one of another version.
    """
    if not text:
        raise ContractError(
            f"{path}: no stream contract inside (metadata {METADATA_KEY}); expected an artefact of `edge-asc export`"
        )
    try:
        return StreamContract.parse(text)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error


def check_interface(
    path: Path, signature: Signature, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]
) -> None:
    """Refuse an artefact whose tensors are not the ones that its contract describes.

    Raises:
        ContractError: a tensor is missing, unknown, or of another shape or type.
    """
    for side, specs, found in (("inputs", signature.inputs, inputs), ("outputs", signature.outputs, outputs)):
        expected = {spec.name: (spec.shape, spec.dtype) for spec in specs}
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                raise ContractError(
                    f"{path}: {signature.name} {side}: {name} is {_shown(found.get(name))} in the file and "
                    f"{_shown(expected.get(name))} in its contract: the file is damaged; export it again"
                )


def _shown(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tensor[1]} {tensor[0]}"
