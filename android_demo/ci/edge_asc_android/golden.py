"""Golden vectors: samples, and Python's results on them, for tests in other languages.

`golden.json` names the files beside it, all little-endian: samples (16 bits); log-mel, logits and states (single
precision, integer states dequantised); probabilities (double precision). It also holds the largest allowed differences.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edge_asc.contract import InputKind, TensorSpec
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime, Tensors
from edge_asc.streaming import StreamingClassifier
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import locate_model, zoo
from edge_asc_android import decisions
from edge_asc_android.assets import generate_clip, list_artefacts
from edge_asc_android.decisions import DecisionVectors
from edge_asc_export.artefact import Draft
from edge_asc_export.artefact import write as write_artefacts
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

SECONDS = 4
# 1: first version. 2: `decisions`, and probabilities in double precision. 3: `inputs`, features or samples.
SCHEMA_VERSION = 3
# Scheme and input of the artefacts of each model that take samples.
SAMPLE_EXPORTS: tuple[tuple[str, InputKind], ...] = (("none", "samples"), ("int8", "int16"))
# Largest differences. An integer state is compared by the share of its values that differ: features that differ in
# their last bit, and another version of the engine, round some of them differently.
# "decisions" are probabilities on the same logits.
TOLERANCES = {
    "log_mel": 1e-4,
    "logits": 1e-4,
    "probabilities": 1e-4,
    "decisions": 1e-12,
    "states": 1e-4,
    "integer_states": 0.02,
}


@dataclass(frozen=True)
class ArtefactVectors:
    """The vectors of one artefact.

    Attributes:
        file: of the artefact.
        scheme: of its quantisation.
        steps: number of steps.
        decisions: index of the most probable label after each step.
        answers: index of the label to report after each step.
        unknown: whether each step is unknown.
        inputs: file of what each step takes: normalised log-mel, (steps, frames, mels), or samples, (steps, samples).
        logits, probabilities: files, (steps, classes); probabilities by the contract's rule for streams.
        states: file of each state, (steps, *shape), by the state's name.
    """

    file: str
    scheme: str
    steps: int
    decisions: tuple[int, ...]
    answers: tuple[int, ...]
    unknown: tuple[bool, ...]
    inputs: str
    logits: str
    probabilities: str
    states: Mapping[str, str]


@dataclass(frozen=True)
class GoldenVectors:
    """The document `golden.json`.

    Attributes:
        front_end: of `log_mel`.
        samples: file, (n,), 16000 Hz.
        log_mel: file, (frames, mels).
        tolerances: largest difference by kind of vector.
        artefacts: vectors of each artefact.
        decisions: vectors of decision rules and events.
    """

    front_end: FrontEnd
    samples: str
    log_mel: str
    tolerances: Mapping[str, float]
    artefacts: tuple[ArtefactVectors, ...]
    decisions: DecisionVectors

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that tests read."""
        return {
            "schema_version": SCHEMA_VERSION,
            "front_end": self.front_end.to_json(),
            "samples": self.samples,
            "log_mel": self.log_mel,
            "tolerances": dict(self.tolerances),
            "artefacts": [asdict(artefact) for artefact in self.artefacts],
            "decisions": self.decisions.to_json(),
        }


def write(bundles: Path, models: Sequence[str], output: Path, progress: Progress = SILENT) -> None:
    """Write vectors for the ONNX artefacts of some models.

    Args:
        bundles: folder with `MODEL/float` and `MODEL/int8` of each model.
        models: their names.
        output: folder, replaced.
        progress: receives a unit of work for each model.

    Raises:
        EdgeAscError: the artefacts of a model are missing.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    pcm = np.concatenate([generate_clip("park", SECONDS // 2), generate_clip("tram", SECONDS // 2)])
    samples = pcm.astype(np.float32) / np.float32(32768)
    (output / "samples.pcm").write_bytes(pcm.tobytes())
    _save(output / "logmel.f32", LogMel(FrontEnd())(samples))
    vectors = []
    for model in progress.track(models, "Writing golden vectors"):
        for path in list_artefacts(bundles, model):
            shutil.copyfile(path, output / path.name)
            if path.suffix == ".onnx":
                vectors.append(_write_steps(path, open_runtime(path), samples, output))
        for path in _export_samples(model, output):
            vectors.append(_write_steps(path, open_runtime(path), samples, output))
    document = GoldenVectors(
        FrontEnd(), "samples.pcm", "logmel.f32", TOLERANCES, tuple(vectors), decisions.write(output)
    )
    (output / "golden.json").write_text(json.dumps(document.to_json(), indent=1))


def _export_samples(model: str, output: Path) -> list[Path]:
    """Write the ONNX artefacts of a model that take samples, float and int16, and return their paths."""
    folder = locate_model(model)
    if folder is None:
        raise EdgeAscError(f"{model}: no such pretrained model; expected one of {', '.join(zoo())}")
    checkpoint, paths = Checkpoint.load(folder), []
    for scheme, kind in SAMPLE_EXPORTS:
        plan = Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES[scheme])
        for artefact in write_artefacts(Draft(checkpoint, "", plan, input=kind), "onnx"):
            paths.append(output / artefact.name)
            paths[-1].write_bytes(artefact.data)
    return paths


def _write_steps(path: Path, runtime: Runtime, samples: Array, output: Path) -> ArtefactVectors:
    """Write the logits, probabilities and states of an artefact after each step."""
    step = runtime.contract.signature("step")
    classifier, log_mel = StreamingClassifier(runtime), LogMel(runtime.contract.front_end)
    takes_features = runtime.contract.input == "features"
    inputs, logits, probabilities, indices, answers, unknown = [], [], [], [], [], []
    states: dict[str, list[Array]] = {spec.name: [] for spec in step.states()}
    for begin in range(0, len(samples) - step.samples + 1, step.samples):
        chunk = samples[begin : begin + step.samples]
        (decision,) = classifier.push(chunk)
        inputs.append(log_mel.push(chunk) if takes_features else chunk)
        logits.append(decision.logits)
        probabilities.append(decision.probabilities)
        indices.append(decision.index)
        answers.append(classifier.labels.index(decision.answer))
        unknown.append(decision.unknown)
        (loop,) = classifier.loops
        for spec in step.states():
            states[spec.name].append(_dequantise(spec, loop.state))
    likely = f"{path.stem}.probabilities.f64"
    (output / likely).write_bytes(np.stack(probabilities).astype("<f8").tobytes())
    stacked: dict[str, Array] = {"inputs": np.stack(inputs), "logits": np.stack(logits)}
    stacked |= {name: np.stack(arrays) for name, arrays in states.items()}
    files = {name: f"{path.stem}.{name}.f32" for name in stacked}
    for name, array in stacked.items():
        _save(output / files[name], array)
    return ArtefactVectors(
        file=path.name,
        scheme=runtime.contract.scheme,
        steps=len(logits),
        decisions=tuple(indices),
        answers=tuple(answers),
        unknown=tuple(unknown),
        inputs=files["inputs"],
        logits=files["logits"],
        probabilities=likely,
        states={name: files[name] for name in states},
    )


def _dequantise(spec: TensorSpec, state: Tensors) -> Array:
    """Return the values of a state in single precision."""
    values = np.asarray(state[spec.name]).astype(np.float32)
    if spec.quantisation:
        return (values - np.float32(spec.quantisation.zero_point)) * np.float32(spec.quantisation.scale)
    return values


def _save(path: Path, array: Array) -> None:
    path.write_bytes(np.ascontiguousarray(array, "<f4").tobytes())
