"""Streaming acoustic scene classifiers for phones and single-board computers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_asc.public import defer_imports

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edge_asc.contract import StreamContract
    from edge_asc.engine import open_runtime
    from edge_asc.evaluation.folder import evaluate_folder
    from edge_asc.frontend import LogMel
    from edge_asc.streaming import Decision, StreamingClassifier, WindowedClassifier
    from edge_asc.training.folder import train_on_folder

__all__ = [
    "Decision",
    "LogMel",
    "StreamContract",
    "StreamingClassifier",
    "WindowedClassifier",
    "__version__",
    "evaluate_folder",
    "open_runtime",
    "train_on_folder",
]

# The module of each public name, imported when the name is used, and the extra that installs what it needs.
_PUBLIC = {
    "Decision": ("edge_asc.streaming", ""),
    "LogMel": ("edge_asc.frontend", ""),
    "StreamContract": ("edge_asc.contract", ""),
    "StreamingClassifier": ("edge_asc.streaming", ""),
    "WindowedClassifier": ("edge_asc.streaming", ""),
    "evaluate_folder": ("edge_asc.evaluation.folder", ""),
    "open_runtime": ("edge_asc.engine", ""),
    "train_on_folder": ("edge_asc.training.folder", "train"),
}

__getattr__, __dir__ = defer_imports(globals(), _PUBLIC)
