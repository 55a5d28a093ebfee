"""`edge-asc export`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_asc.cli.console import ConsoleProgress, json_option, out, print_json, quiet_option, quote
from edge_asc.cli.model import ModelName, backbone_option
from edge_asc.tensors import INPUT_KINDS, InputKind
from edge_asc.zoo import DEFAULT, find_checkpoint, zoo
from edge_asc_export.cost import DEFAULT as DEFAULT_PROCESSOR
from edge_asc_export.cost import PROCESSORS
from edge_asc_export.format import FORMATS, default_formats
from edge_asc_export.scheme import AUTO, SCHEMES, Scheme

if TYPE_CHECKING:
    from edge_asc.data.recordings import Recordings
    from edge_asc.evaluation.accuracy import Accuracy
    from edge_asc.manifest import Manifest
    from edge_asc_export.bundle import ExportRequest
    from edge_asc_export.calibration import Choice
    from edge_asc_export.plan import Plan
    from edge_asc_export.selection import Selection

LENGTHS = tuple(range(1, 11))
MAX_DROP = 0.5


@dataclass(frozen=True)
class _Web:
    """Folders for a page and for WebAssembly, if they are asked for; and that of onnxruntime-web for a page of ONNX."""

    page: Path | None
    wasm: Path | None
    package: Path | None = None


@dataclass(frozen=True)
class _Budget:
    """How near to float a scheme that `auto` chooses has to be; None for any, or for the default."""

    max_drop: float | None
    min_agreement: float | None
    max_kl: float | None
    processor: str | None


@click.command("export", short_help="Write streaming artefacts, checked against PyTorch.")
@click.argument("checkpoint", type=ModelName(zoo), default=DEFAULT)
@click.option(
    "--quantize",
    "scheme",
    default="none",
    show_default=True,
    help=f"{', '.join(SCHEMES)}, a JSON file, or {AUTO}: the scheme of the fewest instructions that is near enough to "
    "float on --data.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(FORMATS.names()),
    multiple=True,
    help="Format to write; may be repeated [default: onnx and tflite, as far as they support the scheme].",
)
@click.option(
    "--input",
    "kind",
    type=click.Choice(INPUT_KINDS),
    default="features",
    show_default=True,
    help="What the artefacts take: log-mel features, or samples, float in [-1, 1] or int16. With samples, the front "
    "end is a part of the artefact.",
)
@click.option("--window", "windows", type=click.IntRange(1, 10), multiple=True, help="Length, s, of a windowed model.")
@click.option(
    "--calibration",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set in TAU layout to record activation ranges on, instead of the checkpoint's own.",
)
@click.option(
    "--ranges",
    type=click.Choice(["auto", "minmax", "percentile", "mse", "fisher"]),
    help="How --calibration chooses ranges [default: auto, the method nearest to float].",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set in TAU layout to measure accuracy by length on, beside float PyTorch.",
)
@click.option("--fold", type=int, help="With --data: only the held-out clips of this fold.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0),
    help=f"With --quantize {AUTO}: allowed drop of accuracy, points [default: {MAX_DROP}; any beside another budget].",
)
@click.option(
    "--min-agreement",
    type=click.FloatRange(0, 1, min_open=True),
    help=f"With --quantize {AUTO}: least share of decisions that equal float's; tensors that need it stay float.",
)
@click.option(
    "--max-kl",
    type=click.FloatRange(0, min_open=True),
    help=f"With --quantize {AUTO}: largest divergence of the probabilities from float's, nats, likewise.",
)
@click.option(
    "--processor",
    type=click.Choice(PROCESSORS),
    help=f"With --quantize {AUTO}: whose instructions count [default: {DEFAULT_PROCESSOR}, as in a Raspberry Pi 5].",
)
@click.option(
    "--accept-agreement",
    "accepted",
    type=click.FloatRange(0, 1),
    help="Lowest agreement with float PyTorch, in place of the bounds of the scheme; the contract records it.",
)
@click.option("--author", default="", help="Author of the model, for the metadata of the artefacts.")
@click.option("--license", "license_name", default="", help="License of the model, such as Apache-2.0, likewise.")
@click.option(
    "--page",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a page that runs the artefact in a browser, with all that it needs: with --format c one file, "
    "which clang and lld compile; with --input samples the ONNX artefact and its runtime.",
)
@click.option(
    "--runtime-files",
    "runtime",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --page and ONNX: folder of the npm package onnxruntime-web [default: in node_modules, here or above].",
)
@click.option(
    "--wasm",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --format c: folder for the classifier as WebAssembly, and for JavaScript that calls it; needs clang and "
    "lld.",
)
@click.option("--print-scheme", is_flag=True, help="Print the scheme as JSON and write nothing.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder [default: build/NAME-SCHEME].")
@backbone_option
@quiet_option
@json_option
def command(
    checkpoint: str,
    scheme: str,
    formats: tuple[str, ...],
    kind: InputKind,
    windows: tuple[int, ...],
    calibration: Path | None,
    ranges: Choice | None,
    data: Path | None,
    fold: int | None,
    max_drop: float | None,
    min_agreement: float | None,
    max_kl: float | None,
    processor: str | None,
    accepted: float | None,
    author: str,
    license_name: str,
    page: Path | None,
    runtime: Path | None,
    wasm: Path | None,
    print_scheme: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write CHECKPOINT (a folder, or a pretrained model) as streaming artefacts.

    Every artefact is streamed in its own engine against float PyTorch before it is put in place. A float artefact that
    differs, or a quantised one that agrees too little for its scheme, leaves no file, and the exit code is 1. The table
    gives agreement of decisions, errors of the logits and size.
    """
    folder = find_checkpoint(checkpoint)  # before torch loads
    if print_scheme and scheme == AUTO:
        raise click.UsageError(f"{AUTO} tries several schemes and is none itself; name one of them")
    chosen = _parse_scheme(scheme, data, calibration, ranges)
    budget = _Budget(max_drop, min_agreement, max_kl, processor)
    _check_options(scheme, data, fold, accepted, budget)
    if print_scheme:
        print_json(chosen.to_json())
        return
    web, progress = _find_web(page, wasm, runtime, kind, formats), ConsoleProgress()
    recordings = _open_recordings(data, fold, progress)
    from edge_asc_export.artefact import Origin, label_of
    from edge_asc_export.bundle import ExportRequest, export

    # `auto` tries schemes that not every format supports.
    request = ExportRequest.of(folder, chosen, formats or (default_formats() if scheme == AUTO else ()), windows)
    plan = _record_plan(request, calibration, ranges or "auto", progress)
    request = replace(request, plan=plan, input=kind, accepted_agreement=accepted, origin=Origin(author, license_name))
    selection = _select(request, recordings, budget, progress) if scheme == AUTO and recordings else None
    if selection:
        request = replace(request, scheme=selection.scheme)
    output = output or Path("build") / f"{request.checkpoint.name}-{label_of(request.scheme, kind)}"
    manifest = export(request, output, progress=progress)
    shown = _write_web(output, manifest, web)
    results = _measure(recordings, request.checkpoint, output, manifest, progress) if recordings else []
    if as_json:
        _print_json(output, manifest, selection, results)
    else:
        _print(selection, manifest, results)
        out.print(f"written to {output}{shown}")


