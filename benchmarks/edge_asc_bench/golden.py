"""Golden vectors: samples, and Python's results on them, for tests in other languages.

`golden.json` names the files beside it. Its `files` give the type and the shape of each, all little-endian. It also
holds the largest allowed differences.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from edge_asc.contract import StreamContract, TensorSpec
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.rule import Belief, DecisionRule
from edge_asc.runtime import Runtime, Tensors
from edge_asc.streaming import StreamingClassifier
from edge_asc_bench import golden_decisions
from edge_asc_bench.golden_decisions import DecisionVectors
from edge_asc_bench.golden_files import GoldenFiles

Pcm = npt.NDArray[np.int16]

DOCUMENT = "golden.json"
KIND = "golden"
# 1: first version. 2: `decisions`, and probabilities in double precision. 3: `inputs`, features or samples.
# 4: `files`, `samples_float`, `clips`; of an artefact `engine`, `input`, `clip_probabilities` and `other_runtimes`.
SCHEMA_VERSION = 4
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
class Tolerance:
    """Allowed differences between another runtime and Python.

    Attributes:
        logits: largest error of a logit.
        agreement: least share of steps with the same decision, 0 to 1.
    """

    logits: float
    agreement: float


# By scheme; others as int8. Runtimes add float numbers in another order, and round integers differently where their
# kernels do. int8-dynamic rounds the results of float sums.
OTHER_RUNTIMES = {"none": Tolerance(1e-3, 0.99), "int8-dynamic": Tolerance(0.5, 0.95), "int8": Tolerance(2.0, 0.9)}


def describe_tolerances() -> str:
    """Return what other runtimes may do differently, in words, with a line for each scheme."""
    return ";\n".join(
        f"{scheme}: logits within {tolerance.logits:g}, {100 * tolerance.agreement:.0f} % of decisions equal"
        for scheme, tolerance in OTHER_RUNTIMES.items()
    ).replace("none:", "float:")


@dataclass(frozen=True)
class Clip:
    """A part of the samples.

    Attributes:
        label: of its sound.
        begin, end: samples.
        credit: author, licence and place of publication; "" for generated sounds.
    """

    label: str
    begin: int
    end: int
    credit: str = ""


@dataclass(frozen=True)
class ArtefactVectors:
    """The vectors of one artefact.

    Attributes:
        file: of the artefact.
        engine: Python's, with its version.
        scheme: of its quantisation.
        input: what a step takes, "features", "samples" or "int16".
        steps: number of steps.
        decisions: index of the most probable label after each step.
        answers: index of the label to report after each step.
        unknown: whether each step is unknown.
        logits: file, (steps, classes).
        probabilities: file, (steps, classes), by the contract's rule for streams.
        clip_probabilities: file, (steps, classes), by the contract's rule for a clip.
        other_runtimes: what they may do differently.
        inputs: file of what each step takes: normalised log-mel, (steps, frames, mels), or samples, (steps, samples);
            "" if it was not written.
        states: file of each state, (steps, *shape), dequantised, by the state's name; none if they were not written.
    """

    file: str
    engine: str
    scheme: str
    input: str
    steps: int
    decisions: tuple[int, ...]
    answers: tuple[int, ...]
    unknown: tuple[bool, ...]
    logits: str
    probabilities: str
    clip_probabilities: str
    other_runtimes: Tolerance
    inputs: str = ""
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GoldenVectors:
    """The document `golden.json`.

    Attributes:
        front_end: of `log_mel`.
        samples: file, (n,), 16000 Hz, 16 bits.
        samples_float: file, (n,), the same over 2¹⁵, single precision.
        clips: what the samples are.
        log_mel: file, (frames, mels).
        tolerances: largest difference by kind of vector.
        artefacts: vectors of each artefact.
        decisions: vectors of decision rules and events.
        files: type and shape of each file.
    """

    front_end: FrontEnd
    samples: str
    samples_float: str
    clips: tuple[Clip, ...]
    log_mel: str
    tolerances: Mapping[str, float]
    artefacts: tuple[ArtefactVectors, ...]
    decisions: DecisionVectors
    files: Mapping[str, Mapping[str, object]]

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that tests read."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "sample_rate": self.front_end.sample_rate,
            "front_end": self.front_end.to_json(),
            "samples": self.samples,
            "samples_float": self.samples_float,
            "clips": [asdict(clip) for clip in self.clips],
            "log_mel": self.log_mel,
            "tolerances": dict(self.tolerances),
            "artefacts": [asdict(artefact) for artefact in self.artefacts],
            "decisions": self.decisions.to_json(),
            "files": dict(self.files),
        }


def write(
    output: Path, artefacts: Sequence[Path], pcm: Pcm, clips: Sequence[Clip] = (), *, has_states: bool = True
) -> GoldenVectors:
    """Write vectors for artefacts.

    Args:
        output: folder that holds the artefacts.
        artefacts: causal ones, in the folder.
        pcm: 16-bit samples at 16000 Hz, (n,).
        clips: what the samples are.
        has_states: whether to write inputs and states of each step, too: a few MB for each artefact.
    """
    files = GoldenFiles(output)
    samples = pcm.astype(np.float32) / np.float32(32768)
    document = GoldenVectors(
        front_end=FrontEnd(),
        samples=files.save("samples.pcm", pcm),
        samples_float=files.save("samples.f32", samples),
        clips=tuple(clips),
        log_mel=files.save("logmel.f32", LogMel(FrontEnd())(samples)),
        tolerances=TOLERANCES,
        artefacts=tuple(_write_steps(path, samples, files, has_states=has_states) for path in artefacts),
        decisions=golden_decisions.write(files),
        files=files.described,
    )
    (output / DOCUMENT).write_text(json.dumps(document.to_json(), indent=1))
    return document


@dataclass(frozen=True)
class GoldenArtefacts:
    """The part of the document that a comparison of runtimes reads.

    Attributes:
        samples_float: file of the samples.
        artefacts: vectors of each artefact.
    """

    samples_float: str
    artefacts: tuple[ArtefactVectors, ...]


def read(folder: Path) -> GoldenArtefacts:
    """Read the document of a folder.

    Raises:
        EdgeAscError: there is none, or it is damaged or of another version.
    """
    path, advice = folder / DOCUMENT, "run: edge-asc conformance golden"
    try:
        document = msgspec.json.decode(path.read_bytes())
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    except msgspec.DecodeError as error:
        raise EdgeAscError(f"{path}: not JSON ({error}); {advice}") from error
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION:
        raise EdgeAscError(f"{path}: not golden vectors of schema version {SCHEMA_VERSION}; {advice}")
    try:
        return msgspec.convert(document, GoldenArtefacts)
    except msgspec.ValidationError as error:
        raise EdgeAscError(f"{path}: {error}; {advice}") from error


def _write_steps(path: Path, samples: Array, files: GoldenFiles, *, has_states: bool) -> ArtefactVectors:
    """Write the logits and probabilities of an artefact after each step, and its inputs and states."""
    runtime = open_runtime(path)
    contract, step = runtime.contract, runtime.contract.signature("step")
    chunks = [
        samples[begin : begin + step.samples] for begin in range(0, len(samples) - step.samples + 1, step.samples)
    ]
    classifier = StreamingClassifier(runtime)
    results, states = [], []
    for chunk in chunks:
        results += classifier.push(chunk)
        if has_states:
            states.append(classifier.loops[0].state)
    logits = np.stack([result.logits for result in results])
    inputs, kept = "", {}
    if has_states:
        inputs = files.save(f"{path.stem}.inputs.f32", _inputs_of(runtime, chunks))
        kept = {spec.name: files.save(f"{path.stem}.{spec.name}.f32", _stack(spec, states)) for spec in step.states()}
    return ArtefactVectors(
        file=path.relative_to(files.folder).as_posix(),
        engine=runtime.engine,
        scheme=contract.scheme,
        input=contract.input,
        steps=len(results),
        decisions=tuple(result.index for result in results),
        answers=tuple(contract.labels.index(result.answer) for result in results),
        unknown=tuple(result.unknown for result in results),
        logits=files.save(f"{path.stem}.logits.f32", logits),
        probabilities=files.save(
            f"{path.stem}.probabilities.f64", np.stack([result.probabilities for result in results])
        ),
        clip_probabilities=files.save(f"{path.stem}.clip_probabilities.f64", _decide_clip(contract, logits)),
        other_runtimes=OTHER_RUNTIMES.get(contract.scheme, OTHER_RUNTIMES["int8"]),
        inputs=inputs,
        states=kept,
    )


def _decide_clip(contract: StreamContract, logits: Array) -> npt.NDArray[np.float64]:
    """Return the probabilities after each step by the rule for a clip, (steps, classes)."""
    belief = Belief(DecisionRule(contract.decision), len(contract.labels), contract.step_seconds, contract.temperature)
    return np.stack([belief.update(row) for row in logits])


def _inputs_of(runtime: Runtime, chunks: Sequence[Array]) -> Array:
    """Return what each step takes, for the samples of each step."""
    if runtime.contract.input != "features":
        return np.stack(chunks)
    log_mel = LogMel(runtime.contract.front_end)
    return np.stack([log_mel.push(chunk) for chunk in chunks])


def _stack(spec: TensorSpec, states: Sequence[Tensors]) -> Array:
    """Return the values of a state after each step, in single precision."""
    values: npt.NDArray[Any] = np.stack([state[spec.name] for state in states]).astype(np.float32)
    if spec.quantisation:
        values = (values - np.float32(spec.quantisation.zero_point)) * np.float32(spec.quantisation.scale)
    return values
