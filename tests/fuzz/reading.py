"""Whole artefacts, and how a user's program reads one, with its answer as text."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from artefacts import write
from edge_asc.engine import open_runtime
from edge_asc.streaming import StreamingClassifier, WindowedClassifier


@cache
def whole_artefact(name: str) -> bytes:
    """Return the bytes of an artefact of a small model, by its name in `artefacts.write`."""
    return _whole_artefacts()[name]


@cache
def _whole_artefacts() -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        write(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def stream(path: Path, *, verify: bool = True) -> str:
    """Stream two seconds of noise through a model; return its labels and the SHA-256 of its logits."""
    runtime = open_runtime(path, verify=verify)
    rng = np.random.default_rng(3)
    samples = (0.1 * rng.normal(size=32_000)).astype(np.float32)
    classifier = (
        StreamingClassifier(runtime)
        if runtime.contract.form == "causal"
        else WindowedClassifier(runtime, runtime.contract.windows[0])
    )
    decisions = classifier.push(samples)
    assert decisions
    logits = np.stack([decision.logits for decision in decisions])
    return f"{' '.join(decision.label for decision in decisions)} {hashlib.sha256(logits.tobytes()).hexdigest()}"
