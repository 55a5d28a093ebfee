"""Peers convert a model, compute what it computes, and are timed beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from artefacts import sound
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, EdgeAscError, MissingExtraError
from edge_asc.streaming import StreamingClassifier, WindowedClassifier
from edge_asc_bench.result import read
from edge_asc_peers import comparison
from edge_asc_peers.comparison import converted
from edge_asc_peers.peer import CONTRACT, PEERS, Source
from edge_asc_peers.torch import Eager, export_onnx


@pytest.fixture
def source(artefacts):
    path = artefacts.steps["onnx"]
    return Source(artefacts.folder / "checkpoint", path, path, open_runtime(path).contract)


@pytest.fixture
def window(artefacts, tmp_path):
    artefacts.windowed.save(tmp_path / "windowed")
    path = artefacts.folder / "window_1s.onnx"
    return Source(tmp_path / "windowed", path, path, open_runtime(path).contract)


def test_every_peer_is_known_by_the_ending_of_its_folder():
    assert list(PEERS.names()) == ["compile", "eager", "executorch", "iree", "mnn", "ncnn", "onnxruntime", "openvino"]
    assert {name: kind.name for name, kind in PEERS.all().items()} == {name: name for name in PEERS.names()}


def test_a_converted_step_streams_like_the_artefact(source, tmp_path):
    place = tmp_path / "model.eager"
    assert converted("eager", source, place, "float") < 1e-4
    runtime = open_runtime(place)
    assert runtime.engine.startswith("eager ")
    found = StreamingClassifier(runtime).push(sound(3))
    expected = StreamingClassifier(open_runtime(source.onnx)).push(sound(3))
    assert len(found) == 11
    np.testing.assert_allclose([d.logits for d in found], [d.logits for d in expected], atol=1e-4)
    inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in runtime.contract.signature("step").inputs}
    loop = runtime.loop("step")
    np.testing.assert_array_equal(runtime.run("step", inputs)["logits"], loop.feed(inputs["features"]))
    with pytest.raises(ContractError, match="got inputs"):
        runtime.run("step", {})


def test_a_converted_window_decides_like_the_artefact(window, tmp_path):
    place = tmp_path / "model.eager"
    assert converted("eager", window, place, "float") < 1e-4
    found = WindowedClassifier.from_artefact(place, 1).push(sound(2))
    expected = WindowedClassifier.from_artefact(window.onnx, 1).push(sound(2))
    assert len(found) == 5
    np.testing.assert_allclose([d.logits for d in found], [d.logits for d in expected], atol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x + 0.01, r"differ by 0\.0\d+, more than 0\.001; it is not timed"),
        (lambda x: x * np.nan, "not finite"),
    ],
)
def test_what_computes_another_thing_is_refused(source, tmp_path, monkeypatch, spoil, message):
    take = Eager.take
    monkeypatch.setattr(Eager, "take", lambda self: {name: spoil(value) for name, value in take(self).items()})
    with pytest.raises(EdgeAscError, match=message):
        converted("eager", source, tmp_path / "model.eager", "float")


def test_an_integer_model_may_differ(source, tmp_path, monkeypatch):
    take = Eager.take
    monkeypatch.setattr(Eager, "take", lambda self: {name: value + 0.01 for name, value in take(self).items()})
    assert converted("eager", source, tmp_path / "model.eager", "int8") > 0.009


def test_a_peer_that_is_not_there_says_so(source, tmp_path, monkeypatch):
    monkeypatch.setattr(Eager, "package", "no-such-package")
    with pytest.raises(MissingExtraError, match="eager: no-such-package is not installed: pip install no-such-package"):
        Eager.installed()
    converted_by = tmp_path / "other.eager"
    converted_by.mkdir()
    (converted_by / CONTRACT).write_text(source.contract.dumps())
    with pytest.raises(MissingExtraError, match="no-such-package"):
        open_runtime(converted_by)


def crash(*_):
    os.abort()


def fail(*_):
    raise RuntimeError("the converter's own words\nand more")


@pytest.mark.parametrize(
    ("function", "message"), [(crash, "the process that converts crashed"), (fail, "RuntimeError: .*own words")]
)
def test_a_converter_that_fails_ends_nothing_else(function, message, tmp_path):
    with pytest.raises(EdgeAscError, match=message):
        comparison._in_child(function, log=tmp_path / "log")


def test_what_cannot_be_converted_is_told(source, tmp_path):
    found, told = comparison.Comparison(), []
    broken = replace(source, checkpoint=tmp_path / "nothing")
    comparison._try(found, "eager float", "eager", broken, tmp_path, "float", told.append)
    assert told == ["converting eager float"]
    assert found.models == []
    assert list(found.absent) == ["eager float"]


@pytest.mark.peers
@pytest.mark.parametrize("scheme", ["float", "int8"])
@pytest.mark.parametrize("name", sorted(set(PEERS.names()) - {"eager"}))
def test_an_installed_peer_computes_the_model(name, scheme, source, tmp_path):
    kind = PEERS.load(name)
    if scheme not in kind.schemes:
        pytest.skip(f"{name} has no {scheme} of its own")
    try:
        kind.installed()
    except MissingExtraError as error:
        pytest.skip(str(error))
    recorded = replace(source, recording=comparison._recorded(source.onnx))
    place = tmp_path / f"model.{name}"
    error = comparison._in_child(converted, name, recorded, place, scheme, log=tmp_path / "log")
    assert error < (1e-3 if scheme == "float" else 1)
    if scheme == "float" and kind.reads_onnx:
        plain = comparison._in_child(export_onnx, source, tmp_path / "torch.onnx", log=tmp_path / "log")
        place = tmp_path / f"plain.{name}"
        assert comparison._in_child(converted, name, plain, place, scheme, log=tmp_path / "log") < 1e-3


@pytest.mark.peers
def test_all_are_measured_side_by_side(tmp_path):
    command = [sys.executable, "-m", "edge_asc_peers", "fuse", "--windows", "1", "--rounds", "1"]
    chosen = ["--peer", "iree", "--output", str(tmp_path)]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "fuse.json")
    names = [variant["name"] for variant in result["variants"]]
    assert names[:5] == ["torch eager", "litert float", "onnxruntime float", "litert int8", "onnxruntime int8"]
    assert {"litert windows", "onnxruntime window 1 s", "eager window 1 s"} <= set(names)
    assert result["reference"] == "torch eager"
    for variant in result["variants"]:
        for latency in variant["latency"].values():
            assert 0 < latency["engine"]["minimum"] <= latency["model"]["minimum"]
    assert "litert int8" in done.stdout
    told = json.loads((tmp_path / "fuse.json").read_text())["peers"]
    plain = {"iree float from torch.onnx", "onnxruntime float from torch.onnx"}
    assert set(told["errors"]) | set(told["absent"]) == {"eager window 1 s", "iree float", "iree window 1 s", *plain}


def test_a_model_that_is_not_there_is_refused(tmp_path):
    command = [sys.executable, "-m", "edge_asc_peers", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such checkpoint" in done.stderr
