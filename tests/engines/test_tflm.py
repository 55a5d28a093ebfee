"""TensorFlow Lite Micro: the artefacts of microcontrollers, run and measured here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from artefacts import sound
from edge_asc.engine import find_engine, open_runtime
from edge_asc.engines.tflm import measure_arena
from edge_asc.errors import ContractError
from edge_asc.frontend import Array
from edge_asc.streaming import StreamingClassifier
from edge_asc.zoo import zoo_path
from kernel_differences import compare

if TYPE_CHECKING:
    from artefacts import Artefacts

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed; install edge-asc[tflm]")


def logits(model: str) -> Array:
    return np.stack([d.logits for d in StreamingClassifier.from_artefact(model).push(sound(2.0))])


@pytest.mark.parametrize(("name", "tolerance"), [("step", 1e-4), ("step-samples", 1e-4), ("step-int16", 0.05)])
def test_a_step_decides_as_in_litert(artefacts: Artefacts, name: str, tolerance: float) -> None:
    path = artefacts.folder / f"{name}.tflite"
    assert open_runtime(f"tflm:{path}").engine.startswith("tflite-micro")
    np.testing.assert_allclose(logits(f"tflm:{path}"), logits(str(path)), atol=tolerance)


def test_the_engine_runs_what_is_named_for_it_alone(artefacts: Artefacts) -> None:
    path = artefacts.folder / "step.tflite"
    assert find_engine(path)[1].name == "litert"
    assert find_engine(Path(f"tflm:{path}")) == (path, find_engine(Path(f"tflm:{path}"))[1])
    with pytest.raises(ContractError, match=r"step\.onnx: no model there that TensorFlow Lite Micro runs"):
        open_runtime(f"tflm:{artefacts.folder / 'step.onnx'}")
    with pytest.raises(ContractError, match="window_1s, window_2s, gru; TensorFlow Lite Micro runs"):
        open_runtime(f"tflm:{artefacts.folder / 'windows.tflite'}")


def test_convolutions_alone_round_in_another_way_than_in_litert() -> None:
    """Each error is 1, in less than 1 % of the values, as docs/microcontrollers.md states."""
    folder = zoo_path("fuse")
    assert folder is not None
    found = compare(folder / "int8/fuse-int8.tflite", sound(2.0))
    different = {name for name, difference in found.items() if difference.values}
    assert different <= {"CONV_2D", "DEPTHWISE_CONV_2D"}
    assert {"QUANTIZE", "ADD", "CONCATENATION", *different} <= set(found)
    for name in different:
        assert found[name].largest == 1
        assert found[name].values < 0.01 * found[name].total


def test_the_arena_is_larger_with_the_front_end_inside(artefacts: Artefacts, tmp_path: Path) -> None:
    beside, inside = (measure_arena(artefacts.folder / name) for name in ("step.tflite", "step-samples.tflite"))
    assert beside is not None
    assert inside is not None
    assert 10_000 < beside < inside < 1_000_000
    (tmp_path / "bad.tflite").write_bytes(bytes(100))
    assert measure_arena(tmp_path / "bad.tflite") is None
