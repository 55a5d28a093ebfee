"""`edge-asc train`: what its options mean, on generated scenes too small to learn anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from edge_asc.cli.commands.train import command
from edge_asc.cli.model import CheckpointFolder
from edge_asc.data.generated import write_scenes
from edge_asc.errors import EdgeAscError
from edge_asc.models import ModelConfig, build
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.training.folder import find_recorder
from edge_asc.training.listener import Listener
from edge_asc.training.recipe import STAGED
from edge_asc.training.start import Start, take_weights
from edge_asc.zoo import zoo_path

TINY = {
    "trunk.batch": 10,
    "trunk.frames": [16, 16],
    "trunk.long_frames": 16,
    "trunk.long_batch": 10,
    "head.frames": [24, 24],
    "head.views": 1,
}
SETTINGS = [word for name, value in TINY.items() for word in ("--set", f"{name}={json.dumps(value)}")]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    write_scenes(folder / "data", 2, 0, seconds=1.0, folds=2)
    return folder


@pytest.fixture
def train(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("EDGE_ASC_CACHE", str(scenes / "cache"))

    def run(*arguments: Any) -> Result:
        return CliRunner().invoke(command, [str(scenes / "data"), *map(str, arguments)])

    return run


@pytest.mark.parametrize("head", ["linear", "gru"])
def test_pretraining_and_head_in_one_go(train: Any, scenes: Path, tmp_path: Path, head: str) -> None:
    output = tmp_path / "model"
    options = ("--head", head, "--pretrain", scenes / "data", "--fold", 1, "--epochs", 1, "--output", output, *SETTINGS)
    result = train(*options)
    assert result.exit_code == 0, result.output
    wide, final = Checkpoint.load(output / "pretrained"), Checkpoint.load(output)
    assert (wide.model.config.head, final.model.config.head) == ("linear", head)
    assert [stage["name"] for stage in wide.recipe["stages"]] == ["trunk"]
    assert [stage["name"] for stage in final.recipe["stages"]] == ["head"]
    assert (wide.training["folds_of"], final.training["started_from"]) == ("generated", "pretrained")
    assert final.evaluation["levels_db"]["0"]["lengths"][0]["count"] == 10
    assert (output / "README.md").exists()
    again = train(*options, "--resume")
    assert "trained already" in again.output


def test_curves_and_the_label_other(train: Any, scenes: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra of its own")
    result = train(
        "--output", tmp_path / "model", "--epochs", 1, "--head", "linear", "--tensorboard", "--json", *SETTINGS
    )
    assert result.exit_code == 0, result.output
    assert list((tmp_path / "model" / "tensorboard").iterdir())
    refused = train("--output", tmp_path / "other", "--other", scenes / "data")
    assert "none is left for other" in str(refused.exception)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--fold", 1, "--cross-validate"], "--fold and --cross-validate exclude each other"),
        (["--folds-of", "."], "--folds-of belongs to --fold or --cross-validate"),
        (["--pretrain", ".", "--folds-of", ".", "--fold", 1], "--pretrain excludes --from and --folds-of"),
        (["--pretrain", ".", "--head", "gap"], "--pretrain belongs to --head gru or linear"),
        (["--pretrain", ".", "--stages", "trunk"], "--pretrain needs a recipe with a trunk and a head"),
        (["--other-except", "dog"], "--other-except belongs to --other"),
        (["--teacher", ".", "--head", "gap"], "--teacher belongs to --head gru or linear"),
        (["--set", "epochs"], "'epochs': expected NAME=VALUE"),
        (["--epochs", 0], "0 is not in the range"),
    ],
)
def test_options_that_do_not_fit(
    train: Any, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[Any], message: str
) -> None:
    monkeypatch.chdir(scenes / "data")
    result = train("--output", tmp_path / "model", *options)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["trunk"]),
        (["--head", "linear"], ["trunk"]),
        (["--head", "gru"], ["trunk", "head"]),
        (["--form", "windowed"], ["trunk", "head"]),
        (["--no-auxiliary"], ["all"]),
        (["--head", "gap", "--form", "windowed"], ["all"]),
        (["--stages", "head"], ["head"]),
        (["--recipe", "paper"], ["all"]),
    ],
)
def test_the_recipe_fits_the_model(
    train: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], names: list[str]
) -> None:
    given: list[Any] = []
    monkeypatch.setattr("edge_asc.cli.commands.train._train", lambda run, *_, **__: given.append(run))
    monkeypatch.setattr("edge_asc.cli.commands.train.print_trained", lambda *_, **__: None)
    result = train("--output", tmp_path / "model", *options)
    assert result.exit_code == 0, result.output
    (run,) = given
    assert [stage.name for stage in run.recipe.stages] == names
    assert run.config.dropout == (STAGED.dropout if names != ["all"] else 0.0)


@pytest.mark.parametrize(("options", "balance"), [([], 1.0), (["--set", "head.class_balance=0.5"], 0.5)])
def test_many_foreign_clips_are_weighed_down(
    train: Any, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], balance: float
) -> None:
    given: list[Any] = []
    monkeypatch.setattr("edge_asc.cli.commands.train._train", lambda run, *_, **__: given.append(run))
    monkeypatch.setattr("edge_asc.cli.commands.train.print_trained", lambda *_, **__: None)
    result = train("--output", tmp_path / "model", "--other", scenes / "data", "--stages", "head", *options)
    assert result.exit_code == 0, result.output
    assert given[0].recipe.stages[0].class_balance == balance
    assert (given[0].recipe.stages[0].other_weight, given[0].recipe.stages[0].other_prior) == (8.0, 1 / 64)
    result = train(
        "--output", tmp_path / "x", "--other", scenes / "data", "--stages", "head", "--set", "head.views=3", *options
    )
    assert result.exit_code == 0, result.output
    assert given[1].recipe.stages[0].views == 3
    assert given[0].labels[-1] == "other"


def test_a_pretrained_model_is_named_wherever_a_checkpoint_is(tmp_path: Path) -> None:
    assert CheckpointFolder().convert("fuse-50", None, None) == zoo_path("fuse-50")
    assert CheckpointFolder().convert(tmp_path, None, None) == tmp_path
    with pytest.raises(click.BadParameter, match=r"got nothing-such; expected .* one of .*fuse-50"):
        CheckpointFolder().convert("nothing-such", None, None)


def test_a_model_that_cannot_be_exported_is_named_before_the_training() -> None:
    notes: list[str] = []

    class Notes(Listener):
        def note(self, text: str) -> None:
            notes.append(text)

    assert find_recorder(ModelConfig(), Notes()) is not None
    assert notes == []
    assert find_recorder(ModelConfig(backbone="bcresnet", form="windowed", res_norm=True), Notes()) is None
    assert "this model can be trained, and not exported: ResNorm has no export form" in notes[0]


@pytest.mark.parametrize(
    ("start", "options", "message"),
    [
        ({"mels": 64}, {}, "from a model with mels 64; this one has mels 256: give the options of that model"),
        ({"gru_units": 16}, {}, "gru_units 16; this one has gru_units 10"),
        ({"head": "linear", "auxiliary": False}, {"gru_units": 16}, ""),
    ],
)
def test_a_start_of_another_size_is_reported(start: dict[str, Any], options: dict[str, Any], message: str) -> None:
    given = Start(build(ModelConfig(**start)), tuple(range(10)))
    model = build(ModelConfig(**options))
    if not message:
        take_weights(model, given)
        return
    with pytest.raises(EdgeAscError, match=message):
        take_weights(model, given)
