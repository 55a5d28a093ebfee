"""One connection's work on a job."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc.scratch import scratch_folder
from edge_asc_bench import document
from edge_asc_bench.events import Done, Event, Failed, Progressed, RunStarted, decode_event
from edge_asc_bench.job import Job
from edge_asc_bench.remote import environment
from edge_asc_bench.remote.archive import write_archive
from edge_asc_bench.remote.connection import Connection, Device
from edge_asc_bench.remote.environment import ENVIRONMENT_BYTES, PIP, DeviceFacts
from edge_asc_bench.remote.probe import MARK
from edge_asc_bench.target import TargetLostError
from edge_asc_bench.timeouts import COMMAND, ENVIRONMENT, INSTALL

ARCHIVE = "runner.zip"
TORCH = "torch"
# Variables of a login that change what Python imports or prints, or where pip installs.
PYTHON_UNSET = (
    "PATH HOME STARTUP INSPECT OPTIMIZE WARNINGS VERBOSE DEVMODE IOENCODING TRACEMALLOC MALLOC EXECUTABLE PLATLIBDIR"
)
PIP_UNSET = (
    "USER TARGET PREFIX ROOT PYTHON DRY_RUN NO_DEPS CONSTRAINT REQUIREMENT EDITABLE REQUIRE_HASHES NO_BINARY "
    "ONLY_BINARY PLATFORM REQUIRE_VIRTUALENV REPORT IGNORE_INSTALLED LOG VERBOSE ABI IMPLEMENTATION PYTHON_VERSION"
)
UNSET = (*(f"PYTHON{name}" for name in PYTHON_UNSET.split()), *(f"PIP_{name}" for name in PIP_UNSET.split()))
# Names of files are UTF-8 there, too, whatever the locale of a login is.
CLEAN = " ".join(["env", *(f"-u {name}" for name in UNSET), "PYTHONUTF8=1"])


@dataclass
class JobState:
    """The progress of a job over all connections.

    Attributes:
        connected: at least once.
        run: id of the run on the device that events are of.
        received: number of its events that were received.
        done: all of them were.
        leftovers: folders to remove on the device; None until all else is done.
    """

    connected: bool = False
    run: str = "none"
    received: int = 0
    done: bool = False
    leftovers: list[str] | None = None


@dataclass(frozen=True)
class RemoteSettings:
    """Settings of a job on a device.

    Attributes:
        device: that does it.
        python: command that starts Python there.
        clean: remove the environment afterwards.
    """

    device: Device
    python: str
    clean: bool


class Session:
    """One connection's work on a job."""

    def __init__(
        self, settings: RemoteSettings, connection: Connection, job: Job, receive: Callable[[Event], None]
    ) -> None:
        self._settings, self._connection, self._job, self._receive = settings, connection, job, receive
        self._device = settings.device
        self._packages = environment.list_packages(task.engine for task in job.tasks)
        self._requirements = environment.list_requirements(self._packages)
        self._folder = self._environment = ""
        self._python = settings.python

    async def prepare(self, folder: Path, digest: str) -> None:
        """Examine the device, install what is missing, copy the job and start it."""
        self._report("examining the device")
        facts = await self._probe()
        self._folder = f"{facts.folder}/jobs/{digest}"
        self._environment = f"{facts.folder}/environments/{environment.make_key(facts, self._requirements)}"
        installed = not self._device.makes_environments or await self._exists(f"{self._environment}/complete")
        copied = await self._exists(f"{self._folder}/complete")
        size = 0 if copied else sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self._check(facts, size, installed)
        if self._device.makes_environments:
            self._python = shlex.quote(f"{self._environment}/bin/python")
            if not installed:
                await self._install(facts)
        if not copied:
            await self._copy(folder)
        await self._must(self._runner("start"), "the runner could not be started")

    async def events(self, state: JobState) -> AsyncIterator[Event]:
        """Yield the runner's events from where `state` is to the last one; keep the state up to date."""
        folder = shlex.quote(self._folder)
        async for line in self._connection.lines(self._runner(f"follow {folder} {state.run} {state.received}", "")):
            if not line.startswith("{"):  # a login shell's greeting, or a heartbeat
                continue
            event = decode_event(line)
            if isinstance(event, RunStarted):
                state.run, state.received = event.id, 0
            state.received += 1
            if isinstance(event, Failed):
                await self._remove(self._folder)
            yield event
            if isinstance(event, Done | Failed):
                return
        raise TargetLostError(f"{self._device.name}: the connection was lost while the device was measuring")

    async def fetch(self, folder: Path) -> None:
        """Copy the results from the device."""
        self._report("fetching")
        for i in range(len(self._job.tasks)):
            name, part = f"logits-{i}.npy", folder / "part"
            await self._connection.get(f"{self._folder}/{name}", part)
            part.replace(folder / name)  # whole or not at all

    def leftovers(self) -> list[str]:
        """Return the folders to remove: the job's, and the environment's if that is asked for."""
        clean = self._settings.clean and self._device.makes_environments
        return [self._folder, self._environment] if clean else [self._folder]

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove folders on the device."""
        for path in paths:
            await self._remove(path)

    async def abandon(self) -> None:
        """Stop the run on the device, and remove the job."""
        if self._folder:
            await self._connection.run(self._runner("stop"))
            await self._remove(self._folder)

    async def _probe(self) -> DeviceFacts:
        modules = list(environment.list_modules(self._packages))
        source = (files("edge_asc_bench.remote") / "probe.py").read_text(encoding="utf-8")
        # Nothing is imported from the folder that a login starts in.
        source = f"import sys\nsys.path[:] = [path for path in sys.path if path]\n{source}"
        source += f"\nmain({self._device.folder!r}, {modules!r})\n"
        done = await self._connection.run(f"{CLEAN} {self._settings.python} -", source)
        for line in done.output.splitlines():
            if line.startswith(MARK):
                return document.convert_reply(self._device.name, line.removeprefix(MARK), DeviceFacts)
        raise EdgeAscError(
            f"{self._device.name}: {self._settings.python} does not run there ({done.reason}); install Python 3.11 or "
            "later, or name it with --python"
        )

    def _check(self, facts: DeviceFacts, size: int, installed: bool) -> None:
        name = self._device.name
        environment.check_device(name, facts)
        if not self._device.makes_environments:
            environment.check_packages(name, self._settings.python, facts, self._packages)
        elif not installed and not facts.has_venv:
            raise EdgeAscError(
                f"{name}: Python there cannot make environments; run there: sudo apt install python3-venv"
            )
        heavy = any(package.distribution == TORCH for package in self._packages)
        environment.check_space(
            name, facts, size + (0 if installed else ENVIRONMENT_BYTES["torch" if heavy else "light"])
        )

    async def _install(self, facts: DeviceFacts) -> None:
        """Make the environment: from the index that the device's pip uses, else from files downloaded here."""
        folder = shlex.quote(self._environment)
        listed = " ".join(map(shlex.quote, self._requirements))
        self._report("making an environment")
        await self._remove(self._environment)
        make = f"{CLEAN} {self._settings.python} -P -m venv {folder}"
        await self._must(make, "no environment could be made", ENVIRONMENT)
        self._report(f"installing {', '.join(package.distribution for package in self._packages) or 'numpy'}")
        pip = f"{CLEAN} {folder}/bin/python -P -m pip install --no-user {' '.join(PIP)}"
        done = await self._connection.run(f"{pip} --timeout 15 --retries 1 {listed}", timeout=INSTALL)
        if done.code:
            await self._copy_packages(facts, done.reason)
            self._report("installing copied packages")
            offline = f"{pip} --no-index --find-links {folder}/wheels {listed}"
            await self._must(offline, "packages were not installed", INSTALL)
            await self._remove(f"{self._environment}/wheels")
        await self._must(f"touch {folder}/complete", "no file could be made")

    async def _copy_packages(self, facts: DeviceFacts, reason: str) -> None:
        with scratch_folder() as temporary:
            self._report("downloading packages here")
            await asyncio.to_thread(environment.download, facts, self._requirements, temporary, reason)
            wheels = sorted(temporary.iterdir())
            await self._must(f"mkdir -p {shlex.quote(self._environment)}/wheels", "no folder could be made")
            for i, wheel in enumerate(wheels):
                self._receive(Progressed("copying packages", i, len(wheels)))
                await self._connection.put(wheel, f"{self._environment}/wheels/{wheel.name}")

    async def _copy(self, folder: Path) -> None:
        await self._remove(self._folder)
        with scratch_folder() as temporary:
            archive = temporary / ARCHIVE
            write_archive(archive)
            sources = [(archive, ARCHIVE)]
            sources += [
                (path, path.relative_to(folder).as_posix()) for path in sorted(folder.rglob("*")) if path.is_file()
            ]
            parents = {str(Path(name).parent) for _, name in sources}
            quoted = " ".join(shlex.quote(f"{self._folder}/{parent}") for parent in sorted(parents))
            await self._must(f"mkdir -p {quoted}", "no folder could be made")
            for i, (path, name) in enumerate(sources):
                self._receive(Progressed("copying", i, len(sources)))
                await self._connection.put(path, f"{self._folder}/{name}")
        await self._must(f"touch {shlex.quote(self._folder)}/complete", "no file could be made")

    async def _exists(self, path: str) -> bool:
        return (await self._connection.run(f"test -e {shlex.quote(path)}")).code == 0

    async def _remove(self, path: str) -> None:
        await self._connection.run(f"rm -rf {shlex.quote(path)}")

    async def _must(self, command: str, failure: str, timeout: float = COMMAND) -> None:
        done = await self._connection.run(command, timeout=timeout)
        if done.code:
            raise EdgeAscError(f"{self._device.name}: {failure} ({done.reason})")

    def _runner(self, action: str, folder: str | None = None) -> str:
        rest = shlex.quote(self._folder) if folder is None else folder
        archive = shlex.quote(f"{self._folder}/{ARCHIVE}")
        return f"{CLEAN} {self._python} -P {archive} {action} {rest}"

    def _report(self, title: str) -> None:
        self._receive(Progressed(title))
