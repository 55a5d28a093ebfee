"""`edge-asc reproduce`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from edge_asc.cli.console import (
    ConsoleProgress,
    Lengths,
    json_option,
    log,
    out,
    print_json,
    quiet_option,
    threads_option,
)
from edge_asc.cli.output import OutputPath, save, save_json
from edge_asc.cli.training import chosen_recipe, compute_options, recipe_option, settings_option
from edge_asc.contract import STEP_FRAMES
from edge_asc.errors import EdgeAscError, require
from edge_asc.progress import Progress

if TYPE_CHECKING:
    from edge_asc.contract import Form
    from edge_asc.data import Dataset, FeatureCache
    from edge_asc.data.recordings import Recordings
    from edge_asc.reproduction.executor import Executor
    from edge_asc.reproduction.figure3 import Figure3
    from edge_asc.reproduction.figure4 import Figure4
    from edge_asc.reproduction.grid import Unit
    from edge_asc.reproduction.table1 import Table1
    from edge_asc.streaming import Carry
    from edge_asc.training.compute import Precision
    from edge_asc.training.recipe import Recipe

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def models_option(text: str) -> Decorator:
    """`--model`, at least one."""
    return click.option("--model", "models", multiple=True, required=True, help=text)


data_argument = click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))

fold_option = click.option(
    "--fold", type=click.IntRange(0), default=1, show_default=True, help="Fold to evaluate; 0 for all clips."
)
output_option = click.option("--output", type=OutputPath(folder=True), help="Folder for the JSON, the SVG and a page.")


@click.group("reproduce", short_help="The paper's table and figures, on your data.")
def command() -> None:
    """Repeat the experiments of Choi & Chang (Interspeech 2022) on a data set in TAU layout."""


@command.command("table1")
@data_argument
@click.option(
    "--output",
    required=True,
    type=OutputPath(folder=True),
    help="Folder of checkpoints and table1.json; the same command resumes what was interrupted.",
)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(1, 1000), help="Trainings of each system.")
@click.option(
    "--subset",
    "subsets",
    multiple=True,
    metavar="BACKBONE[:VARIANT,...]",
    help="Only these rows, such as fuse or bcresnet:multi,multi-aux; may be repeated.",
)
@click.option("--fold", "folds", multiple=True, type=int, default=(1,), show_default=True, help="May be repeated.")
@click.option("--form", type=click.Choice(["windowed", "causal"]), default="windowed", show_default=True)
@recipe_option
@settings_option
@click.option("--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True)
@click.option("--licence", "licences", multiple=True, help="Train only on clips of this licence; may be repeated.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Processes here, or a Ray cluster: the one at RAY_ADDRESS, or one started here.",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 1024), help="Local trainings at a time.")
@click.option("--gpus", type=click.FloatRange(0), help="Share of a GPU for each training on Ray [default: all].")
@compute_options
@threads_option
@quiet_option
@json_option
def table1(
    data: Path,
    output: Path,
    seeds: int,
    subsets: tuple[str, ...],
    folds: tuple[int, ...],
    form: Form,
    recipe: str,
    settings: dict[str, Any],
    dropout: float,
    licences: tuple[str, ...],
    engine: Literal["local", "ray"],
    jobs: int,
    gpus: float | None,
    device: str,
    precision: Precision | Literal["auto"],
    num_workers: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Train every system of Table 1 with every seed, and test it on whole clips and on a random 1 s crop of each.

    The recipe is the paper's, on whole clips. Every training is saved after each epoch: the same command resumes a grid
    that was interrupted, and a command with more seeds or rows uses what is there.
    """
    require("torch", "train")
    from torch import distributed

    from edge_asc.data import Dataset
    from edge_asc.data.cache import default_cache
    from edge_asc.reproduction import grid as grids
    from edge_asc.reproduction import table1 as tables
    from edge_asc.training.compute import find_device

    if distributed.is_torchelastic_launched():
        raise click.UsageError("torchrun shares one training among processes; give a grid --jobs, or --engine ray")
    units = tables.list_units(subsets, form, tuple(dict.fromkeys(folds)), range(seeds))
    chosen = chosen_recipe(recipe, settings)
    if engine == "local":
        find_device(device)
    progress = ConsoleProgress()
    dataset = Dataset.open(data)
    dataset.check(progress)
    grid = grids.Grid(
        data=data.resolve(),
        output=output.resolve(),
        cache=default_cache().resolve(),
        recipe=_fit_to_whole_clips(chosen, settings, _find_longest(dataset, folds, progress)),
        dropout=dropout,
        licences=licences,
        device=device,
        precision=precision,
        num_workers=num_workers,
        threads=threads,
    )
    results, failures = grids.run(grid, units, _make_executor(engine, jobs, gpus), progress)
    if results:
        _write_table(tables.make_table(grid, results, dataset.name, failures), output, as_json=as_json)
    _raise_failures(failures, len(units))


