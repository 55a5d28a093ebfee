"""The whole adaptation: embeddings, the new layer, its accuracy on held-out clips, the new file and its proof."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge_asc.adaptation.base import Base, relabel
from edge_asc.adaptation.fitting import REGULARISATION, fit_layer
from edge_asc.adaptation.layer import IntegerLayer, OutputLayer, quantise_layer
from edge_asc.adaptation.material import Material
from edge_asc.adaptation.validation import HeldOut, Layer, count_confusions, hold_out
from edge_asc.contract import StreamContract
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.confusions import Confusions
from edge_asc.evaluation.logits import decide, stream_logits
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress
from edge_asc.provenance import Adaptation, Adapted, Measured

# Input levels at which each clip is run, dB; the first is that of the recordings.
LEVELS = (0.0, -15.0, -30.0)
# Largest difference between a float file and the layer in numpy, as a share of the largest logit.
TOLERANCE = 1e-4
# Between an int8 file and the same integers in numpy, in steps of the logits: kernels may round a half either way.
STEPS_APART = 1.01
# Least share of decisions in which an int8 file and the layer in float agree.
AGREEMENT = 0.9

Embeddings = Mapping[float, Sequence[Array]]
"""Embeddings of each clip by input level, dB."""


@dataclass(frozen=True, eq=False)
class Result:
    """An adapted artefact and its measurements.

    Attributes:
        data: the file.
        contract: the contract in it.
        held_out: clips judged by layers in float that were not fitted on them.
        held_out_file: the same, computed as the file computes.
        before: clips among these that the base decides correctly; None where it does not know all labels.
        fitted: decisions of the file on the clips that its layer was fitted on.
    """

    data: bytes
    contract: StreamContract
    held_out: HeldOut
    held_out_file: HeldOut
    before: int | None
    fitted: Confusions


def adapt(base: Base, material: Material, name: str, progress: Progress = SILENT) -> Result:
    """Return a copy of an artefact with an output layer for other labels, fitted on clips.

    Args:
        base: the artefact.
        material: the clips.
        name: of the new model.
        progress: one unit for each clip and level, and for each clip of the comparisons.

    Raises:
        EdgeAscError: fewer than two classes have clips, or the file does not compute what it should.
    """
    clips = material.inputs(base.contract)
    embeddings = {level: base.embed(clips, gain=level, progress=progress) for level in LEVELS}
    layer, file_layer = fit_both(base, material, embeddings, range(len(material.targets)))
    decision = base.contract.decision
    folds = progress.track(material.folds, "Cross-validating") if material.folds else ()
    pairs = [fit_both(base, material, embeddings, train) for train, _ in folds]
    held_out, held_out_file = (
        hold_out(material, [pair[part] for pair in pairs], embeddings[LEVELS[0]], decision) for part in (0, 1)
    )
    contract = make_contract(base, material, name, layer)
    temperature = held_out_file.choose_temperature()
    contract = replace(contract, temperature=temperature, unknown=held_out_file.choose_unknown(temperature))
    logits = stream_logits(base.open_copy(base.editor.replace(file_layer, contract)), clips, progress=progress)
    adapted = compare(logits, embeddings[LEVELS[0]], layer, file_layer)
    confusions = held_out_file.confusions
    measured = replace(adapted, held_out_clips=confusions.clips, held_out_right=confusions.right)
    contract = replace(contract, measured=Measured(adapted=measured))
    return Result(
        data=base.editor.replace(file_layer, contract),
        contract=contract,
        held_out=held_out,
        held_out_file=held_out_file,
        before=count_before(base, material, held_out.indices, progress),
        fitted=count_confusions(logits, material.targets, material.labels, decision),
    )


def fit_both(
    base: Base, material: Material, embeddings: Embeddings, indices: Sequence[int]
) -> tuple[OutputLayer, Layer]:
    """Return the layer that clips of these indices give, in float and as the file computes it."""
    clips = [clips[index] for clips in embeddings.values() for index in indices]
    targets = [material.targets[index] for _ in embeddings for index in indices]
    layer = fit_layer(clips, targets, len(material.labels))
    source = base.editor.site.source
    if source is None:
        return layer, layer
    logits = layer(np.concatenate(clips))
    return layer, quantise_layer(layer, source, float(logits.min()), float(logits.max()))


def make_contract(base: Base, material: Material, name: str, layer: OutputLayer) -> StreamContract:
    """Return the contract of the copy, without rules and measurements."""
    contract = relabel(base.contract, material.labels, base.editor.site)
    before = contract.provenance
    weights = hashlib.sha256(before.checkpoint_sha256.encode() + layer.weight.tobytes() + layer.bias.tobytes())
    adaptation = Adaptation(
        base=base.contract.name,
        base_sha256=base.contract.file_sha256,
        base_checkpoint_sha256=before.checkpoint_sha256,
        data=material.name,
        clips=len(material.targets),
        clips_sha256=material.digest,
        levels_db=LEVELS,
        regularisation=REGULARISATION,
    )
    provenance = replace(before, checkpoint_sha256=weights.hexdigest(), adaptation=adaptation)
    return replace(contract, name=name, provenance=provenance)


def compare(logits: Sequence[Array], embeddings: Sequence[Array], layer: OutputLayer, file_layer: Layer) -> Adapted:
    """Compare the logits of a file with those that its layer and the layer in float give for the embeddings.

    Raises:
        EdgeAscError: they differ by more than rounding.
    """
    actual, inputs = np.concatenate(logits), np.concatenate(embeddings)
    expected, exact = file_layer(inputs), layer(inputs)
    is_integer = isinstance(file_layer, IntegerLayer)
    limit = (
        STEPS_APART * file_layer.output.scale
        if isinstance(file_layer, IntegerLayer)
        else TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0.0)))
    )
    difference = float(np.abs(actual - expected).max(initial=0.0))
    if not difference <= limit:
        raise EdgeAscError(
            f"the new file's logits differ from its output layer in numpy by {difference:.3g}; expected at most "
            f"{limit:.3g}: nothing was written. Try the artefact in the other format"
        )
    agreement = float((actual.argmax(axis=1) == exact.argmax(axis=1)).mean())
    if is_integer and agreement < AGREEMENT:
        raise EdgeAscError(
            f"the new int8 file and its output layer in float agree in {agreement:.1%} of {len(actual)} decisions; "
            f"expected {AGREEMENT:.0%}: nothing was written. Adapt a float artefact instead"
        )
    return Adapted(
        held_out_clips=0,
        held_out_right=0,
        steps=len(actual),
        agreement=agreement,
        max_error=float(np.abs(actual - exact).max(initial=0.0)),
    )


def count_before(base: Base, material: Material, indices: Sequence[int], progress: Progress = SILENT) -> int | None:
    """Return how many clips of these indices the base decides correctly; None where it lacks a label."""
    known = base.contract.labels
    if not set(material.labels) <= set(known):
        return None
    clips = material.inputs(base.contract)
    logits = stream_logits(base.runtime, [clips[index] for index in indices], progress=progress)
    right = 0
    for clip, index in zip(logits, indices, strict=True):
        decided = known[decide(clip, base.contract.decision)[-1]] if len(clip) else ""
        right += decided == material.labels[material.targets[index]]
    return right
