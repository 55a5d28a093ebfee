"""Several models on one data set: their names, and notes on leakage."""

import pytest

from artefacts import Artefacts
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.models import checkpoint_folder, name_models, open_models


@pytest.mark.parametrize(
    ("models", "names"),
    [
        (("fuse",), ["fuse"]),
        (("a/x.onnx", "b/y.onnx"), ["x.onnx", "y.onnx"]),
        (("a/x.onnx", "b/x.onnx"), ["a/x.onnx", "b/x.onnx"]),
        (("1/a/x.onnx", "2/a/x.onnx", "y.onnx"), ["1/a/x.onnx", "2/a/x.onnx", "y.onnx"]),
        (("x.onnx", "x.onnx"), ["x.onnx", "x.onnx"]),
    ],
)
def test_equal_names_get_as_many_parts_as_make_them_differ(models: tuple[str, ...], names: list[str]) -> None:
    assert [name for name, _ in name_models(models)] == names
    assert [model for _, model in name_models(models)] == list(models)


def test_names_may_be_given() -> None:
    assert name_models(("a/x.onnx", "b/x.onnx"), ("one", "two")) == [("one", "a/x.onnx"), ("two", "b/x.onnx")]


def test_only_checkpoints_have_a_folder(artefacts: Artefacts) -> None:
    folder = artefacts.folder / "checkpoint"
    assert checkpoint_folder(str(folder)) == folder
    shipped = checkpoint_folder("fuse")
    assert shipped is not None
    assert shipped.name == "fuse"
    assert checkpoint_folder(str(artefacts.steps["onnx"])) is None
    assert checkpoint_folder("no-such-model") is None


def test_a_whole_clip_comes_before_its_checkpoint(artefacts: Artefacts) -> None:
    models = (str(artefacts.folder / "checkpoint"), str(artefacts.steps["onnx"]))
    opened = open_models(models, whole_clip=True)
    assert [name for name, _ in opened] == ["checkpoint, whole clip", "checkpoint", "step.onnx"]
    assert opened[0][1].engine.endswith(", whole clip")
    with pytest.raises(EdgeAscError, match="needs a causal checkpoint"):
        open_models(models[1:], whole_clip=True)
