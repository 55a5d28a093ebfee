"""Nodes and constants of an ONNX file, made fewer and smaller."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_asc_export.graph import Array

if TYPE_CHECKING:
    from onnx import NodeProto


def count_repetition(value: Array) -> int:
    """Return the largest n for which the last axis consists of blocks of n equal values."""
    size = value.shape[-1]
    if size < 2:
        return 1
    changes = np.flatnonzero((value[..., 1:] != value[..., :-1]).reshape(-1, size - 1).any(axis=0)) + 1
    return int(np.gcd.reduce([size, *changes]))


def remove_identities(nodes: list[NodeProto], outputs: set[str]) -> list[NodeProto]:
    """Give a graph output's name to the node that computes it, where that node has one output read through Identity."""
    producers = {node.output[0]: node for node in nodes if len(node.output) == 1}
    renamed: dict[str, str] = {}
    kept = []
    for node in nodes:
        source = node.input[0] if node.op_type == "Identity" else ""
        if source in producers and source not in outputs and source not in renamed:
            renamed[source] = node.output[0]
        else:
            kept.append(node)
    for node in kept:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                names[i] = renamed.get(name, name)
    return kept
