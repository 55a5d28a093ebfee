from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edge_asc.errors import EdgeAscError
from edge_asc.files import sha256
from edge_asc.frontend import FrontEnd
from edge_asc.models import ModelConfig, build
from edge_asc.training.checkpoint import METADATA, WEIGHTS, Checkpoint, is_checkpoint, read_metadata
from edge_asc.training.checkpoint_contract import checkpoint_contract
from edge_asc.unknown import UnknownRule

torch.set_num_threads(1)  # the models are too small to share, and the machine may be busy

LABELS = ("bus", "metro", "park")


def checkpoint(**config: Any) -> Checkpoint:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    return Checkpoint(
        name="small",
        model=build(ModelConfig(classes=3, **config)).eval(),
        front_end=FrontEnd().with_normalisation(rng.normal(-8, 1, 256), rng.uniform(0.2, 0.6, 256)),
        labels=LABELS,
        decision="last",
        recipe={"epochs": 3},
        training={"clips": 6, "data": "set"},
        evaluation={"accuracy": 0.5},
        quantisation={"ranges": {"features": [-4.0, 4.0]}},
        temperature=1.25,
        unknown=UnknownRule("park", 0.375, 0.05, "6 clips"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint().save(tmp_path / "saved")
    return tmp_path / "saved"


def edit(folder: Path, **changes: Any) -> None:
    value = json.loads((folder / METADATA).read_text())
    (folder / METADATA).write_text(json.dumps({**value, **changes}))


@pytest.mark.parametrize(
    "config", [{}, {"head": "linear"}, {"head": "gap", "form": "windowed", "backbone": "bcresnet"}]
)
def test_load_gives_back_what_was_saved(tmp_path: Path, config: dict[str, Any]) -> None:
    saved = checkpoint(**config)
    saved.save(tmp_path)
    loaded = Checkpoint.load(str(tmp_path))
    for name in (
        "name",
        "front_end",
        "labels",
        "decision",
        "recipe",
        "training",
        "evaluation",
        "quantisation",
        "temperature",
        "unknown",
    ):
        assert getattr(loaded, name) == getattr(saved, name)
    assert loaded.model.config == saved.model.config
    assert not loaded.model.training
    theirs = saved.model.state_dict()
    assert list(loaded.model.state_dict()) == list(theirs)
    assert all(torch.equal(value, theirs[name]) for name, value in loaded.model.state_dict().items())
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([WEIGHTS, METADATA])


def test_saving_twice_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    checkpoint().save(tmp_path / "again")
    for name in (WEIGHTS, METADATA):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_training_memory_layout_does_not_matter(tmp_path: Path, folder: Path) -> None:
    saved = checkpoint()
    saved.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    saved.save(tmp_path)
    assert sha256(tmp_path / WEIGHTS) == sha256(folder / WEIGHTS)


def test_metadata_needs_no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    assert is_checkpoint(folder)
    assert read_metadata(folder)["labels"] == list(LABELS)


def test_missing_files(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match=r"no checkpoint there; expected a folder with checkpoint\.json"):
        Checkpoint.load(tmp_path)
    assert not is_checkpoint(tmp_path)
    (folder / WEIGHTS).unlink()
    with pytest.raises(EdgeAscError, match=f"{WEIGHTS} is missing"):
        Checkpoint.load(folder)


def test_one_flipped_bit_is_noticed(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(EdgeAscError, match=r"SHA-256 is .* says .*: the file is damaged"):
        Checkpoint.load(folder)


@pytest.mark.parametrize(("version", "advice"), [(2, "upgrade edge-asc"), (0, "train the checkpoint again")])
def test_other_schema_version(folder: Path, version: int, advice: str) -> None:
    edit(folder, schema_version=version)
    with pytest.raises(EdgeAscError, match=f"schema version {version}; this edge-asc reads version 1: {advice}"):
        Checkpoint.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", "[" * 100_000, '{"schema_version": NaN}', "\xff"])
def test_damaged_metadata(folder: Path, text: str) -> None:
    (folder / METADATA).write_text(text)
    with pytest.raises(EdgeAscError, match="not a checkpoint's JSON"):
        Checkpoint.load(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("name", 3), ("name", "\ud800"), ("weights_sha256", None), ("model", []), ("front_end", "x")),
        *(("labels", "abc"), ("labels", [1, 2, 3]), ("decision", "first"), ("temperature", "1"), ("training", None)),
        *(("recipe", []), ("evaluation", 1), ("quantisation", [0])),
    ],
)
def test_a_field_of_another_type_is_named(folder: Path, name: str, value: object) -> None:
    edit(folder, **{name: value})
    with pytest.raises(EdgeAscError, match=rf"checkpoint\.json: malformed \(.*{name}: got"):
        Checkpoint.load(folder)


@pytest.mark.parametrize("start", [b"", b"\xff" * 8, b"\0" * 8, b"\x10" + bytes(7) + b'{"a": {"dtype": 1'])
def test_weights_that_are_none_are_one_error_although_their_digest_is_right(folder: Path, start: bytes) -> None:
    (folder / WEIGHTS).write_bytes(start)
    edit(folder, weights_sha256=sha256(folder / WEIGHTS))
    with pytest.raises(EdgeAscError, match="not a file of weights"):
        Checkpoint.load(folder)


def test_weights_of_another_model(folder: Path, tmp_path: Path) -> None:
    checkpoint(backbone="resnet").save(tmp_path / "other")
    (tmp_path / "other" / WEIGHTS).replace(folder / WEIGHTS)
    edit(folder, weights_sha256=sha256(folder / WEIGHTS))
    with pytest.raises(EdgeAscError, match=r"the weights do not fit the model of checkpoint\.json"):
        Checkpoint.load(folder)


def test_wrong_shapes(folder: Path) -> None:
    config = read_metadata(folder)["model"]
    edit(folder, model={**config, "classes": 4})
    with pytest.raises(EdgeAscError, match="size mismatch for output"):
        Checkpoint.load(folder)


def test_an_older_checkpoint_has_the_temperature_1_and_no_rule_for_unknown_sounds(folder: Path) -> None:
    value = json.loads((folder / METADATA).read_text())
    del value["temperature"]
    del value["unknown"]
    (folder / METADATA).write_text(json.dumps(value))
    assert Checkpoint.load(folder).temperature == 1.0
    assert Checkpoint.load(folder).unknown is None


def test_the_contract_has_the_temperature_and_the_rule_for_unknown_sounds(folder: Path) -> None:
    saved = Checkpoint.load(folder)
    contract = checkpoint_contract(saved)
    assert contract.temperature == 1.25
    assert contract.unknown == saved.unknown


@pytest.mark.parametrize(
    "rule", [{"label": "park"}, ["park"], {"label": 1, "threshold": 0.5, "false_alarm_rate": 0.05}]
)
def test_a_malformed_rule_for_unknown_sounds_is_refused(folder: Path, rule: Any) -> None:
    edit(folder, unknown=rule)
    with pytest.raises(EdgeAscError, match=r"checkpoint\.json: malformed"):
        Checkpoint.load(folder)
