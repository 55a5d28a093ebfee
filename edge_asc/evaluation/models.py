"""Several models on the clips of a data set: names, engines, results side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_asc.data.dataset import Clip
from edge_asc.data.recordings import Recordings
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import Accuracy
from edge_asc.evaluation.checkpoints import WholeClipRuntime
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint, read_metadata
from edge_asc.training.leakage import trained_on
from edge_asc.zoo import locate_model


def checkpoint_folder(model: str) -> Path | None:
    """Return the folder of a checkpoint or of a pretrained model; None for an artefact or a bundle."""
    path = locate_model(model)
    return path if path is not None and is_checkpoint(path) else None


def name_models(models: Sequence[str], names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Return a name for each model, and the model.

    A name is the one in `names`, or the last part of the model's path; where two are equal, as many parts as make them
    differ.
    """
    names = names or [Path(model).name for model in models]
    count = Counter(names)
    equal = [Path(model).parts for name, model in zip(names, models, strict=True) if count[name] > 1]
    depth = next((n for n in range(1, 100) if len({parts[-n:] for parts in equal}) == len(equal)), None)
    longer = [str(Path(*Path(model).parts[-depth:])) if depth else model for model in models]
    triples = zip(names, longer, models, strict=True)
    return [(name if count[name] == 1 else long, model) for name, long, model in triples]


def leakage_notes(models: Sequence[str], clips: Sequence[Clip], digests: Sequence[str] = ()) -> list[str]:
    """Return a note for each checkpoint that was trained on some of the clips: its accuracy on them means little.

    Args:
        models: artefacts, bundles, checkpoints or pretrained models.
        clips: that they are evaluated on.
        digests: SHA-256 of the file of each clip; empty compares names alone.
    """
    notes = []
    for name, model in name_models(models):
        path = checkpoint_folder(model)
        if path is None:
            continue
        if count := trained_on(read_metadata(path)["training"], [clip.filename for clip in clips], digests):
            notes.append(
                f"{name} was trained on {count} of these {len(clips)} clips: accuracy here shows how similar the "
                "models are, not how good; the checkpoint's card has the accuracy on held-out clips"
            )
    return notes


def open_models(models: Sequence[str], threads: int = 1, *, whole_clip: bool = False) -> list[tuple[str, Runtime]]:
    """Open models; return a name and an engine for each.

    With `whole_clip`, each causal checkpoint also comes in one pass over whole clips, just before itself.

    Raises:
        EdgeAscError: a model cannot be opened, or `whole_clip` and none is a causal checkpoint.
    """
    runtimes: list[tuple[str, Runtime]] = []
    for name, model in name_models(models):
        runtime = open_runtime(model, threads=threads)
        if whole_clip and (folder := checkpoint_folder(model)) and runtime.contract.form == "causal":
            runtimes.append((f"{name}, whole clip", WholeClipRuntime(Checkpoint.load(folder), threads)))
        runtimes.append((name, runtime))
    if whole_clip and len(runtimes) == len(models):
        raise EdgeAscError("an evaluation of whole clips needs a causal checkpoint; got none among the models")
    return runtimes


def measure_models(
    recordings: Recordings,
    models: Sequence[str],
    runtimes: Sequence[tuple[str, Runtime]],
    lengths: Sequence[int],
    *,
    gain: float = 0.0,
    progress: Progress = SILENT,
) -> list[Accuracy]:
    """Evaluate opened models on recordings; models of each form are compared with the first of that form.

    Notes of the first result name those of `models` that were trained on some of the clips.

    Raises:
        EdgeAscError: a clip cannot be read, or as `evaluate` does.
    """
    features = recordings.features(runtimes[0][1].contract.front_end, progress)
    notes = leakage_notes(models, recordings.clips, features.digests)
    samples = recordings.samples(runtimes[0][1].contract.front_end.sample_rate)
    clips = LabelledClips(features, recordings.targets, recordings.dataset.labels, samples)
    by_model: dict[str, Accuracy] = {}
    for form in dict.fromkeys(runtime.contract.form for _, runtime in runtimes):
        same_form = [(name, runtime) for name, runtime in runtimes if runtime.contract.form == form]
        results = evaluate(same_form, clips, lengths, gain=gain, progress=progress)
        by_model |= {result.model: result for result in results}
    results = [by_model[name] for name, _ in runtimes]
    return [replace(result, notes=(*result.notes, *notes)) if i == 0 else result for i, result in enumerate(results)]
