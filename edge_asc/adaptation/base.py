"""The artefact that gets a new output layer: what it must be, its embeddings, its copies with other layers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from edge_asc.adaptation.layer import Editor, Site, pass_through
from edge_asc.adaptation.onnx_layer import OnnxEditor
from edge_asc.adaptation.tflite_layer import TfliteEditor
from edge_asc.contract import StreamContract
from edge_asc.engine import find_engine, open_runtime
from edge_asc.errors import ContractError
from edge_asc.evaluation.logits import stream_logits
from edge_asc.files import write_bytes
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress
from edge_asc.provenance import Measured
from edge_asc.runtime import Runtime


class EditorType(Protocol):
    """Opens the bytes of a file for editing."""

    def __call__(self, data: bytes, contract: StreamContract) -> Editor:
        """Find the output layer, or raise a ContractError."""
        ...


EDITORS: Mapping[str, EditorType] = {".tflite": TfliteEditor, ".onnx": OnnxEditor}
ADVICE = (
    "expected an artefact of a causal model with the linear head, in float or int8, such as fuse-50-int8: "
    "use that one, or train your model on the clips with edge-asc train --from"
)


@dataclass(frozen=True, eq=False)
class Base:
    """An artefact whose output layer can be replaced.

    Attributes:
        path: of the file.
        runtime: the file in its engine.
        editor: of its bytes.
        threads: CPU threads of the engine.
    """

    path: Path
    runtime: Runtime
    editor: Editor
    threads: int = 1

    @classmethod
    def open(cls, model: str | Path, threads: int = 1) -> Base:
        """Open an artefact, a bundle, or the artefacts of a pretrained model by their name.

        Raises:
            ContractError: no model there, a damaged one, or one without a linear output layer on each embedding.
            MissingExtraError: its engine is not installed.
        """
        path, _ = find_engine(Path(model))
        if path.suffix not in EDITORS:
            raise ContractError(f"{path}: is not an artefact in TFLite or ONNX; {ADVICE}")
        runtime = open_runtime(path, threads=threads)
        contract = runtime.contract
        if contract.form != "causal":
            raise ContractError(f"{path}: is a windowed model; {ADVICE}")
        if any("unit" in spec.axes for spec in contract.signature("step").states()):
            raise ContractError(f"{path}: has recurrent layers before its output layer; {ADVICE}")
        try:
            editor = open_editor(path.suffix, path.read_bytes(), contract)
        except ContractError as error:
            raise ContractError(f"{path}: {error}; {ADVICE}") from error
        return cls(path, runtime, editor, threads)

    @property
    def contract(self) -> StreamContract:
        """The contract of the artefact."""
        return self.runtime.contract

    def embed(self, clips: Sequence[Array], *, gain: float = 0.0, progress: Progress = SILENT) -> list[Array]:
        """Return the embeddings of clips, (steps, width) each, as the output layer sees them.

        They are the logits of a copy whose output layer passes them through.

        Args:
            clips: raw log-mel of each clip, (frames, mels), or samples, (n,), if the model takes these.
            gain: input gain, dB.
            progress: one unit for each clip.
        """
        site = self.editor.site
        contract = relabel(self.contract, [f"unit {number}" for number in range(site.width)], site)
        data = self.editor.replace(pass_through(site), replace(contract, name=f"embeddings of {contract.name}"))
        return stream_logits(self.open_copy(data), clips, gain=gain, progress=progress)

    def open_copy(self, data: bytes) -> Runtime:
        """Open the bytes of a copy, from a file that exists while the engine reads it."""
        with tempfile.TemporaryDirectory(prefix="edge-asc-") as folder:
            path = Path(folder) / f"copy{self.path.suffix}"
            write_bytes(path, data)
            return open_runtime(path, threads=self.threads)


def open_editor(suffix: str, data: bytes, contract: StreamContract) -> Editor:
    """Find the output layer in the bytes of a file with this suffix.

    Raises:
        ContractError: it has none that can be replaced, or the file is damaged.
    """
    try:
        return EDITORS[suffix](data, contract)
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise ContractError(f"is not built as an exported file ({error})") from error


def relabel(contract: StreamContract, labels: Sequence[str], site: Site) -> StreamContract:
    """Return the contract of a copy with other labels: shapes of logits, parameters and operations follow.

    Rules and measurements that belong to the former labels are left out.

    Args:
        contract: of the base.
        labels: of the copy.
        site: the output layer of the base.
    """
    signature, more = contract.signature("step"), len(labels) - site.classes
    outputs = tuple(
        replace(spec, shape=(*spec.shape[:-1], len(labels))) if spec.role == "logits" else spec
        for spec in signature.outputs
    )
    return replace(
        contract,
        labels=tuple(labels),
        signatures=(replace(signature, outputs=outputs),),
        parameters=contract.parameters + more * (site.width + 1),
        macs={name: count + more * site.width for name, count in contract.macs.items()},
        temperature=1.0,
        unknown=None,
        events=None,
        measured=Measured(),
    )
