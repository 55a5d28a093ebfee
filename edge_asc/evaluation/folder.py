"""Models on a folder of labelled recordings: their accuracy, and their decision on each clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_asc.data.recordings import Recordings
from edge_asc.evaluation.document import Evaluation
from edge_asc.evaluation.models import measure_models, open_models
from edge_asc.evaluation.predictions import Predictions
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.zoo import DEFAULT

# Seconds since a reset at which accuracy is measured.
LENGTHS = tuple(range(1, 11))


def evaluate_folder(
    folder: str | Path,
    models: Sequence[str | Path] = (DEFAULT,),
    *,
    lengths: Sequence[int] = LENGTHS,
    fold: int | None = None,
    gain: float = 0.0,
    progress: Progress = SILENT,
) -> Evaluation:
    """Stream every clip of a folder from a reset through each model, and compare the decisions with the labels.

    This is what `edge-asc evaluate` does. A checkpoint needs `edge-asc[train]`, an artefact its runtime alone.

    Args:
        folder: labelled recordings in any layout that `edge-asc data` understands, such as a folder for each class.
        models: artefacts, bundles, checkpoints or names of pretrained models. Each model is compared with the first one
            of its form, causal or windowed. Every label of the folder must be one of every model.
        lengths: whole seconds since a reset, 1 to 3600, at which the last decision counts. Shorter clips are left out.
        fold: number of a fold, whose held-out clips alone are evaluated; None for all clips.
        gain: input gain, dB.
        progress: receives a phase for the features and for each model.

    Returns:
        `results` has an `Accuracy` for each model, in the order of `models`: shares from 0 to 1 with 95 % intervals.
        `predictions` has the decision on each clip. `to_json()` gives the document that `edge-asc report` reads.

    Raises:
        DatasetError: the folder is in no known layout, is damaged, or has no such fold.
        ContractError: a model cannot be opened.
        MissingExtraError: the engine of a model is not installed.
        EdgeAscError: no clip is long enough, or a model does not know a label of the folder.

    Examples:
        >>> from edge_asc import evaluate_folder
        >>> evaluation = evaluate_folder("my-sounds", ["runs/my-sounds"], lengths=[1])
        >>> after_1_s = evaluation.results[0].at(1)
        >>> print(f"right after 1 s: {after_1_s.right} of {after_1_s.count} clips")  # doctest: +ELLIPSIS
        right after 1 s: ... of 6 clips
    """
    names = [str(model) for model in models]
    runtimes = open_models(names)
    recordings = Recordings.open(Path(folder), fold, progress)
    return evaluate_recordings(recordings, names, runtimes, lengths, gain=gain, progress=progress)


def evaluate_recordings(
    recordings: Recordings,
    models: Sequence[str],
    runtimes: Sequence[tuple[str, Runtime]],
    lengths: Sequence[int],
    *,
    gain: float = 0.0,
    progress: Progress = SILENT,
) -> Evaluation:
    """Evaluate opened models on some recordings of a data set; see `evaluate_folder`.

    Args:
        recordings: clips of a data set.
        models: as a user names them.
        runtimes: name and engine of each, as `open_models` returns them.
        lengths: seconds since a reset.
        gain: input gain, dB.
        progress: receives a phase for the features and for each model.

    Raises:
        EdgeAscError: as `measure_models` does.
    """
    results = measure_models(recordings, models, runtimes, lengths, gain=gain, progress=progress)
    folds = [recordings.fold] * len(recordings.clips)
    predictions = [
        Predictions.of(result.model, result.ends, recordings.clips, folds) for result in results if result.ends
    ]
    dataset = recordings.dataset
    return Evaluation(dataset.name, dataset.root, recordings.fold, tuple(results), tuple(predictions))
