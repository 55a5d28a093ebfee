"""The stream contract as JSON text."""

from __future__ import annotations

import json
from pathlib import Path

from edge_asc.contract import StreamContract
from edge_asc.engine import open_runtime
from fuzz.mutations import mutate_json
from fuzz.reading import whole_artefact
from fuzz.target import Seeds, Target

FILES = ("step.onnx", "step-int8.tflite", "windows.tflite")


def seeds(folder: Path) -> Seeds:
    texts = {}
    for name in FILES:
        (folder / name).write_bytes(whole_artefact(name))
        texts[f"{name}.json"] = open_runtime(folder / name).contract.dumps().encode()
    return texts


def read(path: Path) -> str:
    contract = StreamContract.parse(path.read_bytes())
    assert StreamContract.from_json(contract.to_json()) == contract
    return json.dumps(contract.to_json(), sort_keys=True)


TARGET = Target(seeds, read, mutate_json, other_answers=True)
