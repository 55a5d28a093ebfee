"""Peers convert a model, compute the same logits, and are timed beside it."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from msgspec import UnsetType

from artefacts import Artefacts, sound
from edge_asc.contract import AnyArray
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, EdgeAscError, MissingExtraError
from edge_asc.progress import SILENT
from edge_asc.streaming import StreamingClassifier, WindowedClassifier
from edge_asc_bench.result import read
from edge_asc_peers.peer import CONTRACT, PEERS, Source
from edge_asc_peers.peers.eager import Eager
from edge_asc_peers.preparation import REFERENCE, _Builder, call_in_child, convert_and_verify, record_steps
from edge_asc_peers.signature_module import export_onnx


@pytest.fixture
def source(artefacts: Artefacts) -> Source:
    path = artefacts.steps["onnx"]
    return Source(artefacts.folder / "checkpoint", path, path, open_runtime(path).contract)


@pytest.fixture
def window(artefacts: Artefacts, tmp_path: Path) -> Source:
    artefacts.windowed.save(tmp_path / "windowed")
    path = artefacts.folder / "window_1s.onnx"
    return Source(tmp_path / "windowed", path, path, open_runtime(path).contract)


def test_a_peer_is_registered_under_its_name() -> None:
    assert list(PEERS.names()) == ["compile", "eager", "executorch", "iree", "mnn", "ncnn", "onnxruntime", "openvino"]
    assert {name: kind.name for name, kind in PEERS.all().items()} == {name: name for name in PEERS.names()}


def test_a_converted_step_streams_like_the_artefact(source: Source, tmp_path: Path) -> None:
    place = tmp_path / "model.eager"
    assert convert_and_verify("eager", source, place, "float") < 1e-4
    runtime = open_runtime(place)
    assert runtime.engine.startswith("eager ")
    decisions = StreamingClassifier(runtime).push(sound(3))
    expected = StreamingClassifier(open_runtime(source.onnx)).push(sound(3))
    assert len(decisions) == 11
    np.testing.assert_allclose([d.logits for d in decisions], [d.logits for d in expected], atol=1e-4)
    inputs = {spec.name: np.zeros(spec.shape, spec.dtype) for spec in runtime.contract.signature("step").inputs}
    loop = runtime.loop("step")
    np.testing.assert_array_equal(runtime.run("step", inputs)["logits"], loop.feed(inputs["features"]))
    with pytest.raises(ContractError, match="got inputs"):
        runtime.run("step", {})


def test_a_converted_window_decides_like_the_artefact(window: Source, tmp_path: Path) -> None:
    place = tmp_path / "model.eager"
    assert convert_and_verify("eager", window, place, "float") < 1e-4
    decisions = WindowedClassifier.from_artefact(place, 1).push(sound(2))
    expected = WindowedClassifier.from_artefact(window.onnx, 1).push(sound(2))
    assert len(decisions) == 5
    np.testing.assert_allclose([d.logits for d in decisions], [d.logits for d in expected], atol=1e-4)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda x: x + 0.01, r"differ by 0\.0\d+, more than 0\.001; it is not timed"),
        (lambda x: x * np.nan, "not finite"),
    ],
)
def test_a_model_with_other_logits_is_refused(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[AnyArray], AnyArray], message: str
) -> None:
    take = Eager.take
    monkeypatch.setattr(Eager, "take", lambda self: {name: spoil(value) for name, value in take(self).items()})
    with pytest.raises(EdgeAscError, match=message):
        convert_and_verify("eager", source, tmp_path / "model.eager", "float")


def test_an_integer_model_may_differ(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take = Eager.take
    monkeypatch.setattr(Eager, "take", lambda self: {name: value + 0.01 for name, value in take(self).items()})
    assert convert_and_verify("eager", source, tmp_path / "model.eager", "int8") > 0.009


def test_a_missing_package_is_named(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Eager, "distribution", "no-such-package")
    with pytest.raises(MissingExtraError, match="eager: no-such-package is not installed; run: pip install"):
        Eager.installed_version()
    folder = tmp_path / "other.eager"
    folder.mkdir()
    (folder / CONTRACT).write_text(source.contract.dumps())
    with pytest.raises(MissingExtraError, match="no-such-package"):
        open_runtime(folder)


def crash(*_: object) -> None:
    os.abort()


def fail(*_: object) -> None:
    raise RuntimeError("the converter's own words\nand more")


@pytest.mark.parametrize(
    ("function", "message"),
    [(crash, "the converter process was ended by SIGABRT"), (fail, "RuntimeError: .*own words")],
)
def test_a_converter_that_fails_ends_nothing_else(
    function: Callable[..., object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(EdgeAscError, match=message):
        call_in_child(tmp_path / "log", function)


def test_a_model_that_cannot_be_converted_is_absent(source: Source, tmp_path: Path) -> None:
    builder = _Builder(source.checkpoint, tmp_path, ["eager"], SILENT)
    builder._add("eager float", "eager", replace(source, checkpoint=tmp_path / "nothing"), "float")
    assert builder.models == [(REFERENCE, source.checkpoint)]
    assert not builder.errors
    assert "nothing" in builder.absent["eager float"]


TOY = """
from edge_asc_peers.peers.eager import Eager


