"""Recorders are found by name, and record what an export reads."""

from typing import Any

import pytest

from artefacts import FRONT_END, checkpoint, clips, crnn, randomised
from edge_asc.errors import ExportError
from edge_asc.progress import SILENT
from edge_asc.training.recorder import RECORDERS
from edge_asc_export.plan import Plan


def test_ranges_are_recorded_without_importing_the_export() -> None:
    model = crnn(checkpoint())
    recorder = RECORDERS.load("ranges")
    assert recorder.field == "quantisation"
    source = {"data": "noise", "recorded_on": "the training clips", "classes": 10}
    recorded = recorder.record(model, FRONT_END, clips(2, 16), source, SILENT)
    plan = Plan.from_json(recorded)
    assert plan.provenance is not None
    assert plan.provenance.recorded_on == "the training clips"
    assert plan.provenance.clips == 2
    assert {"features", "embedding"} <= set(plan.qparams)


def test_a_model_without_an_export_form_is_recognised_before_it_is_trained() -> None:
    check = RECORDERS.load("ranges").check
    exported: list[dict[str, Any]] = [{}, {"form": "windowed"}, {"head": "linear", "mels": 64}]
    for options in exported:
        check(randomised(**options))
    with pytest.raises(ExportError, match="ResNorm has no export form"):
        check(randomised(backbone="bcresnet", form="windowed", res_norm=True))
