"""Parity of artefacts that take samples: their front end against `edge_asc.frontend`, and their logits, by level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_asc.contract import STEP_FRAMES, StreamContract
from edge_asc.engine import open_runtime
from edge_asc.files import write_bytes
from edge_asc.frontend import Array, LogMel
from edge_asc.provenance import LevelParity, Measured
from edge_asc.runtime import Runtime
from edge_asc.streaming import Stream
from edge_asc_export import parity
from edge_asc_export.artefact import Artefact, Draft
from edge_asc_export.builder import Builder
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import Graph, Port, Reshape
from edge_asc_export.parity import ParityError
from edge_asc_export.pipeline import Lowered
from edge_asc_export.scheme import Scheme

# Levels of the peak of each scene, dB relative to full scale.
LEVELS = (0.0, -30.0, -60.0)
# Largest errors of normalised log-mel: a hundred times those of float32 on the scenes.
MEAN_ERROR, MAX_ERROR = 1e-5, 1e-3


@dataclass(frozen=True)
class FrontEndError:
    """Errors of normalised log-mel, and the number of frames that they were measured on."""

    frames: int
    mean: float
    maximum: float


FrontEndErrors = Mapping[float, FrontEndError]
"""Errors by level; empty for artefacts that take features."""


def measure_front_end(draft: Draft, artefact: Artefact, folder: Path) -> FrontEndErrors:
    """Compare the front end that a format writes, run in its engine, with `edge_asc.frontend`, at each level.

    It is written as an artefact of its own, whose logits are the features.

    Args:
        draft: its input decides what is written.
        artefact: one of the draft, whose format is taken.
        folder: for that artefact, which is deleted.
    """
    if draft.input == "features":
        return {}
    fmt, front_end = FORMATS.load(artefact.format), draft.checkpoint.front_end
    graph = _pass_through(front_end.mels)
    written = fmt.write([draft.with_input(Lowered(graph, draft.plan, {}))])
    contract = replace(
        artefact.contract,
        form="causal",
        signatures=written.signatures(front_end.hop),
        macs={},
        labels=tuple(f"bin {number}" for number in range(front_end.mels)),
        unknown=None,
        events=None,
        measured=Measured(),
    )
    path = folder / f"front-end{fmt.suffix}"
    write_bytes(path, written.finish(contract))
    try:
        stream = Stream(open_runtime(path), "step")
        return {level: _compare(stream, contract, level) for level in LEVELS}
    finally:
        path.unlink()


def measure_levels(reference: parity.Reference, candidate: Runtime, errors: FrontEndErrors) -> tuple[LevelParity, ...]:
    """Return the parity of an artefact at each level, with the errors of its front end."""
    levels = []
    for level, error in errors.items():
        measured = parity.measure(reference, candidate, _scenes_at(candidate.contract, level))
        levels.append(
            LevelParity(
                dbfs=level,
                frames=error.frames,
                features_mean_error=error.mean,
                features_max_error=error.maximum,
                steps=measured.steps,
                agreement=measured.agreement,
                max_error=measured.max_error,
                sqnr=measured.sqnr,
            )
        )
    return tuple(levels)


def check_level(name: str, scheme: Scheme, level: LevelParity, accepted: float | None = None) -> None:
    """Make sure that an artefact is near enough to the front end and to PyTorch at one level.

    Args:
        name: of the artefact.
        scheme: of quantisation, whose bounds hold at each level.
        level: as measured.
        accepted: lowest agreement, 0 to 1, in place of the bounds of a scheme that is not float.

    Raises:
        ParityError: it is not.
    """
    if not (level.features_mean_error <= MEAN_ERROR and level.features_max_error <= MAX_ERROR):
        raise ParityError(
            f"{name}: at {level.dbfs:g} dBFS its features differ from the front end by {level.features_mean_error:.2g} "
            f"on average, {level.features_max_error:.2g} at most; expected {MEAN_ERROR:g} and {MAX_ERROR:g}: nothing "
            "was written. Use --input features"
        )
    bounds = scheme.bounds
    if bounds is None:
        if not level.max_error <= parity.TOLERANCE:
            raise ParityError(
                f"{name}: at {level.dbfs:g} dBFS its logits differ from PyTorch by {level.max_error:.2g}; expected at "
                f"most {parity.TOLERANCE:g}: nothing was written. Use --input features"
            )
        return
    least = bounds.agreement if accepted is None else accepted
    if not level.agreement >= least:
        raise ParityError(
            f"{name}: at {level.dbfs:g} dBFS {level.agreement:.4f} of the decisions agree with PyTorch; expected at "
            f"least {least:g}: nothing was written. Choose another --quantize, or accept it with --accept-agreement"
        )


def _pass_through(mels: int) -> Graph:
    """Return a step whose logits are its features, (8, mels)."""
    builder = Builder()
    builder.shapes["features"] = (mels, STEP_FRAMES, 1)
    rows = builder.emit(Reshape("logits", "features", (STEP_FRAMES, mels)))
    return builder.graph(
        "step", STEP_FRAMES, [Port("features", "features", "features")], [Port("logits", rows, "logits")]
    )


def _compare(stream: Stream, contract: StreamContract, level: float) -> FrontEndError:
    size, log_mel, errors = stream.signature.samples, LogMel(contract.front_end), []
    for scene in _scenes_at(contract, level):
        stream.reset()
        samples = scene[: len(scene) // size * size]
        frames = np.concatenate([stream.feed(step) for step in samples.reshape(-1, size)])
        errors.append(np.abs(frames - log_mel(samples)))
    each = np.concatenate(errors)
    return FrontEndError(len(each), float(each.mean()), float(each.max()))


def _scenes_at(contract: StreamContract, level: float) -> list[Array]:
    """Return the scenes with their peak at a level, as the artefact receives them."""
    gain = 10.0 ** (level / 20.0)
    return [
        parity.as_input(contract, (scene * (gain / np.abs(scene).max())).astype(np.float32))
        for scene in parity.scenes()
    ]
