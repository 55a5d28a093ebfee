"""Export of trained classifiers to streaming ONNX and TFLite artefacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_asc.public import defer_imports

if TYPE_CHECKING:
    from edge_asc_export.bundle import export_checkpoint

__all__ = ["export_checkpoint"]

# The module of each public name, imported when the name is used, and the extra that installs what it needs.
_PUBLIC = {"export_checkpoint": ("edge_asc_export.bundle", "export")}

__getattr__, __dir__ = defer_imports(globals(), _PUBLIC)
