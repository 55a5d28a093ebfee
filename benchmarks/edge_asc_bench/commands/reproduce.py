"""`edge-asc reproduce`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from edge_asc.cli.console import ConsoleProgress, Lengths, json_option, log, out, print_json, threads_option
from edge_asc.cli.training import chosen_recipe, compute_options, recipe_option, settings_option
from edge_asc.errors import EdgeAscError, require
from edge_asc.evaluation.models import checkpoint_folder, leakage_notes, name_models

if TYPE_CHECKING:
    from edge_asc.data import Dataset, FeatureCache
    from edge_asc.data.recordings import Recordings
    from edge_asc.reproduction.grid import Grid, Unit, Watcher
    from edge_asc.runtime import Runtime


def models_option(text: str) -> Callable[[Any], Any]:
    """`--model`, at least one."""
    return click.option("--model", "models", multiple=True, required=True, help=text)


data_argument = click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))

fold_option = click.option(
    "--fold", type=click.IntRange(0), default=1, show_default=True, help="Whose held-out clips are heard; 0 for all."
)
output_option = click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), help="Folder for the JSON, the SVG and a page."
)


@click.group("reproduce", short_help="The paper's table and figures, on your data.")
def command() -> None:
    """Repeat the experiments of Choi & Chang (Interspeech 2022) on a data set in TAU layout."""


@command.command("table1")
@data_argument
@click.option(
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of checkpoints and table1.json; the same command goes on where it was.",
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
@click.option("--gpus", type=click.FloatRange(0), help="Share of a GPU that a training takes on Ray [default: all].")
@compute_options
@threads_option
@json_option
def table1(
    data: Path,
    output: Path,
    seeds: int,
    subsets: tuple[str, ...],
    folds: tuple[int, ...],
    form: Any,
    recipe: str,
    settings: dict[str, Any],
    dropout: float,
    licences: tuple[str, ...],
    engine: Any,
    jobs: int,
    gpus: float | None,
    device: str,
    precision: Any,
    loaders: int | None,
    threads: int,
    as_json: bool,
) -> None:
    """Train every system of Table 1 with every seed, and test it on whole clips and on a random 1 s crop of each.

    The recipe is the paper's, on whole clips. Every training is saved after each epoch: an interrupted or killed grid
    goes on when the same command is given again, and one with more seeds or rows takes up what is there.
    """
    require("torch", "train")
    from torch import distributed

    from edge_asc.data import Dataset
    from edge_asc.data.cache import default_cache
    from edge_asc.files import write_json
    from edge_asc.reproduction import grid as grids
    from edge_asc.reproduction import table1 as tables
    from edge_asc.training.compute import found_device
    from edge_asc.training.recipe import PAPER

    if distributed.is_torchelastic_launched():
        raise click.UsageError("torchrun shares one training among processes; give a grid --jobs, or --engine ray")
    units = tables.units(subsets, form, tuple(dict.fromkeys(folds)), range(seeds))
    chosen = chosen_recipe(recipe, settings)
    if engine == "local":
        found_device(device)
    dataset = Dataset.open(data)
    dataset.check(ConsoleProgress())
    longest = _longest(dataset, folds)
    if "frames" not in settings and chosen.frames == PAPER.frames:
        chosen = replace(chosen, frames=(longest // 8 * 8,) * 2)
    grid = grids.Grid(
        data=data.resolve(),
        output=output.resolve(),
        cache=default_cache().resolve(),
        recipe=chosen,
        dropout=dropout,
        licences=licences,
        device=device,
        precision=precision,
        loaders=loaders,
        threads=threads,
    )
    with _Shown(grid, units) as watcher:
        results, failures = grids.run(grid, units, watcher, engine=engine, jobs=jobs, gpus=gpus)
    if results:
        found = tables.table(grid, results, dataset.name, failures)
        write_json(output / "table1.json", found)
        if as_json:
            print_json(found)
        else:
            for shown in _tables(found):
                out.print(shown)
            log.print(f"written to {output / 'table1.json'}")
    if failures:
        reasons = "\n".join(f"  {unit.path}: {reason}" for unit, reason in failures.items())
        raise EdgeAscError(f"{len(failures)} of {len(units)} trainings failed:\n{reasons}")


@command.command("figure4")
@data_argument
@models_option(
    "Windowed or causal: checkpoint, artefact, bundle, zoo model, or a folder of `table1` such as "
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
@json_option
def figure4(
    data: Path,
    models: tuple[str, ...],
    lengths: tuple[int, ...],
    carries: tuple[Any, ...],
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
    from rich.progress import track

    from edge_asc.reproduction import figure4 as figures
    from edge_asc.training.compute import found_device

    device = found_device(device)
    recordings = _recordings(data, fold)
    members = _with_seeds(models)
    opened = [(name, [_runtime(seed, threads, device) for seed in seeds]) for name, seeds in members]
    found = figures.figure(
        opened,
        recordings.dataset,
        recordings.clips,
        _cache(),
        lengths,
        carries,
        track=lambda clips, title: track(clips, title, console=log, transient=True),
    )
    for model, (_, seeds) in zip(found["models"], members, strict=True):
        model["notes"] += leakage_notes(seeds, recordings.clips)
    _written({**found, "fold": fold}, output, as_json=as_json)


@command.command("figure3")
@data_argument
@models_option("Checkpoint or zoo model; may be repeated, such as with and without the auxiliary stream.")
@click.option("--points", type=click.IntRange(10, 20000), default=1000, show_default=True, help="Steps that are drawn.")
@click.option("--perplexity", type=click.FloatRange(1, 1000), default=30.0, show_default=True, help="Of t-SNE.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True)
@fold_option
@output_option
@threads_option
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
    from edge_asc.reproduction import figure3 as figures
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc.zoo import locate_model

    recordings = _recordings(data, fold)
    pairs = name_models(models, list(map(_name, models)))
    loaded = [(name, Checkpoint.load(locate_model(model) or model)) for name, model in pairs]
    for note in leakage_notes(models, recordings.clips):
        log.print(note)
    with log.status("mapping"):
        found = figures.figure(
            loaded,
            recordings.dataset,
            recordings.clips,
            _cache(),
            points=points,
            perplexity=perplexity,
            seed=seed,
        )
    _written({**found, "fold": fold}, output, as_json=as_json)


def _recordings(data: Path, fold: int) -> Recordings:
    """The held-out clips of a fold; all clips for fold 0."""
    from edge_asc.data.recordings import Recordings

    return Recordings.open(data, fold or None)


def _cache() -> FeatureCache:
    from edge_asc.data import FeatureCache
    from edge_asc.data.cache import default_cache
    from edge_asc.frontend import FrontEnd

    return FeatureCache(default_cache(), FrontEnd())


def _runtime(model: str, threads: int, device: str) -> Runtime:
    """A model in its engine; a checkpoint on `device`."""
    from edge_asc.engine import open_runtime
    from edge_asc.engines.pytorch import TorchRuntime
    from edge_asc.training.checkpoint import Checkpoint

    if folder := checkpoint_folder(model):
        return TorchRuntime(Checkpoint.load(folder), threads, device=device)
    return open_runtime(model, threads=threads)


def _with_seeds(models: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Name and members of each model: itself, or the checkpoints of all seeds in a folder that `table1` filled."""
    from edge_asc.training.checkpoint import is_checkpoint

    members, names = [], []
    for model in models:
        seeds = sorted((path for path in Path(model).glob("seed*") if is_checkpoint(path)), key=_seed)
        members.append(list(map(str, seeds)) or [model])
        pooled = f"{Path(model).resolve().parent.name}, {len(seeds)} seed{'s' * (len(seeds) > 1)}"
        names.append(pooled if seeds else _name(model))
    return [(name, seeds) for (name, _), seeds in zip(name_models(models, names), members, strict=True)]


