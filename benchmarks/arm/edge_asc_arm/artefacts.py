"""The artefacts that run on boards: causal ones, with one front end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc_bench.inputs import models_from


def find_artefacts(models: Sequence[str]) -> list[tuple[str, Path]]:
    """Return name and path of each artefact, and of each artefact of a bundle.

    Args:
        models: paths of artefacts and bundles.

    Raises:
        EdgeAscError: a model is a checkpoint or windowed, two have one name, or their front ends differ.
    """
    artefacts = [entry for model in models for entry in models_from(model)]
    for name, path in artefacts:
        if path.is_dir():
            raise EdgeAscError(f"{name} is a checkpoint, which does not run on a board; export it: edge-asc export")
    names = [name for name, _ in artefacts]
    if len(set(names)) < len(names):
        raise EdgeAscError(f"two artefacts have one name: {', '.join(names)}; leave one out")
    contracts = [(name, open_runtime(path).contract) for name, path in artefacts]
    first, reference = contracts[0]
    for name, contract in contracts:
        if contract.form != "causal":
            raise EdgeAscError(f"{name} is a windowed model; expected causal models, which decide after every step")
        if contract.front_end.raw != reference.front_end.raw:
            raise EdgeAscError(f"{name} and {first} have different front ends; run them one at a time")
    return artefacts