def _make_executor(engine: str, jobs: int, gpus: float | None) -> Executor:
    from edge_asc.reproduction.executor import LocalExecutor, RayExecutor

    return RayExecutor(gpus) if engine == "ray" else LocalExecutor(jobs)


def _raise_failures(failures: Mapping[Unit, str], count: int) -> None:
    if failures:
        reasons = "\n".join(f"  {unit.path}: {reason}" for unit, reason in failures.items())
        raise EdgeAscError(f"{len(failures)} of {count} trainings failed:\n{reasons}")


@command.command("figure4")
@data_argument
@models_option(
    "Windowed or causal: checkpoint, artefact, bundle, pretrained model, or a folder of `table1` such as "
    "RUNS/fuse-windowed-multi-aux/fold1, whose seeds are pooled; may be repeated."
)
@click.option("--lengths", type=Lengths(), default="1-10", show_default=True, help="Seconds of a window.")
@click.option(
    "--carry",
    "carries",
    multiple=True,
    type=click.Choice(["final", "aligned", "none"]),
    default=("final", "aligned", "none"),
    show_default=True,
    help="The state that a window starts from; may be repeated.",
)
@fold_option
@output_option
@click.option("--device", default="cpu", show_default=True, help="Where checkpoints run: cpu, cuda or cuda:N.")
@threads_option
@quiet_option
@json_option
def figure4(
    data: Path,
    models: tuple[str, ...],
    lengths: tuple[int, ...],
    carries: tuple[Carry, ...],
    fold: int,
    output: Path | None,
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Recall at each step of a stream: windows of 1-10 s every 0.25 s, with and without carried hidden states.

    Only clips count that the same model classifies rightly from all of the audio. A causal model's curve, step by step
    with its caches, is our addition.
    """
    require("torch", "train")
    from edge_asc.evaluation.models import leakage_notes
    from edge_asc.reproduction import figure4 as figures
    from edge_asc.reproduction.members import list_members, open_member
    from edge_asc.reproduction.tables import tabulate_figure4
    from edge_asc.training.compute import find_device

    device, progress = find_device(device), ConsoleProgress()
    recordings = _open_recordings(data, fold, progress)
    members = list_members(models)
    opened = [(name, [open_member(seed, threads, device) for seed in seeds]) for name, seeds in members]
    windows = figures.Windows(lengths, carries)
    figure = figures.make_figure(opened, recordings.dataset, recordings.clips, _open_cache(), windows, progress)
    with_notes = tuple(
        replace(model, notes=(*model.notes, *leakage_notes(seeds, recordings.clips)))
        for model, (_, seeds) in zip(figure.models, members, strict=True)
    )
    figure = replace(figure, models=with_notes, fold=fold)
    _write_figure(figure, output, as_json=as_json)
    if not as_json:
        for table in tabulate_figure4(figure):
            out.print(table)


@command.command("figure3")
@data_argument
@models_option("Checkpoint or pretrained model; may be repeated, such as with and without the auxiliary stream.")
@click.option("--points", type=click.IntRange(10, 20000), default=1000, show_default=True, help="Steps to draw.")
@click.option("--perplexity", type=click.FloatRange(1, 1000), default=30.0, show_default=True, help="Of t-SNE.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@fold_option
@output_option
@threads_option
@quiet_option
@json_option
def figure3(
    data: Path,
    models: tuple[str, ...],
    points: int,
    perplexity: float,
    seed: int,
    fold: int,
    output: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """t-SNE maps of embeddings and hidden states after every step, with and without the auxiliary stream."""
    require("torch", "train").set_num_threads(threads)
    from edge_asc.evaluation.models import leakage_notes, name_models
    from edge_asc.reproduction import figure3 as figures
    from edge_asc.reproduction.members import model_name
    from edge_asc.reproduction.tables import tabulate_figure3
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc.zoo import locate_model

    progress = ConsoleProgress()
    recordings = _open_recordings(data, fold, progress)
    names = name_models(models, list(map(model_name, models)))
    loaded = [(name, Checkpoint.load(locate_model(model) or model)) for name, model in names]
    for note in leakage_notes(models, recordings.clips):
        log.print(note)
    settings = figures.MapSettings(points, perplexity, seed)
    figure = figures.make_figure(loaded, recordings.dataset, recordings.clips, _open_cache(), settings, progress)
    figure = replace(figure, fold=fold)
    _write_figure(figure, output, as_json=as_json)
    if not as_json:
        out.print(tabulate_figure3(figure))


def _open_recordings(data: Path, fold: int, progress: Progress) -> Recordings:
    """The held-out clips of a fold; all clips for fold 0."""
    from edge_asc.data.recordings import Recordings

    return Recordings.open(data, fold or None, progress)


def _open_cache() -> FeatureCache:
    from edge_asc.data import FeatureCache
    from edge_asc.data.cache import default_cache
    from edge_asc.frontend import FrontEnd

    return FeatureCache(default_cache(), FrontEnd())


def _find_longest(dataset: Dataset, folds: Sequence[int], progress: Progress) -> int:
    """Frames of the longest clip of the folds; all features are computed here, once, before trainings need them."""
    from edge_asc.data.dataset import Part

    parts = [dataset.split(fold, part) for fold in folds for part in get_args(Part)]
    clips = dict.fromkeys(clip for part in parts for clip in part)
    return max(map(len, _open_cache().features(dataset, clips, progress)))


def _fit_to_whole_clips(recipe: Recipe, settings: Mapping[str, object], longest: int) -> Recipe:
    """The recipe on whole clips, unless the user sets their length; `longest` is in frames."""
    from edge_asc.training.recipe import PAPER

    whole = not any(name.endswith("frames") for name in settings) and recipe.stages[0].frames == PAPER.stages[0].frames
    return recipe.override({"frames": [longest // STEP_FRAMES * STEP_FRAMES] * 2}) if whole else recipe


def _write_table(table: Table1, output: Path, *, as_json: bool) -> None:
    from edge_asc.reproduction.tables import tabulate_table1

    document = {"kind": table.kind, **asdict(table)}
    save_json(output / "table1.json", document)
    if as_json:
        print_json(document)
        return
    for shown in tabulate_table1(table):
        out.print(shown)
    log.print(f"written to {output / 'table1.json'}")


def _write_figure(figure: Figure3 | Figure4, output: Path | None, *, as_json: bool) -> None:
    """Write a figure as JSON, and as a picture and a page beside it."""
    require("jinja2", "bench")
    from edge_asc.reproduction.figure3 import Figure3
    from edge_asc_bench import page
    from edge_asc_bench.drawing import standalone
    from edge_asc_bench.figures import recall_curves, state_maps

    document = {"kind": figure.kind, **asdict(figure)}
    if output is not None:
        path = output / f"{figure.kind}.json"
        save_json(path, document)
        svg = state_maps(figure) if isinstance(figure, Figure3) else recall_curves(figure)
        save(path.with_suffix(".svg"), standalone(svg).encode())
        save(path.with_suffix(".html"), page.to_html(page.load([path])).encode(errors="backslashreplace"))
        log.print(f"written to {output}/{figure.kind}.json, .svg and .html")
    if as_json:
        print_json(document)
