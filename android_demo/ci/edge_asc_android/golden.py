"""Golden vectors: samples, and what Python makes of them, for tests in other languages.

`golden.json` names the files beside it, all little-endian: samples (16 bits); log-mel, logits, probabilities and states
(single precision, integer states as real values). It says by how much they may differ.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.contract import TensorSpec
from edge_asc.engine import open_runtime
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc_android.assets import artefacts, clip

SECONDS = 4
# 1: first version.
SCHEMA_VERSION = 1
# Largest differences. An integer state is compared by the share of its values that lie on another step of its grid:
# features that differ in their last bit, and another version of the engine, round some differently.
TOLERANCES = {"log_mel": 1e-4, "logits": 1e-4, "probabilities": 1e-4, "states": 1e-4, "integer_states": 0.02}


def write(bundles: Path, models: Sequence[str], output: Path) -> None:
    """Write vectors for the ONNX artefacts of some models in `bundles`, to a folder that is made anew.

    Raises:
        EdgeAscError: a model was not exported.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    pcm = np.concatenate([clip("park", SECONDS // 2), clip("tram", SECONDS // 2)])
    samples = pcm.astype(np.float32) / np.float32(32768)
    (output / "samples.pcm").write_bytes(pcm.tobytes())
    _save(output / "logmel.f32", LogMel(FrontEnd())(samples))
    entries = []
    for model in models:
        for path in artefacts(bundles, model):
            shutil.copyfile(path, output / path.name)
            if path.suffix == ".onnx":
                entries.append(_steps(path, open_runtime(path), samples, output))
    document = {
        "schema_version": SCHEMA_VERSION,
        "front_end": FrontEnd().to_json(),
        "samples": "samples.pcm",
        "log_mel": "logmel.f32",
        "tolerances": TOLERANCES,
        "artefacts": entries,
    }
    (output / "golden.json").write_text(json.dumps(document, indent=1))


def _steps(path: Path, runtime: Runtime, samples: npt.NDArray[np.float32], output: Path) -> dict[str, Any]:
    """The logits and states of an artefact after each step."""
    step = runtime.contract.signature("step")
    classifier = StreamingClassifier(runtime)
    logits, probabilities, decisions = [], [], []
    states: dict[str, list[npt.NDArray[np.float32]]] = {spec.name: [] for spec in step.states()}
    for begin in range(0, len(samples) - step.samples + 1, step.samples):
        (decision,) = classifier.push(samples[begin : begin + step.samples])
        logits.append(decision.logits)
        probabilities.append(decision.probabilities)
        decisions.append(decision.index)
        (loop,) = classifier.loops
        for spec in step.states():
            states[spec.name].append(_real(spec, loop.state))
    _save(output / f"{path.stem}.logits.f32", np.stack(logits))
    _save(output / f"{path.stem}.probabilities.f32", np.stack(probabilities))
    for name, values in states.items():
        _save(output / f"{path.stem}.{name}.f32", np.stack(values))
    return {
        "file": path.name,
        "scheme": runtime.contract.scheme,
        "steps": len(logits),
        "decisions": decisions,
        "logits": f"{path.stem}.logits.f32",
        "probabilities": f"{path.stem}.probabilities.f32",
        "states": {name: f"{path.stem}.{name}.f32" for name in states},
    }


def _real(spec: TensorSpec, state: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float32]:
    raw = np.asarray(state[spec.name]).astype(np.float32)
    if spec.quantisation:
        return (raw - np.float32(spec.quantisation.zero_point)) * np.float32(spec.quantisation.scale)
    return raw


def _save(path: Path, values: npt.ArrayLike) -> None:
    path.write_bytes(np.ascontiguousarray(values, "<f4").tobytes())
