from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from artefacts import FRONT_END, checkpoint, clips, planned
from edge_asc.errors import ContractError, ExportError
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export import bundle
from edge_asc_export.bundle import ExportRequest, find_plan
from edge_asc_export.divergence import diverge
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkpoint, Path]:
    folder = tmp_path_factory.mktemp("divergence")
    found = planned()
    found.save(folder / "model")
    bundle.export(ExportRequest(folder / "model", SCHEMES["int8"], ("tflite",), accepted_agreement=0.0), folder / "out")
    return found, folder / "out/random-causal-int8.tflite"


def test_layers_and_decisions_are_compared(exported: tuple[Checkpoint, Path]) -> None:
    found, artefact = exported
    audio = clips(3, 40, seed=9)
    plan = find_plan(artefact, found)
    assert plan.qparams == Plan.from_json(found.quantisation).qparams
    result = diverge(found, plan, artefact, audio)
    assert result.steps == 15
    assert result.agreement == 1 - len(result.flips) / 15
    assert result.simulated_agreement >= 0.9
    layers = {layer.tensor: layer for layer in result.layers}
    assert layers["features"].local_sqnr == pytest.approx(layers["features"].cumulative_sqnr)
    assert layers["stem_0"].local_sqnr > layers["stem_0"].cumulative_sqnr > 15
    assert layers["stem_0"].operation == "Conv2D 2x5x4x32"  # as the artefact has it: blocks of four bins
    assert layers["stem_0"].scale == plan.qparams["stem_0"].scale
    assert "body_1_time_extended" not in layers
    assert all(flip.margin >= 0 and flip.expected != flip.actual for flip in result.flips)


def test_a_ruined_layer_is_found(exported: tuple[Checkpoint, Path]) -> None:
    """One layer's range is a hundredth of what it was: the layer clips, and the noise starts there."""
    found, artefact = exported
    plan = find_plan(artefact, found)
    narrow = tuple(
        replace(r, low=r.low / 100, high=r.high / 100) if "body_4_project" in r.tensors else r for r in plan.ranges
    )
    result = diverge(found, replace(plan, ranges=narrow), artefact, clips(1, 40))
    layers = [layer.tensor for layer in result.layers]
    worst = next(layer for layer in result.layers if layer.tensor == "body_4_project")
    assert worst.local_sqnr < 3
    assert worst.clipped > 0.5
    assert all(layer.local_sqnr > 15 for layer in result.layers[: layers.index("body_4_project")])


def test_a_float_layer_adds_no_noise_of_its_own(exported: tuple[Checkpoint, Path]) -> None:
    found, artefact = exported
    plan = find_plan(artefact, found).with_scheme(SCHEMES["int8-float-gru"])
    result = diverge(found, plan, artefact, clips(1, 40))
    logits = next(layer for layer in result.layers if layer.tensor == "logits")
    assert logits.scale is None
    assert logits.to_json()["local_sqnr"] is None
    assert np.isfinite(logits.cumulative_sqnr)


def test_what_cannot_be_compared_is_refused(exported: tuple[Checkpoint, Path], tmp_path: Path) -> None:
    found, artefact = exported
    plan = find_plan(artefact, found)
    with pytest.raises(ExportError, match="no integer activations"):
        diverge(found, plan.with_scheme(SCHEMES["fp16"]), artefact, clips(1))
    with pytest.raises(ExportError, match="belongs to other weights"):
        diverge(checkpoint(seed=1), plan, artefact, clips(1))
    with pytest.raises(ExportError, match="only a causal model"):
        diverge(checkpoint("windowed"), plan, artefact, clips(1))
    with pytest.raises(ExportError, match="no clip lasts a step"):
        diverge(found, plan, artefact, [np.zeros((4, FRONT_END.mels), np.float32)])
    copy = tmp_path / artefact.name
    copy.write_bytes(artefact.read_bytes())
    assert find_plan(copy, found).qparams == plan.qparams
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ContractError, match=r"manifest.json: not JSON"):
        find_plan(copy, found)
