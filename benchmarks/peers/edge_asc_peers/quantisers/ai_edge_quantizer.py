"""Google's AI Edge Quantizer: its static recipe of 8-bit weights and activations, on the TFLite artefact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc_peers.quantiser import Quantiser

# Name of a method: the tool's function that joins the ranges of two steps.
METHODS = {"moving average": "moving_average_update", "minmax": "min_max_update"}


def _quantise(update: str, artefact: Path, steps: Sequence[Tensors], path: Path) -> None:
    """Quantise all that the recipe supports but the inputs and outputs, which stay float.

    The tool has no parameters that a state's input and output share. In integers, a state could not be fed back.
    """
    names = require("ai_edge_quantizer.qtyping", "peers").TFLOperationName
    recipe = require("ai_edge_quantizer.recipe", "peers")
    manager = require("ai_edge_quantizer.recipe_manager", "peers").RecipeManager()
    manager.load_quantization_recipe(recipe.static_wi8_ai8())
    for name in (names.INPUT, names.OUTPUT):
        manager.add_quantization_config(".*", name, algorithm_key=recipe.AlgorithmName.NO_QUANTIZE)
    calibrator = require("ai_edge_quantizer.calibrator", "peers").Calibrator(
        str(artefact),
        num_threads=1,
        qsv_update_func=getattr(require("ai_edge_quantizer.utils.qsv_utils", "peers"), update),
    )
    calibrator.calibrate({"step": steps}, manager)
    quantiser = require("ai_edge_quantizer.quantizer", "peers").Quantizer(str(artefact))
    quantiser.load_quantization_recipe(manager.get_quantization_recipe())
    path.write_bytes(quantiser.quantize(calibrator.get_model_qsvs()).quantized_model)


QUANTISER = Quantiser(
    distribution="ai-edge-quantizer",
    format="tflite",
    methods={name: partial(_quantise, update) for name, update in METHODS.items()},
)
