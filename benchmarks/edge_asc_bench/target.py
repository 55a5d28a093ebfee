"""Targets: where models are measured, found through the entry points of the group `edge_asc.targets`.

A target is named by a URL, whose scheme is the name of its kind. A new kind is one module with a descriptor `TARGET`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge_asc.errors import EdgeAscError, require
from edge_asc.progress import Phase
from edge_asc.registry import Registry
from edge_asc_bench.events import Event
from edge_asc_bench.job import Job, Settings

if TYPE_CHECKING:
    from edge_asc_bench.result import Result


class TargetLostError(EdgeAscError):
    """A target that stopped responding; the events that it sent before are kept."""


class Target(Protocol):
    """A machine that does jobs."""

    @property
    def name(self) -> str:
        """The URL that the user gave."""
        ...

    @property
    def runs_torch(self) -> bool:
        """Whether it measures checkpoints; else the host computes their logits alone."""
        ...

    async def run(self, folder: Path, job: Job, digest: str, receive: Callable[[Event], None]) -> None:
        """Do the job in `folder`, pass on each of its events, and leave the files that events name in the folder.

        Args:
            folder: of the job, on this machine.
            job: in the folder.
            digest: of the folder.
            receive: takes an event; it raises if the event is `Failed`.

        Raises:
            EdgeAscError: the target cannot be reached, or does not meet the requirements of the job.
            TargetLostError: it stopped responding.
        """
        ...


class AppTarget(Protocol):
    """An application on a device that holds models, clips and a benchmark of its own, and reports a whole result."""

    @property
    def name(self) -> str:
        """The URL that the user gave."""
        ...

    async def measure(self, model: str, settings: Settings, phase: Phase) -> Result:
        """Measure the artefacts of one of its models.

        Args:
            model: name of a model in the application.
            settings: `rounds` and `duration` apply; all others are the application's.
            phase: takes the progress.

        Raises:
            EdgeAscError: the application is not installed, or reports an error or a damaged result.
            TargetLostError: it stopped responding.
        """
        ...


@dataclass(frozen=True)
class TargetOptions:
    """Options of all targets; each kind uses those that apply to it.

    Attributes:
        python: command that starts Python on the device.
        torch: measure checkpoints on the device, too.
        clean: remove from the device what would be kept for the next time.
        ssh_config: SSH configuration file; None for the user's.
    """

    python: str = "python3"
    torch: bool = False
    clean: bool = False
    ssh_config: Path | None = None


@dataclass(frozen=True)
class TargetKind:
    """One kind of target.

    Attributes:
        scheme: of its URLs; a URL may be the scheme alone, as in "local".
        usage: of its URLs, such as "ssh://[user@]host[:port]".
        help: one line for `edge-asc bench --help`.
        open: opens the URL of a machine that does jobs; None for applications.
        open_app: opens the URL of an application; None for machines.
        module: that it needs on this machine; "" for none.
        extra: of edge-asc that installs `module`.
    """

    scheme: str
    usage: str
    help: str
    open: Callable[[str, TargetOptions], Target] | None = None
    open_app: Callable[[str, TargetOptions], AppTarget] | None = None
    module: str = ""
    extra: str = "bench"

    @property
    def is_app(self) -> bool:
        """Whether it is an application with models and clips of its own."""
        return self.open_app is not None


TARGETS: Registry[TargetKind] = Registry("edge_asc.targets", TargetKind, "TARGET", "target")


def find_kind(url: str) -> TargetKind:
    """Return the kind of target that a URL means.

    Raises:
        EdgeAscError: no such kind.
    """
    kinds = TARGETS.all()
    scheme = url.partition("://")[0]
    for kind in kinds.values():
        if kind.scheme == scheme:
            return kind
    raise EdgeAscError(f"{url}: no such target; expected {_list_usages(kinds.values())}")


def _list_usages(kinds: Iterable[TargetKind]) -> str:
    return " or ".join(", ".join(kind.usage for kind in kinds).rsplit(", ", 1))


def open_target(url: str, options: TargetOptions | None = None) -> Target:
    """Open the target of a URL that does jobs.

    Raises:
        EdgeAscError: no such kind, an incomplete URL, or an application's.
        MissingExtraError: a package that the target needs is not installed.
    """
    kind = find_kind(url)
    if kind.open is None:
        raise EdgeAscError(f"{url}: an application, which has its own models; expected a target that runs any model")
    if kind.module:
        require(kind.module, kind.extra)
    return kind.open(url, options or TargetOptions())


def open_app(url: str, options: TargetOptions | None = None) -> AppTarget:
    """Open the application of a URL.

    Raises:
        EdgeAscError: no such kind, an incomplete URL, or not an application's.
        MissingExtraError: a package that the target needs is not installed.
    """
    kind = find_kind(url)
    if kind.open_app is None:
        raise EdgeAscError(f"{url}: not an application; expected a target such as app://[serial]")
    if kind.module:
        require(kind.module, kind.extra)
    return kind.open_app(url, options or TargetOptions())
