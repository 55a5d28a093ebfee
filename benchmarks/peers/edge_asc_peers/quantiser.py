"""A quantiser: another project's post-training quantisation of a float artefact to int8."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_asc.registry import Registry
from edge_asc.runtime import Tensors
from edge_asc_peers.package import installed_version

# Of a float artefact, the inputs of calibration steps by name, and the path of the quantised file, which it writes.
Quantise = Callable[[Path, Sequence[Tensors], Path], None]


@dataclass(frozen=True)
class Quantiser:
    """A tool that reads a float artefact and writes a file of the same format, with the same inputs and outputs.

    A module of a quantiser loads without its packages; only the functions in `methods` import them.

    Attributes:
        distribution: name on the package index of the package that it needs; results state its version.
        format: name of the format that it reads and writes.
        methods: by name: a function that quantises a float artefact, calibrated on the inputs of some steps.
    """

    distribution: str
    format: Literal["onnx", "tflite"]
    methods: Mapping[str, Quantise]

    def installed_version(self) -> str:
        """Return the version of the quantiser's package.

        Raises:
            MissingExtraError: the package is not installed.
        """
        return installed_version(self.distribution)


QUANTISERS: Registry[Quantiser] = Registry("edge_asc.quantisers", Quantiser, "QUANTISER", "quantiser")
