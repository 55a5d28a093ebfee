"""The export: artefacts written in a child process, checked against PyTorch, and put in place with a manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_asc.children import ChildError, run_in_child
from edge_asc.contract import InputKind
from edge_asc.engine import open_runtime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ExportError
from edge_asc.files import sha256, write_bytes
from edge_asc.manifest import Entry, Manifest, has_manifest
from edge_asc.output import claim_folder
from edge_asc.progress import SILENT, Progress
from edge_asc.provenance import Measured
from edge_asc.scratch import scratch_folder
from edge_asc.training.checkpoint import Checkpoint, read_metadata
from edge_asc.zoo import find_checkpoint
from edge_asc_export import parity
from edge_asc_export.artefact import UNKNOWN, Artefact, Draft, Origin, label_of, write
from edge_asc_export.format import FORMATS, check_support, default_formats
from edge_asc_export.level_parity import FrontEndErrors, check_level, measure_front_end, measure_levels
from edge_asc_export.placement import check_output, finish, place
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import Scheme, find_scheme

# Longest time of an export, s; and room that its artefacts need at least.
TIMEOUT = 2 * 3600.0
OUTPUT_BYTES = 1 << 22


@dataclass(frozen=True)
class ExportRequest:
    """One export: plain values, so that a process of its own can be given it.

    Attributes:
        checkpoint: folder.
        scheme: of quantisation.
        formats: names of the formats to write.
        windows: lengths, s, of a windowed model.
        plan: recorded ranges, instead of the checkpoint's own.
        input: what the artefacts take.
        accepted_agreement: with float PyTorch, 0 to 1, in place of the bounds of the scheme; None for these.
        origin: author and license of the model.
    """

    checkpoint: Path
    scheme: Scheme
    formats: tuple[str, ...]
    windows: tuple[int, ...] = ()
    plan: Plan | None = None
    input: InputKind = "features"
    accepted_agreement: float | None = None
    origin: Origin = UNKNOWN

    @classmethod
    def of(
        cls, model: str | Path, scheme: Scheme, formats: Sequence[str] = (), windows: Sequence[int] = ()
    ) -> ExportRequest:
        """Return the export of a checkpoint, or of a pretrained model that is named.

        Args:
            model: folder of the checkpoint, or name of the pretrained model.
            scheme: of quantisation.
            formats: names of the formats; empty for all that support the scheme.
            windows: lengths, s, of a windowed model.

        Raises:
            ContractError: there is no such checkpoint.
            MissingExtraError: a package that a format needs is not installed.
        """
        folder = find_checkpoint(model)
        formats = tuple(formats) or default_formats(scheme)
        require_formats(formats)
        return cls(folder, scheme, formats, tuple(windows))

    def draft(self) -> Draft:
        """Load the checkpoint and return the draft.

        Raises:
            ExportError: the checkpoint cannot be exported this way.
        """
        checkpoint = Checkpoint.load(self.checkpoint)
        weights = str(read_metadata(self.checkpoint)["weights_sha256"])
        plan = self.plan_of(checkpoint.quantisation)
        return Draft(checkpoint, weights, plan, self.windows, self.input, self.origin)

    def plan_of(self, recorded: Mapping[str, object]) -> Plan:
        """Return the plan under the scheme; `recorded` is the checkpoint's own, as JSON.

        Raises:
            ExportError: the scheme needs ranges, and there are none.
        """
        if not self.scheme.static:
            return Plan(self.scheme)
        plan = Plan.from_json(recorded) if self.plan is None else self.plan
        return plan.with_scheme(self.scheme)


def export_checkpoint(
    checkpoint: str | Path,
    output: str | Path,
    *,
    scheme: str = "none",
    formats: Sequence[str] = (),
    windows: Sequence[int] = (),
    progress: Progress = SILENT,
) -> Manifest:
    """Write a checkpoint as streaming artefacts, each checked in its own engine against float PyTorch.

    This is what `edge-asc export` does. It needs `edge-asc[export]`.

    Args:
        checkpoint: folder, or name of a pretrained model.
        output: folder for the artefacts and `manifest.json`; what an earlier export has written there is replaced.
        scheme: of quantisation: "none", "fp16", "int8-dynamic", "int8", "int8-float-gru", "int16x8", or a JSON file.
        formats: some of "onnx", "tflite" and "c"; empty for the first two, as far as they support the scheme.
        windows: lengths, whole seconds from 1 to 10, of a windowed model; a causal model has none.
        progress: receives a phase for each format.

    Returns:
        The manifest: `files` has an entry for each file name, with its size in bytes, its SHA-256 and its contract,
        which states the agreement with PyTorch, 0 to 1.

    Raises:
        ContractError: there is no such checkpoint.
        ParityError: an artefact differs from PyTorch by more than its scheme allows; `output` is as it was.
        ExportError: the scheme or the model cannot be exported; `output` is as it was.
        OutputError: `output` cannot be written, or a file that is not an export's is in the way.
        MissingExtraError: a package that a format needs is not installed.

    Examples:
        >>> from edge_asc_export import export_checkpoint
        >>> manifest = export_checkpoint("fuse", "build/fuse-int8", scheme="int8", formats=["tflite"])
        >>> print(", ".join(manifest.files))
        fuse-int8.tflite
    """
    request = ExportRequest.of(checkpoint, find_scheme(scheme), formats, windows)
    return export(request, Path(output), progress=progress)


def export(request: ExportRequest, output: Path, *, progress: Progress = SILENT) -> Manifest:
    """Write the artefacts of a request and `manifest.json` to `output`.

    All formats are written and checked in one child process, in a folder inside `output`, from one checkpoint that is
    loaded and lowered once. Only when all artefacts have been checked do the files take their place, and those that
    only an earlier export's manifest lists are deleted. What an interrupted export has left is removed or finished.

    Raises:
        ParityError: an artefact differs from PyTorch by more than its scheme allows; `output` is as it was.
        ExportError: an artefact could not be written, or the writer was killed; `output` is as it was.
        OutputError: `output` cannot be written, another process writes to it, or a file that is not an export's is in
            the way.
    """
    for name in request.formats:
        check_support(name, request.scheme)
    with claim_folder(output, OUTPUT_BYTES):
        finish(output)
        check_output(output, _guess_names(request, output))
        with scratch_folder(output) as staging:
            try:
                manifest = run_in_child(
                    write_bundle, request, staging, name="export", timeout=TIMEOUT, progress=progress
                )
            except ChildError as error:
                raise ExportError(f"{error}\nnothing was written") from error
            place(staging, output, manifest)
    return manifest


def _guess_names(request: ExportRequest, output: Path) -> list[str]:
    """Names of files in `output` that the artefacts of a request, and what belongs to them, may get."""
    stem = f"{read_metadata(request.checkpoint)['name']}-{label_of(request.scheme, request.input)}"
    formats = [FORMATS.load(name) for name in request.formats]
    suffixes = {fmt.suffix for fmt in formats}
    companions = {name for fmt in formats for name in fmt.companion_names(stem)}
    return [
        path.name
        for path in output.iterdir()
        if path.name in companions or (path.name.startswith((f"{stem}.", f"{stem}-")) and path.suffix in suffixes)
    ]


def write_bundle(request: ExportRequest, staging: Path, progress: Progress) -> Manifest:
    """Write the artefacts of a request to a new folder, and measure each in its own engine.

    Raises:
        ParityError: an artefact differs from PyTorch by more than its scheme allows.
        ExportError: the request cannot be exported.
    """
    draft = request.draft()
    staging.mkdir(parents=True, exist_ok=True)
    entries: dict[str, Entry] = {}
    reference = parity.Reference(TorchRuntime(draft.checkpoint))
    for name in sorted(set(request.formats)):
        with progress.phase(f"writing and checking {FORMATS.load(name).title}"):
            artefacts = write(draft, name)
            errors = measure_front_end(draft, artefacts[0], staging)
            for artefact in artefacts:
                entries[artefact.name] = _check(artefact, reference, request, staging, errors)
    return Manifest(draft.checkpoint.name, entries, draft.plan.to_json())


def _check(
    artefact: Artefact, reference: parity.Reference, request: ExportRequest, folder: Path, errors: FrontEndErrors
) -> Entry:
    """Put an artefact's file into a folder, with the parity that was measured on it."""
    path = folder / artefact.name
    write_bytes(path, artefact.data)
    # A float artefact is exact or an error: nothing can be accepted in its place.
    accepted = None if request.scheme.bounds is None else request.accepted_agreement
    candidate = open_runtime(path)
    measured = parity.measure(reference, candidate)
    parity.check(artefact.name, request.scheme, measured, accepted)
    levels = measure_levels(reference, candidate, errors)
    for level in levels:
        check_level(artefact.name, request.scheme, level, accepted)
    data = artefact.with_measured(Measured(parity=measured, accepted_agreement=accepted, levels=levels)).data
    write_bytes(path, data)
    runtime = open_runtime(path)
    companions = FORMATS.load(artefact.format).companions(artefact.written, runtime.contract, runtime)
    for name, content in companions.items():
        write_bytes(folder / name, content)
    hashes = {name: sha256(folder / name) for name in companions}
    return Entry(sha256(path), len(data), artefact.format, runtime.engine, runtime.contract, hashes)


def require_formats(names: Sequence[str]) -> None:
    """Make sure early that the packages which these formats need are installed.

    Raises:
        MissingExtraError: one of them is not.
    """
    for name in names:
        FORMATS.load(name).require()


def find_plan(artefact: Path, checkpoint: Checkpoint) -> Plan:
    """Return the plan that an artefact was written by: its bundle's, or the checkpoint's under its scheme.

    Raises:
        ContractError: the manifest beside the artefact is damaged.
        ExportError: the artefact names no scheme, or the plan is malformed.
    """
    if has_manifest(artefact.parent):
        manifest = Manifest.read(artefact.parent)
        if artefact.name in manifest.files:
            return Plan.from_json(manifest.plan)
    scheme = Scheme.from_json(open_runtime(artefact).contract.provenance.scheme)
    return Plan.from_json(checkpoint.quantisation).with_scheme(scheme)
