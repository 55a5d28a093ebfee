"""The manifest of a bundle."""

from __future__ import annotations

import json
from pathlib import Path

from edge_asc.engine import open_runtime
from edge_asc.files import sha256
from edge_asc.manifest import MANIFEST, Entry, Manifest
from fuzz.mutations import mutate_json
from fuzz.reading import whole_artefact
from fuzz.target import Seeds, Target

FILE = "step-int8.onnx"


def seeds(folder: Path) -> Seeds:
    path = folder / FILE
    path.write_bytes(whole_artefact(FILE))
    entry = Entry(sha256(path), path.stat().st_size, "onnx", "onnxruntime 1", open_runtime(path).contract)
    Manifest("random", {FILE: entry}).write(folder)
    return {MANIFEST: (folder / MANIFEST).read_bytes()}


def read(path: Path) -> str:
    return json.dumps(Manifest.read(path.parent).to_json(), sort_keys=True)


TARGET = Target(seeds, read, mutate_json, other_answers=True)
