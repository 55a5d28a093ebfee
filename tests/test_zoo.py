"""The checkpoints that come with the package, as they are shipped."""

from pathlib import Path

import numpy as np
import pytest

from edge_asc.data import Dataset, FeatureCache
from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import FrontEnd
from edge_asc.models.complexity import deployed_parameters
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import DEFAULT, zoo, zoo_path
from edge_asc_export.artefact import Draft, write
from edge_asc_export.plan import Plan

PARAMETERS = {"fuse": 146_710, "fuse-50": 147_790, "bcresnet": 153_605, "resnet": 136_194}
CLASSES = {"fuse": 10, "fuse-50": 50, "bcresnet": 10, "resnet": 10}


@pytest.fixture(scope="module", params=zoo())
def shipped(request: pytest.FixtureRequest) -> tuple[str, Checkpoint]:
    path = zoo_path(request.param)
    assert path is not None
    return request.param, Checkpoint.load(path)


def test_the_default_is_there() -> None:
    assert DEFAULT in zoo()
    assert zoo_path("no-such-model") is None


def test_a_checkpoint_is_whole_and_explains_itself(shipped: tuple[str, Checkpoint]) -> None:
    name, checkpoint = shipped
    assert checkpoint.name == name
    assert name in (checkpoint.model.config.backbone, f"{checkpoint.model.config.backbone}-50")
    assert deployed_parameters(checkpoint.model) == PARAMETERS[name]
    assert len(checkpoint.labels) == CLASSES[name]
    assert set(checkpoint.training["licences"]) == {"CC0", "CC-BY"}
    levels = checkpoint.evaluation["levels_db"]
    assert {"0", "-10", "-20", "-30"} <= set(levels)
    path = zoo_path(name)
    assert path is not None
    card = (path / "README.md").read_text()
    for row in levels["0"]["lengths"]:
        assert f"{100 * row['accuracy']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]" in card
    credited = (path / "CREDITS.md").read_text()
    assert "[CREDITS.md](CREDITS.md)" in card
    for part in ("## Limits", "## Training"):
        assert part in card
    assert len(card.splitlines()) <= 50, "a card fits one screen"
    assert "## CC-BY (" in credited
    assert "## CC0 (" in credited
    assert "CC-BY-NC" not in credited


@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
def test_int8_needs_no_data_and_keeps_the_decisions_on_real_recordings(
    shipped: tuple[str, Checkpoint], fmt: str, scenes10: Path, tmp_path: Path
) -> None:
    name, checkpoint = shipped
    (artefact,) = write(Draft(checkpoint, "", Plan.from_json(checkpoint.quantisation)), fmt)
    (tmp_path / artefact.name).write_bytes(artefact.data)
    dataset = Dataset.open(scenes10)
    features = FeatureCache(tmp_path / "cache", FrontEnd()).features(dataset, dataset.clips[::11])
    reference = zoo_path(name)
    assert reference is not None
    expected, found = (
        np.concatenate(stream_logits(open_runtime(path), features)) for path in (reference, tmp_path / artefact.name)
    )
    assert len(expected) == 29 * 19
    assert (expected.argmax(1) == found.argmax(1)).mean() >= 0.95
