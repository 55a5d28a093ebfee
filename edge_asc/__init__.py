"""Streaming acoustic scene classifiers for phones and single-board computers."""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edge_asc.contract import StreamContract
    from edge_asc.frontend import LogMel
    from edge_asc.streaming import StreamingClassifier, WindowedClassifier

__all__ = ["LogMel", "StreamContract", "StreamingClassifier", "WindowedClassifier", "__version__"]

_MODULES = {
    "LogMel": "edge_asc.frontend",
    "StreamContract": "edge_asc.contract",
    "StreamingClassifier": "edge_asc.streaming",
    "WindowedClassifier": "edge_asc.streaming",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'edge_asc' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_MODULES[name]), name)
