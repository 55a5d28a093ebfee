"""The output layer of a file is replaced, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge_asc.adaptation.base import Base, open_editor, relabel
from edge_asc.adaptation.layer import IntegerLayer, OutputLayer, quantise_layer
from edge_asc.contract import StreamContract
from edge_asc.errors import ContractError
from edge_asc.evaluation.logits import stream_logits
from edge_asc.files import write_bytes
from edge_asc.frontend import Array
from edge_asc.seal import check_seal
from edge_asc.zoo import zoo_path

FILES = {
    "tflite int8": "fuse-50/int8/fuse-50-int8.tflite",
    "tflite float": "fuse/float/fuse-float.tflite",
    "onnx int8": "fuse-50/int8/fuse-50-int8-step.onnx",
    "onnx float": "fuse/float/fuse-float-step.onnx",
}
MODULES = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}


@pytest.fixture(params=FILES)
def base(request: pytest.FixtureRequest) -> Base:
    module = MODULES[request.param.split()[0]]
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    model, name = FILES[request.param].split("/", 1)
    folder = zoo_path(model)
    assert folder is not None
    return Base.open(folder / name)


@pytest.fixture(scope="module")
def features() -> list[Array]:
    generator = np.random.default_rng(0)
    return [generator.normal(-7, 2.5, (8 * steps, 256)).astype(np.float32) for steps in (6, 3)]


def make_layer(base: Base, classes: int, embeddings: list[Array]) -> OutputLayer | IntegerLayer:
    """Return a random layer, in float or int8 as the base has it."""
    generator = np.random.default_rng(classes)
    weight = generator.normal(0, 0.1, (classes, base.editor.site.width)).astype(np.float32)
    layer = OutputLayer(weight, generator.normal(0, 1, classes).astype(np.float32))
    if base.editor.site.source is None:
        return layer
    logits = layer(np.concatenate(embeddings))
    return quantise_layer(layer, base.editor.site.source, float(logits.min()), float(logits.max()))


def make_contract(base: Base, classes: int) -> StreamContract:
    return relabel(base.contract, [f"class {number}" for number in range(classes)], base.editor.site)


# Fewer classes than the base has, and more: the new weights fit into the place of the old ones, or do not.
@pytest.mark.parametrize("classes", [2, 7, 60])
def test_the_file_computes_the_new_layer(base: Base, features: list[Array], classes: int) -> None:
    embeddings = base.embed(features)
    layer = make_layer(base, classes, embeddings)
    copy = base.open_copy(base.editor.replace(layer, make_contract(base, classes)))
    step = layer.output.scale if isinstance(layer, IntegerLayer) else 1e-4
    for actual, inputs in zip(stream_logits(copy, features), embeddings, strict=True):
        assert actual.shape == (len(inputs), classes)
        np.testing.assert_allclose(actual, layer(inputs), rtol=0, atol=1.01 * step)


def test_embeddings_are_those_of_the_file(base: Base, features: list[Array]) -> None:
    embeddings = base.embed(features)
    width = base.editor.site.width
    assert [clip.shape for clip in embeddings] == [(6, width), (3, width)]
    assert min(clip.min() for clip in embeddings) == 0.0  # after a ReLU
    assert np.ptp(embeddings[0], axis=0).any()
    if source := base.editor.site.source:
        integers = np.concatenate(embeddings) / source.scale
        np.testing.assert_allclose(integers, np.rint(integers), rtol=0, atol=1e-3)


def test_an_adapted_file_can_be_adapted_again(base: Base, features: list[Array], tmp_path: Path) -> None:
    embeddings = base.embed(features)
    path = tmp_path / f"again{base.path.suffix}"
    sizes = []
    for classes in (60, 5, 60):
        write_bytes(path, base.editor.replace(make_layer(base, classes, embeddings), make_contract(base, classes)))
        check_seal(path)
        again = Base.open(path)
        assert again.editor.site == replace(base.editor.site, classes=classes)
        for actual, expected in zip(again.embed(features), embeddings, strict=True):
            np.testing.assert_array_equal(actual, expected)
        sizes.append(path.stat().st_size)
        base = again
    assert sizes[2] - sizes[0] < 30_000  # larger weights go behind the file, and their former place stays empty


def test_states_are_as_before(base: Base, features: list[Array]) -> None:
    copy = base.open_copy(base.editor.replace(make_layer(base, 3, base.embed(features)), make_contract(base, 3)))
    signature = base.contract.signature("step")
    generator = np.random.default_rng(1)
    inputs: dict[str, npt.NDArray[np.generic]] = {spec.name: spec.initial() for spec in signature.states()}
    source = signature.input("features")
    inputs[source.name] = generator.normal(0, 1, source.shape).astype(np.float32)
    before, after = base.runtime.run("step", inputs), copy.run("step", inputs)
    assert before.keys() == after.keys()
    for spec in signature.outputs:
        if spec.role == "state":
            np.testing.assert_array_equal(after[spec.name], before[spec.name])


def test_the_copy_is_counted_as_it_is(base: Base) -> None:
    site, contract = base.editor.site, make_contract(base, base.editor.site.classes + 1)
    assert contract.parameters == base.contract.parameters + site.width + 1
    assert contract.macs["step"] == base.contract.macs["step"] + site.width
    assert contract.measured.parity is None


def test_onnx_accepts_the_file(features: list[Array], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = zoo_path("fuse-50")
    assert folder is not None
    base = Base.open(folder / "int8/fuse-50-int8-step.onnx")
    path = tmp_path / "copy.onnx"
    path.write_bytes(base.editor.replace(make_layer(base, 4, base.embed(features)), make_contract(base, 4)))
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    constants = [constant.name for constant in model.graph.initializer]
    assert len(constants) == len(set(constants))
    read = {name for node in model.graph.node for name in node.input}
    assert set(constants) <= read  # nothing of the old layer is left


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_breaks_off_is_refused(base: Base, share: float) -> None:
    data = base.path.read_bytes()
    with pytest.raises(ContractError):
        open_editor(base.path.suffix, data[: int(share * len(data))], base.contract)
