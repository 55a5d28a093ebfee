"""The checkpoints that come with the package, as they are shipped."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_asc.data import Dataset, FeatureCache
from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import FrontEnd
from edge_asc.manifest import Manifest
from edge_asc.models.complexity import deployed_parameters
from edge_asc.provenance import Measured
from edge_asc.training.checkpoint import Checkpoint, read_metadata
from edge_asc.zoo import BUNDLES, DEFAULT, list_bundles, list_names, locate_model, zoo, zoo_path
from edge_asc_export.artefact import Draft, Origin, write
from edge_asc_export.bundle import ExportRequest
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

PARAMETERS = {"fuse": 143_539, "fuse-50": 147_790, "bcresnet": 150_111, "resnet": 133_859}
# Packed size of everything that the wheel holds of the zoo, bytes; the code beside it packs to less than 0.5 MB.
MOST_BYTES = 7_500_000
STALE = "the artefact is out of date; run: make zoo"
# As in the Makefile.
ORIGIN = Origin("The edge-asc maintainers", "Apache-2.0")
CLASSES = {"fuse": 11, "fuse-50": 50, "bcresnet": 11, "resnet": 11}


@pytest.fixture(scope="module", params=zoo())
def shipped(request: pytest.FixtureRequest) -> tuple[str, Checkpoint]:
    path = zoo_path(request.param)
    assert path is not None
    return request.param, Checkpoint.load(path)


def test_the_default_is_there() -> None:
    assert DEFAULT in zoo()
    assert zoo_path("no-such-model") is None


def test_names_mean_checkpoints_and_bundles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = zoo_path(DEFAULT)
    assert root is not None
    assert [folder.name for folder in list_bundles(root)] == list(BUNDLES)
    assert set(list_names()) == {*zoo(), "fuse-float", *(f"{name}-int8" for name in zoo())}
    assert locate_model("fuse") == root
    assert locate_model("fuse-int8") == root / "int8"
    assert locate_model("fuse-50-int8") == root.parent / "fuse-50/int8"
    assert locate_model("fuse-int4") is None
    assert locate_model("int8") is None
    (tmp_path / "fuse").mkdir()
    assert locate_model("fuse") == Path("fuse")


def test_the_wheel_stays_small() -> None:
    root = zoo_path(DEFAULT)
    assert root is not None
    files = [path for path in root.parent.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < MOST_BYTES


@pytest.mark.parametrize(
    ("name", "scheme"), [(name, "int8") for name in zoo()] + [(DEFAULT, "float")], ids=lambda part: part
)
def test_artefacts_are_those_of_their_checkpoints(name: str, scheme: str) -> None:
    """They hold the same bytes, but for the versions of tools and the parity that were recorded at export."""
    folder = zoo_path(name)
    assert folder is not None
    manifest = Manifest.read(folder / scheme)
    draft = ExportRequest(folder, SCHEMES["none" if scheme == "float" else scheme], (), origin=ORIGIN).draft()
    weights = read_metadata(folder)["weights_sha256"]
    files = {artefact.name: artefact for fmt in ("onnx", "tflite") for artefact in write(draft, fmt)}
    assert files.keys() == manifest.files.keys()
    for file, artefact in files.items():
        shipped = open_runtime(folder / scheme / file).contract
        assert shipped.provenance.checkpoint_sha256 == weights, STALE
        stripped = [
            replace(contract, provenance=replace(contract.provenance, edge_asc="", tools={}), measured=Measured())
            for contract in (shipped, artefact.contract)
        ]
        assert stripped[0] == stripped[1], STALE
        assert shipped.measured.parity is not None
        assert replace(artefact, contract=shipped).data == (folder / scheme / file).read_bytes(), STALE
    assert Plan.from_json(manifest.plan) == draft.plan, STALE


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
