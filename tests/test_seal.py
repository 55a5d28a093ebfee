"""An artefact that is not as it was exported never reaches an engine."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from artefacts import Artefacts, sound
from edge_asc import engine
from edge_asc.detection.rules import EventRules
from edge_asc.engine import ENGINES, open_runtime
from edge_asc.errors import ContractError
from edge_asc.files import sha256
from edge_asc.manifest import PENDING, Entry, Manifest, update_contract, verify
from edge_asc.rule import DecisionRule
from edge_asc.seal import check_seal, replace_contract, seal
from edge_asc.streaming import StreamingClassifier, WindowedClassifier

FILES = ("step.onnx", "step-int8.onnx", "window_1s.onnx", "step.tflite", "step-int8.tflite", "windows.tflite")


@pytest.mark.parametrize("name", FILES)
def test_the_digest_is_that_of_the_file_with_its_digits_zero(artefacts: Artefacts, name: str) -> None:
    data = (artefacts.folder / name).read_bytes()
    (digits,) = re.findall(rb'"file_sha256":"([0-9a-f]{64})"', data)
    assert hashlib.sha256(data.replace(digits, b"0" * 64)).hexdigest().encode() == digits
    assert open_runtime(artefacts.folder / name).contract.file_sha256 == digits.decode()
    assert seal(data) == data


@pytest.mark.parametrize("name", FILES)
def test_no_byte_can_change_unnoticed(artefacts: Artefacts, name: str, tmp_path: Path) -> None:
    data, path = (artefacts.folder / name).read_bytes(), tmp_path / name
    for position in (*range(0, len(data), len(data) // 40), len(data) - 1):
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        with pytest.raises(ContractError, match=name):
            check_seal(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(ContractError, match=f"{name}: SHA-256 is .*the file is damaged; copy it again"):
        open_runtime(path)


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
def test_no_engine_sees_a_damaged_file(
    artefacts: Artefacts, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.write_bytes((artefacts.folder / name).read_bytes()[:-1] + b"\xff\xfe")
    opened: list[Path] = []
    found = engine.find_engine(path)[1]

    def keep(path: Path, threads: int) -> Any:
        opened.append(path)

    monkeypatch.setattr(ENGINES, "all", lambda: {"it": replace(found, open=keep)})
    with pytest.raises(ContractError, match="damaged"):
        open_runtime(path)
    assert not opened
    open_runtime(path, verify=False)
    assert opened == [path]


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
def test_an_artefact_without_digest_is_refused_with_what_to_do(artefacts: Artefacts, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes((artefacts.folder / name).read_bytes().replace(b'"file_sha256":', b'"file_sha255":'))
    with pytest.raises(ContractError, match=r"no digest inside its contract.*export it again.*verify=False"):
        open_runtime(path)


def test_what_is_trusted_opens_unverified(artefacts: Artefacts, tmp_path: Path) -> None:
    for name in ("step.onnx", "step.tflite", "windows.tflite"):
        data = (artefacts.folder / name).read_bytes()
        (digits,) = re.findall(rb'"file_sha256":"([0-9a-f]{64})"', data)
        path = tmp_path / name
        path.write_bytes(data.replace(digits, b"0" * 64))
        with pytest.raises(ContractError, match="damaged"):
            open_runtime(path)
        if name.startswith("step"):
            assert StreamingClassifier.from_artefact(path, verify=False).labels
        else:
            assert WindowedClassifier.from_artefact(path, 1, verify=False).labels


@pytest.mark.parametrize("verify", [True, False])
def test_an_engine_that_fails_is_named_with_its_version(
    artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch, verify: bool
) -> None:
    """The message blames the file only if it was not verified."""
    path = artefacts.steps["onnx"]

    def fail(path: Path, threads: int) -> Any:
        raise RuntimeError("unsupported opset")

    found = engine.find_engine(path)[1]
    monkeypatch.setattr(ENGINES, "all", lambda: {"it": replace(found, open=fail)})
    blamed = "the file is as it was exported: upgrade the engine" if verify else "the file may be damaged"
    with pytest.raises(ContractError, match=rf"ONNX Runtime \d+\.\d+.* cannot open it \(unsupported opset\); {blamed}"):
        open_runtime(path, verify=verify)


def test_a_file_is_sealed_only_if_it_holds_one_contract() -> None:
    with pytest.raises(ContractError, match="holds file_sha256 0 times"):
        seal(b"no contract")


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_a_contract_is_replaced_in_place_and_nothing_else_moves(
    artefacts: Artefacts, tmp_path: Path, engine: str
) -> None:
    before = artefacts.steps[engine].read_bytes()
    path = tmp_path / artefacts.steps[engine].name
    path.write_bytes(before)
    old = open_runtime(path)
    contract = replace(old.contract, events=EventRules(thresholds=dict.fromkeys(old.contract.labels, 0.25)))
    path.write_bytes(replace_contract(before, contract))
    assert len(path.read_bytes()) == len(before)
    new = open_runtime(path)
    assert new.contract == contract
    expected = [decision.logits for decision in StreamingClassifier(old).push(sound(1))]
    np.testing.assert_array_equal([d.logits for d in StreamingClassifier(new).push(sound(1))], expected)
    # The shorter contract fits again.
    assert replace_contract(path.read_bytes(), old.contract) == before


def test_a_contract_without_room_is_refused(artefacts: Artefacts) -> None:
    path = artefacts.steps["onnx"]
    contract = open_runtime(path).contract
    long = replace(contract, events=EventRules(measured_on="n" * 3000))
    with pytest.raises(ContractError, match="has room for"):
        replace_contract(path.read_bytes(), long)
    with pytest.raises(ContractError, match="no sealed contract"):
        replace_contract(b"nothing", contract)


def test_a_bundle_gets_another_contract_with_its_manifest(artefacts: Artefacts, tmp_path: Path) -> None:
    bundle, path = tmp_path, tmp_path / "model.tflite"
    path.write_bytes(artefacts.steps["tflite"].read_bytes())
    entry = Entry(sha256(path), path.stat().st_size, "tflite", "litert", open_runtime(path).contract)
    Manifest("model", {path.name: entry}).write(bundle)
    contract = replace(open_runtime(path).contract, live=DecisionRule("sticky", 20.0, 0.3))
    update_contract(path, contract)
    assert open_runtime(path).contract == contract
    verify(path)
    assert Manifest.read(bundle).files[path.name].contract == contract
    assert not (bundle / PENDING).exists()
