"""Where models are measured: this machine, one over SSH, or a device over ADB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from edge_asc.errors import EdgeAscError
from edge_asc_bench.job import Job


class TargetLostError(EdgeAscError):
    """A target that answered no more; what it told before is kept."""


class Target(Protocol):
    """A machine that does jobs."""

    @property
    def name(self) -> str:
        """As the user named it."""
        ...

    @property
    def runs_torch(self) -> bool:
        """Checkpoints are measured there; else they are run here, for their logits alone."""
        ...

    async def run(self, folder: Path, job: Job, digest: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Do the job in `folder`, tell each event of it, and leave the files that events name in the folder.

        Args:
            folder: of the job, on this machine.
            job: what is in it.
            digest: of the folder.
            tell: takes an event; it raises if the event is an error.

        Raises:
            EdgeAscError: the target cannot be reached or is not fit for the job.
            TargetLostError: it answered no more.
        """
        ...


def open_target(name: str, **options: Any) -> Target:
    """The target of a name: "local", "ssh://[user@]host[:port]" or "adb://[serial]".

    Options go to the kind of target that has them.

    Raises:
        EdgeAscError: no such kind, or a name that is not complete.
        MissingExtraError: what the target needs is not installed.
    """
    kind, _, rest = name.partition("://")
    if name == "local":
        from edge_asc_bench.targets.local import LocalTarget

        return LocalTarget()
    if kind == "ssh":
        from edge_asc_bench.targets.ssh import SshDevice

        return SshDevice.target(name, **options)
    if kind == "adb":
        from edge_asc_bench.targets.adb import AdbDevice

        return AdbDevice.target(name, rest, **options)
    raise EdgeAscError(f"{name}: no such target; expected local, ssh://[user@]host[:port] or adb://[serial]")