def _parse_scheme(name: str, data: Path | None, calibration: Path | None, ranges: str | None) -> Scheme:
    """Return the scheme of this name; of `auto`, the one that needs nothing."""
    from edge_asc.errors import require

    require("torch", "export")
    from edge_asc_export.scheme import find_scheme

    if name == AUTO and data is None:
        raise click.UsageError(f"--quantize {AUTO} needs --data DIR, labelled clips to measure accuracy on")
    if ranges and calibration is None:
        raise click.UsageError("--ranges belongs to --calibration DIR; the checkpoint's own ranges are chosen already")
    scheme = SCHEMES["none"] if name == AUTO else find_scheme(name)
    if calibration and name != AUTO and not scheme.static:
        raise click.UsageError(f"{scheme.name} has no activation ranges to record; leave --calibration out")
    return scheme


def _check_options(scheme: str, data: Path | None, fold: int | None, accepted: float | None, budget: _Budget) -> None:
    if fold is not None and data is None:
        raise click.UsageError("--fold belongs to --data")
    given = {
        "--max-drop": budget.max_drop,
        "--min-agreement": budget.min_agreement,
        "--max-kl": budget.max_kl,
        "--processor": budget.processor,
    }
    if scheme != AUTO and (alone := [name for name, value in given.items() if value is not None]):
        raise click.UsageError(f"{alone[0]} belongs to --quantize {AUTO}")
    if accepted is not None and scheme == "none":
        raise click.UsageError("--accept-agreement belongs to a scheme that rounds; a float artefact must be exact")


