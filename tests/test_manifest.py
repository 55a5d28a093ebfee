"""The manifest of a bundle, and the manifests of other tools beside an artefact."""

import json
from pathlib import Path
from typing import Any

import pytest

from artefacts import Artefacts
from edge_asc.contract import StreamContract
from edge_asc.engine import find_engine, open_runtime
from edge_asc.errors import ContractError
from edge_asc.files import sha256
from edge_asc.manifest import MANIFEST, Entry, Manifest, has_manifest, verify


@pytest.fixture
def bundle(artefacts: Artefacts, tmp_path: Path) -> Path:
    path = tmp_path / "step.onnx"
    path.write_bytes((artefacts.folder / "step.onnx").read_bytes())
    contract = open_runtime(path).contract
    entry = Entry(sha256(path), path.stat().st_size, "onnx", "onnxruntime 1", contract)
    Manifest("mine", {"step.onnx": entry}, {"scheme": {"name": "none"}}).write(tmp_path)
    return tmp_path


def test_it_reads_what_it_wrote(bundle: Path) -> None:
    manifest = Manifest.read(bundle)
    assert manifest.name == "mine"
    assert manifest.plan == {"scheme": {"name": "none"}}
    assert isinstance(manifest.files["step.onnx"].contract, StreamContract)
    before = (bundle / MANIFEST).read_bytes()
    manifest.write(bundle)
    assert (bundle / MANIFEST).read_bytes() == before


@pytest.mark.parametrize("value", [{"kind": "web app", "files": 3}, {}, [], "text", {"name": "x", "version": 3}])
def test_the_manifest_of_another_tool_is_not_a_bundle(bundle: Path, value: Any) -> None:
    (bundle / MANIFEST).write_text(json.dumps(value))
    assert not has_manifest(bundle)
    verify(bundle / "step.onnx")
    assert open_runtime(bundle / "step.onnx").contract.form == "causal"
    with pytest.raises(ContractError, match="no engine runs"):
        find_engine(bundle)
    with pytest.raises(ContractError, match="not the manifest of an export"):
        Manifest.read(bundle)


@pytest.mark.parametrize("text", ["", "{", '{"kind": "export"', b"\xff\xfe"])
def test_a_file_that_is_not_json_is_an_error_beside_an_artefact(bundle: Path, text: str | bytes) -> None:
    (bundle / MANIFEST).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert has_manifest(bundle)
    for path in (bundle, bundle / "step.onnx"):
        with pytest.raises(ContractError, match=r"manifest\.json: not JSON .*; copy the whole folder again"):
            open_runtime(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "got schema version 2, expected 1: upgrade edge-asc"),
        ({"schema_version": 0}, "got schema version 0, expected 1: export again"),
        ({"schema_version": "1"}, "schema_version: got str '1', expected an integer"),
        ({"files": []}, "manifest.files: got list .*, expected an object"),
        ({"files": {"step.onnx": {}}}, "manifest.files.step.onnx.sha256: got nothing, expected a string"),
        ({"name": None}, "manifest.name: got nothing, expected a string"),
    ],
)
def test_a_damaged_manifest_is_an_error(
    bundle: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    value = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**value, **change}))
    with pytest.raises(ContractError, match=message):
        open_runtime(bundle / "step.onnx")


@pytest.mark.parametrize("name", ["../step.onnx", "/step.onnx", "a\\b", "..", ""])
def test_names_stay_in_the_folder(bundle: Path, name: str) -> None:
    value = json.loads((bundle / MANIFEST).read_text())
    value["files"][name] = value["files"].pop("step.onnx")
    (bundle / MANIFEST).write_text(json.dumps(value))
    with pytest.raises(ContractError, match="expected names of files beside it"):
        Manifest.read(bundle)


def test_no_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="cannot be read"):
        Manifest.read(tmp_path)
