"""Training on a folder of recordings: from the folder to a checkpoint with ranges, evaluation and card."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edge_asc.data.cache import FeatureCache, default_cache
from edge_asc.data.dataset import OTHER, Dataset
from edge_asc.data.own import name_model, prepare_own
from edge_asc.data.preparation import TAU, Prepared, Settings
from edge_asc.errors import ExportError
from edge_asc.frontend import FrontEnd
from edge_asc.models import CRNN, ModelConfig, build
from edge_asc.output import claim_folder
from edge_asc.training.card import CARDS, find_card_path, write_card
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.training.compute import Compute
from edge_asc.training.listener import Listener
from edge_asc.training.recipe import RECIPES, Recipe
from edge_asc.training.recorder import RECORDERS, Record
from edge_asc.training.run import Run, cross_validate, train
from edge_asc.training.state import OUTPUT_BYTES, check_folder
from edge_asc.zoo import START, find_checkpoint

# The recorder of activation ranges.
RANGES = "ranges"


def train_on_folder(
    folder: str | Path,
    output: str | Path,
    *,
    start: str | Path = START,
    settings: Mapping[str, object] | None = None,
    resume: bool = False,
    listener: Listener | None = None,
) -> Checkpoint:
    """Give a pretrained model a new last layer for the classes of a folder, and write the checkpoint.

    This is what `edge-asc train FOLDER` does without other options. Folds are made where the folder has none. Fewer
    than 2,000 clips are cross-validated: each clip is judged by a model that has not seen its recording, and the last
    model is trained on all clips. More clips: fold 1 is held out. It needs `edge-asc[train]`, and computes on the CPU.

    Args:
        folder: labelled recordings in any layout that `edge-asc data` understands, such as a folder for each class.
        output: folder for the checkpoint, its model card, `log.csv` and `held_out.json`.
        start: checkpoint or name of a pretrained model, whose backbone and sizes are kept.
        settings: of the recipe, by name, such as `{"seed": 1, "head.views": 4}`: what `edge-asc train --set` takes.
        resume: continue an interrupted training in `output`, or load the one that is finished there.
        listener: receives progress, and every epoch; None for nobody.

    Returns:
        The checkpoint: `labels`, `model` (PyTorch), and `evaluation`, the accuracy on held-out clips by level, in dB,
        and length, in s. `edge_asc_export.export_checkpoint(output, ...)` makes artefacts of it.

    Raises:
        DatasetError: the folder is in no known layout, or something is wrong with it; the message lists everything.
        ContractError: there is no such start.
        OutputError: `output` cannot be written, holds files that are not a training's, or another process uses it.
        EdgeAscError: `output` holds a training and `resume` is False, or a setting is unknown or out of range.

    Examples:
        >>> from edge_asc import train_on_folder
        >>> checkpoint = train_on_folder("my-sounds", "runs/my-sounds", settings={"head.views": 4})
        >>> print(", ".join(checkpoint.labels))
        doorbell, kettle, other
        >>> after_1_s = checkpoint.evaluation["levels_db"]["0"]["lengths"][0]
        >>> print(f"accuracy after 1 s: {after_1_s['accuracy']:.0%}")  # doctest: +ELLIPSIS
        accuracy after 1 s: ...%
    """
    output, listener = Path(output), listener or Listener()
    initial = find_checkpoint(start)
    with claim_folder(output, OUTPUT_BYTES):
        check_folder(output, resume=resume)
        find_card_path(output)
        run = _make_run(Dataset.open(Path(folder)), output, initial, settings or {}, listener)
        return run_training(run, listener, cross_validated=run.fold is None and bool(run.dataset.folds), resume=resume)


def _make_run(dataset: Dataset, output: Path, initial: Path, settings: Mapping[str, object], listener: Listener) -> Run:
    """Prepare a data set, and return the training of a model's last layer on it."""
    config = Checkpoint.load(initial).model.config
    recipe = _choose_recipe(config, settings, dataset)
    if dataset.layout == TAU:
        dataset.check(listener)
        prepared = Prepared(dataset, {})
    else:
        prepared = prepare_own(dataset, Settings(seed=recipe.seed), output, FrontEnd(mels=config.mels), listener)
    dataset = prepared.dataset
    return Run(
        dataset=dataset,
        config=replace(config, classes=len(dataset.labels)),
        recipe=recipe,
        output=output,
        initial=initial,
        fold=None if prepared.is_cross_validated else next(iter(dataset.folds), None),
        name=name_model(dataset, "own"),
    )


def _choose_recipe(config: ModelConfig, settings: Mapping[str, object], dataset: Dataset) -> Recipe:
    """Return the recipe that trains the last layer of a model."""
    staged = RECIPES["staged"]
    recipe = (staged.for_linear_head() if config.head == "linear" else staged).override(settings)
    if OTHER in dataset.labels:
        recipe = recipe.for_other(settings)
    return recipe.only(("head",))


def run_training(
    run: Run, listener: Listener, *, cross_validated: bool, resume: bool, compute: Compute | None = None
) -> Checkpoint:
    """Train a model, or one for each fold and a last one on all clips; record its ranges and write its card.

    Raises:
        EdgeAscError: as `edge_asc.training.run.train` and `cross_validate`.
    """
    compute = compute or Compute()
    cache = FeatureCache(default_cache(), FrontEnd(mels=run.config.mels))
    record = find_recorder(run.config, listener)
    function = cross_validate if cross_validated else train
    checkpoint = function(run, cache, listener, resume=resume, record=record, compute=compute)
    if compute.is_main_process:
        path = write_card(checkpoint, run.output)
        if path.name != CARDS[0]:
            listener.note(f"{run.output / CARDS[0]} is not edge-asc's: the model card is {path.name}")
    return checkpoint


def find_recorder(config: ModelConfig, listener: Listener) -> Record | None:
    """Return what records activation ranges, registered by the package that exports; None where it cannot."""
    if RANGES not in RECORDERS.names():
        listener.note("activation ranges are not recorded: the export package is not installed")
        return None
    recorder, model = RECORDERS.load(RANGES), build(config)
    try:
        if isinstance(model, CRNN):
            recorder.check(model)
    except ExportError as error:
        listener.note(f"warning: this model can be trained, and not exported: {error}")
        return None
    return recorder.record
