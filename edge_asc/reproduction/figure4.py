"""The paper's Figure 4: recall at each step of a stream, by window length, with and without carried hidden states."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc import audio
from edge_asc.contract import StreamContract
from edge_asc.data import FeatureCache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.logits import Indices, decide, stream_logits
from edge_asc.evaluation.windows import PERIOD, stream_recordings
from edge_asc.frontend import Array
from edge_asc.runtime import Runtime
from edge_asc.streaming import Carry

KIND = "figure4"
# 1: first version.
SCHEMA_VERSION = 1
CARRIES: tuple[Carry, ...] = ("final", "aligned", "none")

Track = Callable[[Sequence[Clip], str], Iterable[Clip]]
Hits = dict[tuple[int | None, str], npt.NDArray[np.bool_]]
"""Which decisions are right, (clips, steps), by window length (None for a causal model) and carry mode."""


def figure(
    models: Sequence[tuple[str, Sequence[Runtime]]],
    dataset: Dataset,
    clips: Sequence[Clip],
    cache: FeatureCache,
    lengths: Sequence[int],
    carries: Sequence[Carry] = CARRIES,
    track: Track = lambda clips, _: clips,
) -> dict[str, Any]:
    """The curves of each model as JSON.

    Of a windowed model there is a curve for each length and carry mode, over windows that begin every 0.25 s (paper,
    3.3); of a causal one a single curve over its steps, the hidden state and the caches carried on, which is our
    addition. `recall` is the share of right decisions among the clips that the same model classifies rightly from all
    of the audio, over all labels together (the paper does not say how it averages); `macro_recall` is the mean over
    labels, and `accuracy` the share among all clips.

    Args:
        models: name and engines, several where a model was trained with several seeds: their decisions are pooled,
            each counting on the clips that it has right itself.
        clips: those of `dataset` that are streamed; the ones that are shorter than the longest length are left out.
        cache: for the features of causal models.
        lengths: of windows, s; those that less than half of the clips reach are left out.
        carries: modes of windowed models; one that an artefact does not have is left out with a note.
        track: goes through clips and shows progress under a title.

    Raises:
        EdgeAscError: no clip is long enough, a label of the data is unknown to a model, or a windowed one has no window
            of the longest length, or none of the carry modes.
    """
    seconds_of = {clip.filename: audio.duration(dataset.path(clip)) for clip in clips}
    # Those that at least half of the clips reach: one long recording must not leave out all others.
    longest = sorted(seconds_of.values())[len(clips) // 2] if clips else 0.0
    reached = [length for length in sorted(set(lengths)) if length <= longest]
    if not reached:
        raise EdgeAscError(f"less than half of the clips are {min(lengths)} s long; ask for a shorter length")
    full = reached[-1]
    heard = [clip for clip in clips if seconds_of[clip.filename] >= full]
    found = []
    for name, runtimes in models:
        contract = runtimes[0].contract
        causal = contract.form == "causal"
        possible, offered, notes = ([], [], []) if causal else _possible(name, contract, carries, reached)
        parts = []
        for runtime in runtimes:
            targets = _targets(name, runtime, heard)
            if causal:
                hits = _step_hits(runtime, dataset, heard, cache, full, targets)
            else:
                samples = _samples(dataset, track(heard, f"{name}, windows"), contract.front_end.sample_rate)
                logits = stream_recordings(runtime, samples, full, offered, possible, PERIOD)
                hits = {key: rows.argmax(2) == targets[:, None] for key, rows in logits.items()}
            parts.append((targets, hits))
        found.append(
            {
                "name": name,
                "engine": runtimes[0].engine,
                "seeds": len(runtimes),
                "form": contract.form,
                "backbone": contract.backbone,
                "output": contract.output,
                "scheme": contract.scheme,
                **_pooled(parts, full, contract),
                "notes": notes,
            }
        )
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "data": dataset.name,
        "clips": len(heard),
        "left_out": len(clips) - len(heard),
        "seconds": full,
        "period": PERIOD,
        "models": found,
    }


def _targets(name: str, runtime: Runtime, clips: Sequence[Clip]) -> Indices:
    labels = runtime.contract.labels
    if unknown := sorted({clip.label for clip in clips} - set(labels)):
        raise EdgeAscError(f"{name} does not know {', '.join(unknown)}; it was trained on {', '.join(labels)}")
    return np.array([labels.index(clip.label) for clip in clips], np.intp)


def _possible(
    name: str, contract: StreamContract, carries: Sequence[Carry], lengths: Sequence[int]
) -> tuple[list[Carry], list[int], list[str]]:
    """The carry modes and window lengths that a windowed model has, and notes of those that it has not."""
    full, notes = lengths[-1], []
    if full not in contract.windows:
        raise EdgeAscError(
            f"{name} has no window of {full} s, the length that decides which clips count; "
            f"it offers {', '.join(map(str, contract.windows))} s"
        )
    offered = [length for length in lengths if length in contract.windows]
    if missing := [str(length) for length in lengths if length not in offered]:
        notes.append(f"{name} has no window of {', '.join(missing)} s")
    inside = any(signature.name == "gru" for signature in contract.signatures)
    possible = [carry for carry in carries if carry != "aligned" or inside]
    if len(possible) < len(carries):
        reason = f"{name} does not give out the state inside a window, which 'aligned' carries on"
        if not possible:
            raise EdgeAscError(
                f"{reason}; add --carry final or --carry none, or give the TFLite artefact or the checkpoint"
            )
        notes.append(reason)
    return possible, offered, notes


def _samples(dataset: Dataset, clips: Iterable[Clip], sample_rate: int) -> Iterator[Array]:
    return (audio.read(dataset.path(clip), sample_rate) for clip in clips)


def _step_hits(
    runtime: Runtime, dataset: Dataset, clips: Sequence[Clip], cache: FeatureCache, seconds: int, targets: Indices
) -> Hits:
    step = runtime.contract.signature("step")
    frames = seconds * runtime.contract.front_end.sample_rate // step.samples * step.frames
    features = [clip[:frames] for clip in cache.features(dataset, clips)]
    decided = np.stack([decide(logits, "last") for logits in stream_logits(runtime, features)])
    return {(None, "exact"): decided == targets[:, None]}


def _pooled(parts: Sequence[tuple[Indices, Hits]], full: int, contract: StreamContract) -> dict[str, Any]:
    """What counts, and the curve of each length and mode, over all seeds."""
    causal = contract.form == "causal"
    step = contract.signature("step").samples / contract.front_end.sample_rate if causal else PERIOD
    targets = np.concatenate([own for own, _ in parts])
    hits = {key: np.concatenate([found[key] for _, found in parts]) for key in parts[0][1]}
    # All windows of the full length start from zeros, whatever the mode: there is one of them.
    right = next(found[:, -1] for (length, _), found in hits.items() if length in (None, full))
    curves = [
        {
            "seconds": length,
            "carry": carry,
            "times": [round((length or step) + step * i, 6) for i in range(found.shape[1])],
            **_shares(found, right, targets),
        }
        for (length, carry), found in hits.items()
    ]
    whole = {"count": len(right), "right": int(right.sum()), "accuracy": float(right.mean())}
    return {"whole": whole, "curves": curves}


def _shares(hits: npt.NDArray[np.bool_], counted: npt.NDArray[np.bool_], targets: Indices) -> dict[str, Any]:
    """Shares of right decisions at each step."""
    by_class = [hits[counted & (targets == label)].mean(0) for label in np.unique(targets[counted])]
    return {
        "recall": hits[counted].mean(0).tolist() if by_class else None,
        "macro_recall": np.mean(by_class, axis=0).tolist() if by_class else None,
        "accuracy": hits.mean(0).tolist(),
    }
