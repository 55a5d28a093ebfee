"""A model of unusual sizes: fewer mel bins and channels, another GRU, in both formats, in float and in int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artefacts import LABELS, randomised
from edge_asc.engine import open_runtime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import Array, FrontEnd
from edge_asc.models import ModelConfig
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.artefact import Draft, write
from edge_asc_export.calibration import calibrate
from edge_asc_export.format import FORMATS
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

SMALL: dict[str, Any] = {"mels": 64, "width": 0.5, "gru_units": 16, "gru_layers": 1}
FRONT_END = FrontEnd(mels=64).with_normalisation(np.linspace(-5, -9, 64), np.full(64, 0.4))


@pytest.fixture(scope="module", params=["fuse", "bcresnet", "resnet"])
def small(request: pytest.FixtureRequest) -> Checkpoint:
    model = randomised(backbone=request.param, **SMALL)
    rng = np.random.default_rng(0)
    clips = [rng.normal(-7, 2.5, (24, 64)).astype(np.float32) for _ in range(3)]
    plan = calibrate(model, FRONT_END, clips, method="minmax")
    return Checkpoint("small", model, FRONT_END, LABELS, quantisation=plan.to_json())


def logits(runtime: Runtime) -> Array:
    """The logits of a stream of noise, (6, classes)."""
    rng = np.random.default_rng(1)
    return stream_logits(runtime, [rng.normal(-7, 2.5, (48, 64)).astype(np.float32)])[0]


def test_a_stream_equals_the_whole_clip(small: Checkpoint) -> None:
    model = randomised(backbone=small.model.config.backbone, **SMALL)
    x, parts, state = torch.randn(1, 1, 64, 48, generator=torch.Generator().manual_seed(1)), [], model.initial_state()
    with torch.inference_mode():
        whole = model(x).logits
        for features in torch.split(x, 16, dim=3):
            logits, state = model.step(features, state)
            parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scheme", ["none", "int8"])
@pytest.mark.parametrize("fmt", FORMATS.names())
def test_it_is_exported(small: Checkpoint, fmt: str, scheme: str, tmp_path: Path) -> None:
    plan = Plan.from_json(small.quantisation).with_scheme(SCHEMES[scheme])
    (artefact,) = write(Draft(small, "", plan), fmt)
    (tmp_path / artefact.name).write_bytes(artefact.data)
    runtime = open_runtime(tmp_path / artefact.name)
    assert runtime.contract.front_end.mels == 64
    step = runtime.contract.signature("step")
    assert dict(zip(step.input("features").axes, step.input("features").shape, strict=True))["mel"] == 64
    hidden = [spec for spec in step.states() if spec.name.startswith("hidden")]
    assert [spec.shape[-1] for spec in hidden] == [16]
    expected, actual = logits(TorchRuntime(small)), logits(runtime)
    if scheme == "none":
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)
    else:
        noise = np.square(actual - expected).sum()
        assert 10.0 * np.log10(np.square(expected).sum() / noise) > 15.0


def test_a_checkpoint_keeps_the_sizes(small: Checkpoint, tmp_path: Path) -> None:
    small.save(tmp_path)
    config = Checkpoint.load(tmp_path).model.config
    assert config == ModelConfig(backbone=small.model.config.backbone, **SMALL)