def _name(model: str) -> str:
    """A checkpoint's own name, since its folder may be that of a seed; a file's."""
    from edge_asc.training.checkpoint import read_metadata

    folder = checkpoint_folder(model)
    return str(read_metadata(folder)["name"]) if folder else Path(model).name


def _seed(path: Path) -> int:
    digits = path.name.removeprefix("seed")
    return int(digits) if digits.isdecimal() else 0


def _written(found: dict[str, Any], output: Path | None, *, as_json: bool) -> None:
    """The figure as JSON, and as a picture and a page beside it."""
    require("jinja2", "bench")
    from edge_asc.files import write_bytes, write_json
    from edge_asc_bench import chart, report

    kind = found["kind"]
    if output is not None:
        draw = {"figure3": chart.state_maps, "figure4": chart.recall_curves}[kind]
        write_json(output / f"{kind}.json", found)
        write_bytes(output / f"{kind}.svg", chart.standalone(draw(found)).encode())
        write_bytes(output / f"{kind}.html", report.page(report.load([output / f"{kind}.json"])).encode())
        log.print(f"written to {output}/{kind}.json, .svg and .html")
    if as_json:
        print_json(found)
    elif kind == "figure4":
        for model in found["models"]:
            out.print(_curves(model, found))
    else:
        out.print(_silhouettes(found))


def _curves(model: dict[str, Any], found: dict[str, Any]) -> Table:
    """Recall and, in brackets, accuracy at the first and last step and on average, for each length and mode."""
    whole = model["whole"]
    table = Table(
        title=f"{model['name']}: recall, % (and accuracy), {whole['right']} of {whole['count']} clips of "
        f"{found['data']} right at {found['seconds']} s"
    )
    table.add_column("window")
    table.add_column("carried")
    for title in ("steps", "first", "mean", "last"):
        table.add_column(title, justify="right")
    for curve in model["curves"]:
        accuracy = curve["accuracy"]
        shown = [
            (values[0], sum(values) / len(values), values[-1])
            for values in (curve["recall"] or [math.nan] * len(accuracy), accuracy)
        ]
        cells = [f"{100 * share:.1f} ({100 * among_all:.1f})" for share, among_all in zip(*shown, strict=True)]
        window = f"{curve['seconds']} s" if curve["seconds"] else "step"
        table.add_row(window, curve["carry"], str(len(accuracy)), *cells)
    shorter = [f"{found['left_out']} shorter clips are left out"] if found["left_out"] else []
    table.caption = "; ".join([*shorter, *model["notes"]]) or None
    return table


