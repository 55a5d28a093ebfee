"""Intel's NNCF on the ONNX artefact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc_peers.quantiser import Quantiser

# Name of a method: preset of the tool, and whether ranges span all values instead of the mean of each step's.
METHODS = {"performance": ("PERFORMANCE", False), "mixed": ("MIXED", False), "mixed minmax": ("MIXED", True)}


def _quantise(preset: str, spans_all: bool, artefact: Path, steps: Sequence[Tensors], path: Path) -> None:
    """Quantise with bias correction, calibrated on all steps."""
    nncf, onnx = require("nncf", "peers"), require("onnx", "peers")
    ranges = require("nncf.quantization.range_estimator", "peers").RangeEstimatorParametersSet.MINMAX
    advanced = nncf.AdvancedQuantizationParameters(activations_range_estimator_params=ranges) if spans_all else None
    model = nncf.quantize(
        onnx.load(artefact),
        nncf.Dataset(steps),
        preset=nncf.QuantizationPreset[preset],
        subset_size=len(steps),
        advanced_parameters=advanced,
    )
    onnx.save(model, path)


QUANTISER = Quantiser(
    distribution="nncf",
    format="onnx",
    methods={name: partial(_quantise, *settings) for name, settings in METHODS.items()},
)
