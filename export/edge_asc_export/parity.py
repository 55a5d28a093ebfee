"""Parity: every artefact streamed in its own runtime against float PyTorch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from edge_asc.closeness import CLEAR_MARGIN
from edge_asc.contract import INT16, StreamContract
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.scenes import generate_scene
from edge_asc.errors import CheckFailedError, ExportError
from edge_asc.evaluation.logits import choose_inputs, decide, steps_at, stream_logits
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.frontend import Array, LogMel
from edge_asc.provenance import Parity
from edge_asc.rule import ClipRule
from edge_asc.runtime import Runtime
from edge_asc.streaming import WindowedClassifier
from edge_asc.tensors import to_int16
from edge_asc_export.scheme import Scheme

TOLERANCE = 1e-4
LARGEST_SQNR = 200.0
ADVICE = (
    "nothing was written. Record ranges on other recordings with --calibration DIR, choose another --quantize, or "
    "accept it with --accept-agreement"
)
SEED = 20
SECONDS = 10
WINDOWED_SECONDS = 26


class ParityError(ExportError, CheckFailedError):
    """An artefact that is too far from PyTorch: a check at export did not hold."""


class Reference:
    """Float PyTorch, which computes the logits of the same clips once: all artefacts of an export are compared on them.

    Attributes:
        runtime: computes them.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._logits: dict[bytes, list[Array]] = {}

    def stream(self, inputs: Sequence[Array]) -> list[Array]:
        """Return the logits of each clip; arguments and errors as of `stream_logits`."""
        key = hashlib.sha256(b"".join(clip.tobytes() for clip in inputs)).digest()
        if key not in self._logits:
            self._logits[key] = stream_logits(self.runtime, inputs)
        return self._logits[key]


@cache
def scenes() -> tuple[Array, ...]:
    """Return one generated scene for each of the ten labels, 16 kHz."""
    return tuple(generate_scene(label, SEED + i, SECONDS) for i, label in enumerate(TAU_LABELS))


def measure(reference: Reference, candidate: Runtime, audio: Sequence[Array] | None = None) -> Parity:
    """Stream the same scenes through both, states fed back, each scene from reset and all as one stream.

    Args:
        reference: float PyTorch.
        candidate: artefact.
        audio: samples of each scene; by default `scenes()`, in 16 bits for an artefact that takes these.
    """
    if audio is None:
        audio = [as_input(candidate.contract, scene) for scene in scenes()]
    if candidate.contract.form == "causal":
        return _measure_steps(reference, candidate, audio)
    return _measure_windows(reference, candidate, audio)


def as_input(contract: StreamContract, samples: Array) -> Array:
    """Return samples as an artefact receives them: rounded to 16 bits, as float, if it takes integers."""
    if contract.input != "int16":
        return samples
    return to_int16(samples) * np.float32(INT16.scale)


def _measure_steps(reference: Reference, candidate: Runtime, audio: Sequence[Array]) -> Parity:
    contract, raw = candidate.contract, LogMel(candidate.contract.front_end.raw)
    clips = [*audio, np.concatenate(audio)]
    features = [raw(clip) for clip in clips]
    expected = reference.stream(choose_inputs(reference.runtime.contract, features, clips))
    actual = stream_logits(candidate, choose_inputs(contract, features, clips))
    agreement = {}
    for seconds in range(1, SECONDS + 1):
        step = steps_at(seconds) - 1
        same = [
            decide(e, contract.decision)[step] == decide(a, contract.decision)[step]
            for e, a in zip(expected[:-1], actual[:-1], strict=True)
        ]
        agreement[str(seconds)] = float(np.mean(same))
    words = f"{len(audio)} generated scenes of {SECONDS} s"
    return _summarise(words, expected, actual, agreement, contract.decision)


def _measure_windows(reference: Reference, candidate: Runtime, audio: Sequence[Array]) -> Parity:
    samples = np.concatenate(audio)[: WINDOWED_SECONDS * candidate.contract.front_end.sample_rate]
    expected, actual, agreement = [], [], {}
    for seconds in candidate.contract.windows:
        runtimes = (reference.runtime, candidate)
        pair = [np.stack([d.logits for d in WindowedClassifier(r, seconds).push(samples)]) for r in runtimes]
        expected.append(pair[0])
        actual.append(pair[1])
        agreement[str(seconds)] = float((pair[0].argmax(1) == pair[1].argmax(1)).mean())
    return _summarise(f"{WINDOWED_SECONDS} s of generated scenes", expected, actual, agreement, "last")


def _summarise(
    audio: str, expected: Sequence[Array], actual: Sequence[Array], agreement: dict[str, float], rule: ClipRule
) -> Parity:
    """Compare logits of streams; drift is that of the last stream."""
    e, a = np.concatenate(expected), np.concatenate(actual)
    error = np.abs(e - a)
    stream = np.abs(expected[-1] - actual[-1]).max(axis=1)
    quarter = max(1, len(stream) // 4)
    return Parity(
        audio=audio,
        steps=len(e),
        agreement=float((e.argmax(1) == a.argmax(1)).mean()),
        max_error=float(error.max()),
        mean_error=float(error.mean()),
        agreement_by_length=agreement,
        max_error_first=float(stream[:quarter].max()),
        max_error_last=float(stream[-quarter:].max()),
        sqnr=_sqnr(e, a),
        closeness=measure_closeness(expected, actual, rule),
    )


def _sqnr(expected: Array, actual: Array) -> float:
    """Return the signal-to-quantisation-noise ratio of logits, dB, at most LARGEST_SQNR."""
    signal, noise = (float((x.astype(np.float64) ** 2).sum()) for x in (expected, expected - actual))
    if not signal > 0.0:
        return 0.0
    return min(LARGEST_SQNR, 10.0 * math.log10(signal / max(noise, 1e-300)))


def check(name: str, scheme: Scheme, parity: Parity, accepted: float | None = None) -> None:
    """Make sure that an artefact is near enough to PyTorch: equal in float, within the bounds of its scheme otherwise.

    Args:
        name: of the artefact.
        scheme: of quantisation.
        parity: as measured.
        accepted: lowest agreement, 0 to 1, in place of the bounds of a scheme that is not float.

    Raises:
        ParityError: it is not.
    """
    bounds = scheme.bounds
    if bounds is None:
        if not parity.max_error <= TOLERANCE:
            raise ParityError(
                f"{name}: logits differ from PyTorch by {parity.max_error:.2g} over {parity.steps} steps; "
                f"expected at most {TOLERANCE:g}: nothing was written. Try other versions of the export tools"
            )
        return
    least = bounds.agreement if accepted is None else accepted
    sqnr = math.nan if parity.sqnr is None else parity.sqnr
    if not parity.agreement >= least or (accepted is None and not sqnr >= bounds.sqnr):
        asked = f"at least {least:g}" + ("" if accepted is not None else f" and {bounds.sqnr:g} dB")
        raise ParityError(
            f"{name}: {parity.agreement:.4f} of the decisions agree with PyTorch over {parity.steps} steps, and the "
            f"logits have an SQNR of {sqnr:.1f} dB; expected {asked}: {ADVICE}"
        )
    closeness = parity.closeness
    if accepted is not None or closeness is None or closeness.clear_agreement is None:
        return
    if not closeness.clear_agreement >= bounds.clear_agreement:
        raise ParityError(
            f"{name}: {closeness.clear_agreement:.4f} of the {closeness.clear_steps} decisions with a margin above "
            f"{CLEAR_MARGIN:g} agree with PyTorch; expected at least {bounds.clear_agreement:g}: {ADVICE}"
        )