def _silhouettes(found: dict[str, Any]) -> Table:
    """How well labels lie apart in each space."""
    heard = f"{len(found['label'])} steps of {found['clips']} clips of {found['data']}"
    table = Table(title=f"Silhouette of labels, {heard}")
    table.add_column("model")
    table.add_column("auxiliary")
    spaces = list(found["models"][0]["maps"])
    for what in spaces:
        table.add_column(what, justify="right")
    for model in found["models"]:
        values = [model["maps"][what]["silhouette"] for what in spaces]
        cells = ["–" if value is None else f"{value:.3f}" for value in values]
        table.add_row(model["name"], "yes" if model["auxiliary"] else "no", *cells)
    return table


def _longest(dataset: Dataset, folds: Sequence[int]) -> int:
    """Frames of the longest clip of the folds; all features are computed here, once, before trainings need them."""
    from edge_asc.data.dataset import Part

    parts = [dataset.split(fold, part) for fold in folds for part in get_args(Part)]
    clips = dict.fromkeys(clip for part in parts for clip in part)
    return max(map(len, _cache().features(dataset, clips)))


class _Shown:
    """Shows how a grid goes: a bar over the epochs of all trainings in a terminal, a line for each one's end."""

    def __init__(self, grid: Grid, units: list[Unit]) -> None:
        self._units, self._ended = len(units), 0
        self._begun, self._total = time.monotonic(), len(units) * grid.recipe.epochs
        self._found = sum(map(grid.epochs_done, units))
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=log,
            transient=True,
            speed_estimate_period=3600.0,
        )
        self._task = self._bar.add_task(f"{self._units} trainings", total=self._total, completed=self._found)
        self._done = self._found

    def __enter__(self) -> Watcher:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def progressed(self, epochs: int) -> None:
        self._done = epochs
        self._bar.update(
            self._task, completed=epochs, description=f"{self._ended} of {self._units} trainings, epoch {epochs}"
        )

    def ended(self, unit: Unit, result: dict[str, Any]) -> None:
        self._ended += 1
        shares = ", ".join(
            f"{result[part]['seconds']:g} s {result[part]['accuracy']:.1%}" for part in ("whole", "crop")
        )
        log.print(f"{self._ended}/{self._units} {unit.path}: {shares}{self._left()}", soft_wrap=True)

    def failed(self, unit: Unit, reason: str) -> None:
        self._ended += 1
        log.print(f"{self._ended}/{self._units} {unit.path}: failed: {reason}", soft_wrap=True)

    def _left(self) -> str:
        """Where there is no bar: how long the rest takes at the pace so far."""
        new = self._done - self._found
        if self._bar.console.is_terminal or not new or self._ended == self._units:
            return ""
        seconds = (time.monotonic() - self._begun) / new * (self._total - self._done)
        return f"; about {seconds / 60:.0f} min left"


def _tables(found: dict[str, Any]) -> list[Table]:
    seconds = found["seconds"]
    lengths = {"whole": f"{seconds['whole']:.3g} s", "crop": f"random {seconds['crop']:g} s"}
    printed = any(row["paper"] for row in found["rows"])
    clips = sum(found["clips"].values())
    table = Table(title=f"Accuracy on {clips} held-out clips of {found['data']}, {found['form']}, %: mean ± deviation")
    for title in ("backbone", "system"):
        table.add_column(title)
    for title in ("parameters", "seeds", *lengths.values(), *(("paper 10 s", "paper 1 s") if printed else ())):
        table.add_column(title, justify="right")
    for row in found["rows"]:
        paper = [f"{share:.2f}" for share in row["paper"].values()] if row["paper"] else []
        cells = [_moments(row[part]) for part in lengths]
        table.add_row(row["backbone"], row["variant"], f"{row['parameters']:,}", f"{len(row['seeds'])}", *cells, *paper)
    if not found["auxiliary"]:
        return [table]
    gains = Table(title="What the auxiliary stream adds, points, and with how many seeds it is better")
    gains.add_column("backbone")
    gains.add_column("system")
    for length in lengths.values():
        gains.add_column(length, justify="right")
    for row in found["auxiliary"]:
        cells = [f"{_moments(row[part], '+')} ({row[part]['better']} of {len(row['seeds'])})" for part in lengths]
        gains.add_row(row["backbone"], row["variant"], *cells)
    return [table, gains]


def _moments(row: dict[str, Any], sign: str = "") -> str:
    deviation = "" if row["deviation"] is None else f" ± {100 * row['deviation']:.1f}"
    return f"{100 * row['mean']:{sign}.1f}{deviation}"
