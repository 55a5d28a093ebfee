"""Export of trained classifiers to streaming ONNX and TFLite artefacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_asc_export.bundle import export_checkpoint

__all__ = ["export_checkpoint"]

# The module of each public name, imported when the name is used, and the extra that installs what it needs.
_PUBLIC = {"export_checkpoint": ("edge_asc_export.bundle", "export")}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from edge_asc.errors import require

    return getattr(require(*_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
