"""The files of golden vectors: plain numbers, little-endian, whose type the suffix names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.frontend import Array

# The type of the numbers in a file, by its suffix.
SUFFIXES: dict[str, np.dtype[Any]] = {".pcm": np.dtype("<i2"), ".f32": np.dtype("<f4"), ".f64": np.dtype("<f8")}


class GoldenFiles:
    """Arrays that are written to a folder.

    Attributes:
        folder: that holds the files.
        described: type ("int16", "float32" or "float64") and shape of each file, by its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.described: dict[str, dict[str, object]] = {}

    def save(self, name: str, values: npt.NDArray[Any]) -> str:
        """Write values to a file of this name, whose suffix is one of SUFFIXES; return the name."""
        dtype = SUFFIXES[Path(name).suffix]
        (self.folder / name).write_bytes(np.ascontiguousarray(values, dtype).tobytes())
        self.described[name] = {"dtype": dtype.name, "shape": list(values.shape)}
        return name


def load(folder: Path, name: str, columns: int = 0) -> Array:
    """Return the numbers of a file, (n,), or (rows, columns) if `columns` is not 0."""
    values: Array = np.fromfile(folder / name, SUFFIXES[Path(name).suffix])
    return values.reshape(-1, columns) if columns else values