def _find_web(
    page: Path | None, wasm: Path | None, runtime: Path | None, kind: InputKind, formats: Sequence[str]
) -> _Web:
    """Return what to write for browsers; make sure that its tools are here before the export begins."""
    has_c = "c" in formats
    if wasm is not None and not has_c:
        raise click.UsageError("--wasm needs a C artefact: add --format c")
    if runtime is not None and (page is None or has_c):
        raise click.UsageError("--runtime-files belongs to --page with an ONNX artefact")
    if has_c and (page or wasm):
        from edge_asc_export.c.wasm import check_tools

        check_tools()
    if page is None or has_c:
        return _Web(page, wasm)
    if kind == "features" or (formats and "onnx" not in formats):
        raise click.UsageError("--page needs --format c, or an ONNX artefact that takes samples: add --input samples")
    from edge_asc_export.webpage import check_package, find_package

    return _Web(page, wasm, check_package(runtime) if runtime else find_package(Path.cwd()))


def _write_web(output: Path, manifest: Manifest, web: _Web) -> str:
    """Write a page and a module where they are asked for; return what to print of them."""
    from edge_asc_export.webpage import write_module, write_single_page, write_webpage

    shown = ""
    if web.wasm is not None:
        shown += f", WebAssembly to {write_module(output, manifest, web.wasm)}"
    if web.page is not None and web.package is not None:
        write_webpage(output, manifest, web.page, web.package)
        shown += f", the page to {web.page}: python -m http.server --directory {quote(web.page)}"
    elif web.page is not None:
        shown += f", the page to {write_single_page(output, manifest, web.page)}"
    return shown


def _open_recordings(data: Path | None, fold: int | None, progress: ConsoleProgress) -> Recordings | None:
    if data is None:
        return None
    from edge_asc.data.recordings import Recordings

    return Recordings.open(data, fold, progress)


def _record_plan(request: ExportRequest, data: Path | None, method: Choice, progress: ConsoleProgress) -> Plan | None:
    """Record another plan than the checkpoint's own, and print what may make it unfit."""
    if data is None:
        return None
    from edge_asc_export.recording import record_plan

    plan = record_plan(request.checkpoint, data, method=method, progress=progress)
    for warning in plan.provenance.warnings if plan.provenance else ():
        progress.note(f"warning: {warning}")
    return plan


def _select(request: ExportRequest, recordings: Recordings, budget: _Budget, progress: ConsoleProgress) -> Selection:
    from edge_asc.evaluation.comparison import LabelledClips
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc_export.selection import Trial, select

    front_end = Checkpoint.load(request.checkpoint).front_end
    features, samples = recordings.features(front_end, progress), recordings.samples(front_end.sample_rate)
    clips = LabelledClips(features, recordings.targets, recordings.dataset.labels, samples)
    alone = budget.min_agreement is None and budget.max_kl is None
    max_drop = MAX_DROP if budget.max_drop is None and alone else budget.max_drop
    trial = Trial(clips, LENGTHS, max_drop, budget.min_agreement, budget.max_kl, budget.processor or DEFAULT_PROCESSOR)
    return select(request, trial, progress=progress)


def _measure(
    recordings: Recordings, checkpoint: Path, output: Path, manifest: Manifest, progress: ConsoleProgress
) -> list[Accuracy]:
    from edge_asc.evaluation.models import measure_models, open_models

    models = (str(checkpoint), *(str(output / name) for name in manifest.files))
    return measure_models(recordings, models, open_models(models), LENGTHS, progress=progress)


def _print_json(output: Path, manifest: Manifest, selection: Selection | None, results: Sequence[Accuracy]) -> None:
    tried = [attempt.to_json() for attempt in selection.attempts] if selection else []
    accuracy = [result.to_json() for result in results]
    print_json({"output": str(output), **manifest.to_json(), "tried": tried, "accuracy": accuracy})


def _print(selection: Selection | None, manifest: Manifest, results: Sequence[Accuracy]) -> None:
    from edge_asc.cli.tables import accuracy_table, closeness_table
    from edge_asc_export.commands import _tables as tables

    if selection:
        out.print(tables.attempts_table(selection.attempts))
        out.print(f"chosen: {selection.scheme.name}")
    parities = tables.parities_of(manifest)
    out.print(tables.parity_table(manifest, parities))
    out.print(tables.length_table(parities))
    if any(each.closeness and each.closeness.agreed < each.closeness.steps for each in parities.values()):
        out.print(tables.closeness_table(parities))
    if any(entry.contract.measured.levels for entry in manifest.files.values()):
        out.print(tables.level_table(manifest))
    if results:
        out.print(accuracy_table(results))
        if table := closeness_table(results):
            out.print(table)