class Toy(Eager):
    name = "toy"


PEER = Toy
"""
CONVERT = """
import pickle
import sys
from pathlib import Path

from edge_asc_peers.preparation import convert_and_verify

folder = Path(sys.argv[1])
source = pickle.loads((folder / "source.pickle").read_bytes())
print(convert_and_verify("toy", source, folder / "model.toy", "float"))
"""


def test_another_distribution_adds_a_peer_by_one_module(source: Source, tmp_path: Path) -> None:
    """A package outside the project: the command line offers its peer, and runs a model that it has converted."""
    for path, text in {
        "toys/__init__.py": "",
        "toys/toy.py": TOY,
        "toys-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n",
        "toys-1.0.dist-info/entry_points.txt": "[edge_asc.peers]\ntoys = toys\n",
    }.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)

    def call(*arguments: Any) -> Any:
        command = [sys.executable, *map(str, arguments)]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "|toy]" in "".join(call("-m", "edge_asc", "peers", "--help").split())
    (tmp_path / "source.pickle").write_bytes(pickle.dumps(source))
    assert float(call("-c", CONVERT, tmp_path)) < 1e-4
    soundfile.write(tmp_path / "clip.wav", sound(3), 16000)
    model = tmp_path / "model.toy"
    result = json.loads(call("-m", "edge_asc", "classify", tmp_path / "clip.wav", "--json", "--model", model))
    assert result["engine"].startswith("toy ")


@pytest.mark.peers
@pytest.mark.parametrize("scheme", ["float", "int8"])
@pytest.mark.parametrize("name", sorted(set(PEERS.names()) - {"eager"}))
def test_an_installed_peer_computes_the_model(name: str, scheme: str, source: Source, tmp_path: Path) -> None:
    kind = PEERS.load(name)
    if scheme not in kind.schemes:
        pytest.skip(f"{name} has no {scheme} of its own")
    try:
        kind.installed_version()
    except MissingExtraError as error:
        pytest.skip(str(error))
    recorded = replace(source, recording=record_steps(source.onnx))
    place = tmp_path / f"model.{name}"
    largest = call_in_child(tmp_path / "log", convert_and_verify, name, recorded, place, scheme)
    assert largest < (1e-3 if scheme == "float" else 1)
    if scheme == "float" and kind.reads_onnx:
        plain = call_in_child(tmp_path / "log", export_onnx, source, tmp_path / "torch.onnx")
        place = tmp_path / f"plain.{name}"
        assert call_in_child(tmp_path / "log", convert_and_verify, name, plain, place, scheme) < 1e-3


@pytest.mark.peers
def test_all_are_measured_side_by_side(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_asc", "peers", "fuse", "--windows", "1", "--rounds", "1"]
    chosen = ["--peer", "iree", "--output", str(tmp_path)]
    done = subprocess.run([*command, *chosen], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "fuse.json")
    names = [variant.name for variant in result.variants]
    assert names[:5] == ["torch eager", "litert float", "onnxruntime float", "litert int8", "onnxruntime int8"]
    assert {"litert windows", "onnxruntime window 1 s", "eager window 1 s"} <= set(names)
    assert result.reference == "torch eager"
    for variant in result.variants:
        for latency in variant.latency.values():
            assert not isinstance(latency.engine, UnsetType)
            assert 0 < latency.engine.minimum <= latency.model.minimum
    assert "litert int8" in done.stdout
    plain = {"iree float from torch.onnx", "onnxruntime float from torch.onnx"}
    assert not isinstance(result.peers, UnsetType)
    assert set(result.peers.errors) | set(result.peers.absent) == {
        "eager window 1 s",
        "iree float",
        "iree window 1 s",
        *plain,
    }


def test_a_model_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edge_asc", "peers", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no such checkpoint" in done.stderr
