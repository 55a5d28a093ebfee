"""`edge-asc inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from edge_asc.cli.console import ConsoleProgress, json_option, out, print_json, quiet_option
from edge_asc.cli.model import backbone_option
from edge_asc.errors import ContractError, MissingExtraError

if TYPE_CHECKING:
    from edge_asc.frontend import Array, FrontEnd
    from edge_asc_export.operations import Inspection


@click.command("inspect", short_help="Show what an artefact or a checkpoint is, and what it costs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--against",
    help="Checkpoint or pretrained model that an integer artefact was exported from: list its layers by SQNR, and the "
    "decisions that differ.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --against: data set in TAU layout to compare on [default: generated scenes].",
)
@click.option("--fold", type=int, help="With --data: only the held-out clips of this fold.")
@click.option(
    "--clips",
    "most",
    default=40,
    show_default=True,
    type=click.IntRange(1),
    help="With --against: largest number of clips, evenly spaced.",
)
@backbone_option
@quiet_option
@json_option
def command(model: Path, against: str | None, data: Path | None, fold: int | None, most: int, as_json: bool) -> None:
    """Show what MODEL is: an artefact, an exported folder, a checkpoint folder, or a pretrained model.

    Of an artefact, or the one of an exported folder that runs here: contract, size and operations, what is delegated,
    and what stayed float. Of a checkpoint: parameters, multiply-accumulates, cache and receptive field.

    With --against: where an integer artefact leaves its float model. The plan is read from the manifest beside the
    artefact, or from the checkpoint.
    """
    if data is not None and against is None:
        raise click.UsageError("--data belongs to --against")
    if fold is not None and data is None:
        raise click.UsageError("--fold belongs to --data")
    from edge_asc.engine import find_engine
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import locate_model

    folder = locate_model(model)
    if against is None and folder is not None and is_checkpoint(folder):
        runnable, _ = find_engine(folder)  # without torch, an artefact of the same model
        if runnable == folder:
            _inspect_checkpoint(folder, as_json=as_json)
        else:
            _inspect_artefact(runnable, as_json=as_json)
        return
    artefact = _find_artefact(model)
    if artefact is None and against is not None:
        raise ContractError(f"{model}: not an artefact; --against compares an integer one with its checkpoint")
    if artefact is None:
        raise ContractError(
            f"{model}: not an artefact ({' or '.join(_suffixes())} file), an exported folder, a checkpoint or a "
            "pretrained model"
        )
    if against is None:
        _inspect_artefact(artefact, as_json=as_json)
    else:
        _compare(artefact, against, _Audio(data, fold, most), as_json=as_json)


def _suffixes() -> tuple[str, ...]:
    from edge_asc_export.format import FORMATS

    return tuple(fmt.suffix for fmt in FORMATS.all().values())


def _find_artefact(model: Path) -> Path | None:
    """Return the artefact that a path or a name means: itself, or the one of a bundle that runs here."""
    from edge_asc.engine import preferred_artefact
    from edge_asc.manifest import has_manifest
    from edge_asc.zoo import locate_model

    path = locate_model(model) or model
    if has_manifest(path):
        return preferred_artefact(path)
    return path if path.suffix in _suffixes() and path.is_file() else None


def _inspect_checkpoint(folder: Path, *, as_json: bool) -> None:
    from edge_asc.errors import require

    require("torch", "train")
    from edge_asc.models.complexity import complexity
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc_export.commands._facts import checkpoint_facts, fact_table

    checkpoint = Checkpoint.load(folder)
    cost = complexity(checkpoint.model)
    if as_json:
        config = checkpoint.model.config.to_json()
        facts = {"file": str(folder), "name": checkpoint.name, "model": config, "labels": checkpoint.labels}
        print_json({**facts, "complexity": cost.to_json(), "training": checkpoint.training})
        return
    out.print(fact_table(checkpoint.name, checkpoint_facts(checkpoint, cost)))


def _inspect_artefact(artefact: Path, *, as_json: bool) -> None:
    from edge_asc.engine import open_runtime
    from edge_asc_export.commands._facts import artefact_facts, fact_table, signature_table

    runtime = open_runtime(artefact)
    inspection = _count_operations(artefact)
    size = artefact.stat().st_size
    if as_json:
        facts = {"file": str(artefact), "bytes": size, "engine": runtime.engine}
        graph = inspection.to_json() if inspection else None
        print_json({**facts, "graph": graph, "contract": runtime.contract.to_json()})
        return
    out.print(fact_table(artefact.name, artefact_facts(runtime, size, inspection)))
    for signature in runtime.contract.signatures:
        out.print(signature_table(signature))


def _count_operations(artefact: Path) -> Inspection | None:
    from edge_asc_export.inspection import inspect

    try:
        return inspect(artefact)
    except MissingExtraError as error:
        ConsoleProgress().note(f"operations are not shown: {error}")
        return None


class _Audio(NamedTuple):
    """Clips to compare on: of a data set or a fold of it, or generated scenes; at most `most`."""

    data: Path | None
    fold: int | None
    most: int

    def read(self, front_end: FrontEnd) -> tuple[list[str], Sequence[Array], Sequence[Array]]:
        """Return names, raw log-mel and samples of the clips."""
        if self.data is None:
            from edge_asc.frontend import LogMel
            from edge_asc_export.parity import scenes

            log_mel = LogMel(front_end.raw)
            clips = scenes()[: self.most]
            names = [f"generated scene {i + 1}" for i in range(len(clips))]
            return names, [log_mel(clip) for clip in clips], clips
        from edge_asc.data.recordings import Recordings
        from edge_asc_export.calibration import evenly

        recordings = Recordings.open(self.data, self.fold)
        recordings = replace(recordings, clips=tuple(evenly(recordings.clips, self.most)))
        names = [clip.filename for clip in recordings.clips]
        return names, list(recordings.features(front_end)), recordings.samples(front_end.sample_rate)


def _compare(artefact: Path, against: str, audio: _Audio, *, as_json: bool) -> None:
    from edge_asc.errors import require
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc.zoo import locate_model

    require("torch", "export")
    from edge_asc_export.bundle import find_plan
    from edge_asc_export.commands._facts import flip_table, layer_table
    from edge_asc_export.divergence import diverge

    folder = locate_model(against)
    if folder is None:
        raise ContractError(f"{against}: no such checkpoint or pretrained model")
    checkpoint = Checkpoint.load(folder)
    names, features, samples = audio.read(checkpoint.front_end)
    with ConsoleProgress().phase("comparing"):
        divergence = diverge(checkpoint, find_plan(artefact, checkpoint), artefact, features, samples)
    if as_json:
        print_json({"file": str(artefact), "against": str(folder), "clips": names, **divergence.to_json()})
        return
    out.print(layer_table(divergence.layers))
    if divergence.flips:
        out.print(flip_table(divergence.flips, names, artefact.name))
    out.print(
        f"{len(divergence.flips)} of {divergence.steps} steps differ: agreement {divergence.agreement:.4f}; the median "
        f"margin of all steps is {divergence.margin:.2f}. The layers are those of the float64 simulation, with which "
        f"the artefact agrees on {divergence.simulated_agreement:.4f} of the steps."
    )
