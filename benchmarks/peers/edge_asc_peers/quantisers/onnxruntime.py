"""ONNX Runtime's static quantisation: pairs of QuantizeLinear and DequantizeLinear, weights by channel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from edge_asc.errors import require
from edge_asc.runtime import Tensors
from edge_asc_peers.quantiser import Quantiser

# Steps whose tensors the calibration by the range of all values holds in memory at a time.
STEPS = 64


class Reader:
    """A data reader of ONNX Runtime: the inputs of one step after the other, then None."""

    def __init__(self, steps: Sequence[Tensors]) -> None:
        self._all = steps
        self.rewind()

    def rewind(self) -> None:
        """Go back to the first step."""
        self._steps = iter(self._all)

    def get_next(self) -> Tensors | None:
        """Return the inputs of the next step by name, None after the last one."""
        return next(self._steps, None)


def _quantise(method: str, artefact: Path, steps: Sequence[Tensors], path: Path) -> None:
    """Prepare the artefact as ONNX Runtime advises, and quantise it; activations are uint8, as it advises on x86-64."""
    quantisation = require("onnxruntime.quantization", "peers")
    quantisation.CalibrationDataReader.register(Reader)
    with TemporaryDirectory(prefix="edge-asc-onnxruntime-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        require("onnxruntime.quantization.shape_inference", "peers").quant_pre_process(artefact, prepared)
        _rename_constants(prepared)
        quantisation.quantize_static(
            prepared,
            path,
            Reader(steps),
            quant_format=quantisation.QuantFormat.QDQ,
            per_channel=True,
            activation_type=quantisation.QuantType.QUInt8,
            weight_type=quantisation.QuantType.QInt8,
            calibrate_method=quantisation.CalibrationMethod[method],
            extra_options={"CalibMaxIntermediateOutputs": STEPS} if method == "MinMax" else {},
        )


def _rename_constants(artefact: Path) -> None:
    """Give constants other names: ONNX Runtime calls the scale of a tensor `x` "x_scale", as this artefact may, too."""
    onnx = require("onnx", "peers")
    model = onnx.load(artefact)
    names = {each.name: f"constant_{each.name}" for each in model.graph.initializer}
    for each in model.graph.initializer:
        each.name = names[each.name]
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    onnx.save(model, artefact)


QUANTISER = Quantiser(
    distribution="onnxruntime",
    format="onnx",
    methods={name.lower(): partial(_quantise, name) for name in ("MinMax", "Entropy", "Percentile")},
)
