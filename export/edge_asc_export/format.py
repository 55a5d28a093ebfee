"""Export formats: which files hold a model, which schemes they support, and how they are written and inspected.

A format is a descriptor in the group of entry points `edge_asc.formats`; ours are the modules of
`edge_asc_export.formats`. Everything that lists formats reads `FORMATS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from edge_asc.contract import Signature, StreamContract
from edge_asc.errors import ContractError, ExportError, require
from edge_asc.registry import Registry
from edge_asc.runtime import Runtime
from edge_asc_export.graph import Graph
from edge_asc_export.operations import Inspection
from edge_asc_export.pipeline import Lowered, Pass
from edge_asc_export.scheme import Scheme


class Written(Protocol):
    """A file that is complete but for its contract."""

    def signatures(self, hop: int) -> tuple[Signature, ...]:
        """Return the signatures of the file, for a front end of `hop` samples a frame."""

    def finish(self, contract: StreamContract) -> bytes:
        """Return the file with this contract inside; may be called again with another one."""


@dataclass(frozen=True)
class File:
    """One file of a format: the graphs in it, and what its name ends in before the suffix, such as "-step"."""

    graphs: tuple[Graph, ...]
    ending: str = ""


def _no_companions(written: Any, contract: StreamContract, runtime: Runtime) -> Mapping[str, bytes]:
    return {}


@dataclass(frozen=True)
class Format:
    """One export format.

    Attributes:
        name: unique, such as "onnx".
        title: what a user reads, such as "ONNX".
        suffix: of its files.
        modules: that writing and running it imports.
        distributions: whose versions the contract records.
        supports: whether it can express a scheme.
        files: distributes the graphs of a model over files: the step of a causal model; the windows of a windowed one,
            to embeddings, and their GRU as the last graph.
        passes: what happens to each graph before it is written, in this order.
        write: the graphs of one file, after the passes.
        inspect: counts the operations of a file.
        extra: of edge-asc that installs `modules`.
        float_part: what computes in float in this format alone, in words, by the form of a model.
        companions: files that belong to a written one, by name, from what `write` returned, the contract inside the
            file, and the runtime of that file.
        companion_names: their names, from that of the artefact without its suffix.
        by_name_only: whether it is written only where it is named, as by `--format`.
        own_front_end: whether it computes features by itself, not by the graph of an artefact that takes samples.
    """

    name: str
    title: str
    suffix: str
    modules: tuple[str, ...]
    distributions: tuple[str, ...]
    supports: Callable[[Scheme], bool]
    files: Callable[[Sequence[Graph]], tuple[File, ...]]
    passes: tuple[Pass, ...]
    write: Callable[[Sequence[Lowered]], Written]
    inspect: Callable[[Path], Inspection]
    extra: str = "export"
    float_part: Callable[[str], str] = lambda form: ""
    companions: Callable[[Any, StreamContract, Any], Mapping[str, bytes]] = _no_companions
    companion_names: Callable[[str], tuple[str, ...]] = lambda stem: ()
    by_name_only: bool = False
    own_front_end: bool = False

    def require(self) -> None:
        """Import what the format needs.

        Raises:
            MissingExtraError: one of its packages is not installed.
        """
        for module in self.modules:
            require(module, self.extra)

    def versions(self) -> dict[str, str]:
        """Return the versions of the installed tools that write the format, PyTorch's first."""
        versions = {}
        for name in ("torch", *self.distributions):
            try:
                versions[name] = version(name)
            except PackageNotFoundError:
                continue
        return versions


FORMATS: Registry[Format] = Registry("edge_asc.formats", Format, "FORMAT", "format")


def supporting(scheme: Scheme) -> tuple[str, ...]:
    """Return the names of the formats that support a scheme."""
    return tuple(name for name, each in FORMATS.all().items() if each.supports(scheme))


def default_formats(scheme: Scheme | None = None) -> tuple[str, ...]:
    """Return the names of the formats that are written where none is named: those that support a scheme, if any."""
    every = FORMATS.all().items()
    return tuple(name for name, each in every if not each.by_name_only and (scheme is None or each.supports(scheme)))


def check_support(name: str, scheme: Scheme) -> None:
    """Make sure that a format supports a scheme.

    Raises:
        ExportError: it does not.
        EdgeAscError: there is no such format.
    """
    if not FORMATS.load(name).supports(scheme):
        raise ExportError(
            f"{name} cannot express {scheme.name} ({scheme.weights} weights, {scheme.activations} activations); "
            f"expected --format {' or '.join(supporting(scheme)) or 'of another package'}, or another --quantize"
        )


def format_of(path: Path) -> Format:
    """Return the format of a file, by its suffix.

    Raises:
        ContractError: no format has files of this suffix.
    """
    formats = FORMATS.all().values()
    for each in formats:
        if path.suffix == each.suffix:
            return each
    suffixes = ", ".join(each.suffix for each in formats)
    raise ContractError(f"{path}: got a file ending in {path.suffix or 'nothing'}; expected one of {suffixes}")
