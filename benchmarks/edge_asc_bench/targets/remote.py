"""A job on another machine, over anything that runs commands there and copies files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shlex
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from edge_asc.errors import EdgeAscError
from edge_asc_bench.job import Job
from edge_asc_bench.runner import LAST
from edge_asc_bench.targets import TargetLostError
from edge_asc_bench.targets.probe import MARK

OLDEST_PYTHON = (3, 11)
MACHINES = ("aarch64", "arm64", "x86_64")
# What an environment takes on the device beside what is copied, and what must stay free.
ENVIRONMENT_BYTES = {"light": 500_000_000, "torch": 2_000_000_000}
SPARE_BYTES = 20_000_000
RETRIES = (1.0, 3.0, 10.0)
PATIENCE = 10.0
RUNNER = "runner.zip"
PIP = ("--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:")
# Packages by the ending of a model that needs them.
ENGINES = {".onnx": "onnxruntime", ".tflite": "ai-edge-litert"}
MODULES = {
    "onnxruntime": "onnxruntime",
    "ai-edge-litert": "ai_edge_litert",
    "numpy": "numpy",
    "scipy": "scipy",
    "torch": "torch",
    "safetensors": "safetensors",
}


class Finished(NamedTuple):
    """A command that ended: its exit code, and what it printed."""

    code: int
    output: str
    errors: str


class Connection(Protocol):
    """An open connection to a device. Its methods raise `TargetLostError` when it breaks."""

    async def run(self, command: str, text: str = "") -> Finished:
        """Run a shell command with `text` on its standard input."""
        ...

    def lines(self, command: str) -> AsyncIterator[str]:
        """The lines that a shell command prints, as they come."""
        ...

    async def put(self, source: Path, target: str) -> None:
        """Copy a file there."""
        ...

    async def get(self, source: str, target: Path) -> None:
        """Copy a file from there."""
        ...


class Device(Protocol):
    """A device that can be connected to."""

    @property
    def name(self) -> str:
        """The target's."""
        ...

    @property
    def folder(self) -> str:
        """Where things are kept there."""
        ...

    @property
    def makes_environments(self) -> bool:
        """Packages are installed there; else its Python must have them."""
        ...

    def connect(self) -> AbstractAsyncContextManager[Connection]:
        """Open a connection.

        Raises:
            EdgeAscError: it cannot be opened, and why.
        """
        ...


@dataclass(frozen=True)
class RemoteTarget:
    """Does jobs on a device.

    The runner and the light package are copied there as one file. Packages from an index are installed into an
    environment of their own, which is kept for the next time; without a network there, they are fetched here and
    copied. The job goes on there when the connection breaks: it is taken up again, by this call or the next one.

    Attributes:
        device: that does them.
        python: the command that starts Python there.
        runs_torch: checkpoints are measured there too, which needs PyTorch there.
        clean: remove the environment afterwards; the job is always removed.
    """

    device: Device
    python: str = "python3"
    runs_torch: bool = False
    clean: bool = False

    @property
    def name(self) -> str:
        """As the user named it."""
        return self.device.name

    async def run(self, folder: Path, job: Job, digest: str, tell: Callable[[dict[str, Any]], None]) -> None:
        """Do the job in `folder`; see `Target`."""
        state, losses = _State(), 0
        while True:
            before = state.taken
            try:
                await self._attempt(folder, job, digest, tell, state)
                return
            except TargetLostError as error:
                if not state.connected:
                    raise EdgeAscError(str(error)) from error
                losses = 1 if state.taken > before else losses + 1
                if losses > len(RETRIES) and state.leftovers is not None:
                    return  # nothing is lost but room on the device
                if losses > len(RETRIES):
                    raise TargetLostError(
                        f"{error}; the run may go on there: the same command takes it up again"
                    ) from error
                tell({"event": "progress", "what": "connection lost, trying again", "done": 0, "total": 1})
                await asyncio.sleep(RETRIES[losses - 1])

    async def _attempt(
        self, folder: Path, job: Job, digest: str, tell: Callable[[dict[str, Any]], None], state: _State
    ) -> None:
        async with AsyncExitStack() as stack:
            try:
                connection = await stack.enter_async_context(self.device.connect())
            except EdgeAscError as error:
                if state.connected:  # a device that starts again refuses at first
                    raise TargetLostError(str(error)) from error
                raise
            state.connected = True
            session = _Session(self, connection, job, tell)
            try:
                if state.leftovers is None:
                    await session.prepare(folder, digest)
                    if not state.done:
                        async for event in session.events(state):
                            tell(event)
                        state.done = True
                    await session.fetch(folder)
                    state.leftovers = session.leftovers()
                await session.remove(state.leftovers)
            except asyncio.CancelledError:
                with suppress(Exception):
                    await asyncio.wait_for(asyncio.shield(session.abandon()), PATIENCE)
                raise


@dataclass
class _State:
    """How far a job is, over all connections.

    Attributes:
        connected: at least once.
        run: the run there that events are of.
        taken: how many of its events were taken.
        done: all of them.
        leftovers: what is to be removed there, once all else is done.
    """

    connected: bool = False
    run: str = "none"
    taken: int = 0
    done: bool = False
    leftovers: list[str] | None = None


class _Session:
    """One connection's work on a job."""

    def __init__(
        self, target: RemoteTarget, connection: Connection, job: Job, tell: Callable[[dict[str, Any]], None]
    ) -> None:
        self._target, self._connection, self._job, self._tell = target, connection, job, tell
        self._engines = sorted({e for t in job.tasks if (e := ENGINES.get(Path(t.file).suffix))})
        checkpoints = any(Path(task.file).suffix not in ENGINES for task in job.tasks)
        self._torch = ["torch", "safetensors"] if checkpoints else []
        self._folder = self._environment = ""
        self._python = target.python

    async def prepare(self, folder: Path, digest: str) -> None:
        """Look at the device, install what is missing, copy the job and start it."""
        self._say("looking at the device")
        device = await self._probe()
        root = device["folder"]
        self._folder, self._environment = f"{root}/jobs/{digest}", f"{root}/environments/{self._key(device)}"
        installed = not self._target.device.makes_environments or await self._exists(f"{self._environment}/complete")
        copied = await self._exists(f"{self._folder}/complete")
        size = 0 if copied else sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        self._check(device, size, installed)
        if self._target.device.makes_environments:
            self._python = shlex.quote(f"{self._environment}/bin/python")
            if not installed:
                await self._install(device)
        if not copied:
            await self._copy(folder)
        await self._must(self._runner("start"), "the runner could not be started")

    async def events(self, state: _State) -> AsyncIterator[dict[str, Any]]:
        """What the runner tells from where `state` is, up to the last event; keeps the state."""
        folder = shlex.quote(self._folder)
        async for line in self._connection.lines(self._runner(f"follow {folder} {state.run} {state.taken}", "")):
            if not line.startswith("{"):  # what a login shell prints, or a sign of life
                continue
            event = json.loads(line)
            if event["event"] == "run":
                state.run, state.taken = event["id"], 0
            state.taken += 1
            if event["event"] == "error":
                await self._remove(self._folder)
            yield event
            if event["event"] in LAST:
                return
        raise TargetLostError(f"{self._target.name}: the connection was lost while the device was measuring")

    async def fetch(self, folder: Path) -> None:
        """Copy what was found from the device."""
        self._say("fetching")
        for i in range(len(self._job.tasks)):
            name, part = f"logits-{i}.npy", folder / "part"
            await self._connection.get(f"{self._folder}/{name}", part)
            part.replace(folder / name)  # whole or not at all

    def leftovers(self) -> list[str]:
        """The job, and the environment if that is asked for."""
        clean = self._target.clean and self._target.device.makes_environments
        return [self._folder, self._environment] if clean else [self._folder]

    async def remove(self, paths: Sequence[str]) -> None:
        """Remove folders there."""
        for path in paths:
            await self._remove(path)

    async def abandon(self) -> None:
        """Stop the run there, and remove the job."""
        if self._folder:
            await self._connection.run(self._runner("stop"))
            await self._remove(self._folder)

    async def _probe(self) -> dict[str, Any]:
        modules = [MODULES[name] for name in ("numpy", *self._engines, *self._torch)]
        source = (files("edge_asc_bench.targets") / "probe.py").read_text()
        source += f"\nmain({self._target.device.folder!r}, {modules!r})\n"
        found = await self._connection.run(f"{self._target.python} -", source)
        for line in found.output.splitlines():
            if line.startswith(MARK):
                value: dict[str, Any] = json.loads(line.removeprefix(MARK))
                return value
        raise EdgeAscError(
            f"{self._target.name}: {self._target.python} does not run there ({_last(found)}); install Python 3.11 or "
            "later, or name it with --python"
        )

    def _check(self, device: dict[str, Any], size: int, installed: bool) -> None:
        name, number = self._target.name, ".".join(map(str, device["python"]))
        if device["bits"] != 64 or device["machine"] not in MACHINES:
            raise EdgeAscError(
                f"{name}: {device['bits']}-bit Python on {device['machine']}; the runtimes are published for 64-bit "
                "aarch64 and x86_64 alone: install a 64-bit system"
            )
        if tuple(device["python"][:2]) < OLDEST_PYTHON:
            raise EdgeAscError(f"{name}: Python {number}; expected 3.11 or later: upgrade, or name one with --python")
        if not device["writable"]:
            raise EdgeAscError(f"{name}: {device['folder']} cannot be written; give the user a home folder there")
        if not self._target.device.makes_environments:
            missing = [
                package
                for package in ("numpy", *self._engines, *self._torch)
                if MODULES[package] not in device["modules"]
            ]
            if missing:
                raise EdgeAscError(
                    f"{name}: {self._target.python} there has no {', '.join(missing)}; install them on the device, or "
                    "name a Python that has them with --python"
                )
        elif not installed and not device["has_venv"]:
            raise EdgeAscError(
                f"{name}: Python there cannot make environments; run there: sudo apt install python3-venv"
            )
        room = 0 if installed else ENVIRONMENT_BYTES["torch" if self._torch else "light"]
        if device["free_bytes"] < (needed := size + room + SPARE_BYTES):
            raise EdgeAscError(
                f"{name}: {device['free_bytes'] / 1e6:.0f} MB are free under {device['folder']}; expected "
                f"{needed / 1e6:.0f} MB: make room there"
            )

    def _requirements(self) -> list[str]:
        """What an environment holds: a runtime as it is installed here, so that results can be compared."""
        bounds = {re.split(r"[^\w.-]", line)[0]: line.split(";")[0].strip() for line in _declared()}
        wanted = [bounds.get(name, name) for name in ("numpy", "scipy")]
        for package in (*self._engines, *self._torch):
            try:
                # Without what marks a build for one kind of machine, as in 2.13.0+cpu.
                wanted.append(f"{package}=={version(package).partition('+')[0]}")
            except PackageNotFoundError:
                wanted.append(bounds.get(package, package))
        return wanted

    def _key(self, device: dict[str, Any]) -> str:
        listed = json.dumps([device["python"], device["machine"], self._requirements()])
        return hashlib.sha256(listed.encode()).hexdigest()[:16]

    async def _install(self, device: dict[str, Any]) -> None:
        """Make the environment: from the index that the device's pip uses, else from files fetched here."""
        environment = shlex.quote(self._environment)
        wanted = " ".join(map(shlex.quote, self._requirements()))
        self._say("making an environment")
        await self._remove(self._environment)
        await self._must(f"{self._target.python} -m venv {environment}", "no environment could be made")
        self._say(f"installing {', '.join((*self._engines, *self._torch)) or 'numpy'}")
        pip = f"{environment}/bin/python -m pip install {' '.join(PIP)}"
        done = await self._connection.run(f"{pip} --timeout 15 --retries 1 {wanted}")
        if done.code:
            with tempfile.TemporaryDirectory(prefix="edge-asc-") as temporary:
                self._say("fetching packages here")
                await asyncio.to_thread(_download, device, self._requirements(), Path(temporary), _last(done))
                wheels = sorted(Path(temporary).iterdir())
                await self._must(f"mkdir -p {environment}/wheels", "no folder could be made")
                for i, wheel in enumerate(wheels):
                    self._tell({"event": "progress", "what": "copying packages", "done": i, "total": len(wheels)})
                    await self._connection.put(wheel, f"{self._environment}/wheels/{wheel.name}")
            self._say("installing copied packages")
            await self._must(
                f"{pip} --no-index --find-links {environment}/wheels {wanted}", "packages were not installed"
            )
            await self._remove(f"{self._environment}/wheels")
        await self._must(f"touch {environment}/complete", "no file could be made")

    async def _copy(self, folder: Path) -> None:
        await self._remove(self._folder)
        with tempfile.TemporaryDirectory(prefix="edge-asc-") as temporary:
            archive = Path(temporary) / RUNNER
            write_runner(archive)
            sources = [(archive, RUNNER)]
            sources += [(path, str(path.relative_to(folder))) for path in sorted(folder.rglob("*")) if path.is_file()]
            parents = {str(Path(name).parent) for _, name in sources}
            made = " ".join(shlex.quote(f"{self._folder}/{parent}") for parent in sorted(parents))
            await self._must(f"mkdir -p {made}", "no folder could be made")
            for i, (path, name) in enumerate(sources):
                self._tell({"event": "progress", "what": "copying", "done": i, "total": len(sources)})
                await self._connection.put(path, f"{self._folder}/{name}")
        await self._must(f"touch {shlex.quote(self._folder)}/complete", "no file could be made")

    async def _exists(self, path: str) -> bool:
        return (await self._connection.run(f"test -e {shlex.quote(path)}")).code == 0

    async def _remove(self, path: str) -> None:
        await self._connection.run(f"rm -rf {shlex.quote(path)}")

    async def _must(self, command: str, failure: str) -> None:
        done = await self._connection.run(command)
        if done.code:
            raise EdgeAscError(f"{self._target.name}: {failure} ({_last(done)})")

    def _runner(self, action: str, folder: str | None = None) -> str:
        rest = shlex.quote(self._folder) if folder is None else folder
        archive = shlex.quote(f"{self._folder}/{RUNNER}")
        return f"env PYTHONPATH={archive} {self._python} -m edge_asc_bench.runner {action} {rest}"

    def _say(self, what: str) -> None:
        self._tell({"event": "progress", "what": what, "done": 0, "total": 1})


def write_runner(path: Path, packages: Sequence[str] = ("edge_asc", "edge_asc_bench")) -> None:
    """Write one file that Python imports from: the sources of packages, by default the runner's."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in packages:
            spec = find_spec(package)
            assert spec is not None
            assert spec.submodule_search_locations is not None
            root = Path(spec.submodule_search_locations[0])
            for source in sorted(root.rglob("*.py")):
                archive.write(source, f"{package}/{source.relative_to(root)}")


def _declared() -> list[str]:
    try:
        return requires("edge-asc") or []
    except PackageNotFoundError:
        return []


def _download(device: dict[str, Any], requirements: list[str], folder: Path, why: str) -> None:
    """Fetch wheels for a device with this machine's pip.

    Raises:
        EdgeAscError: pip cannot; with what both pips said.
    """
    kind, number = device["libc"]
    if kind != "glibc":
        raise EdgeAscError(f"pip there could not install the runtime ({why}), and its C library is {kind or 'unknown'}")
    minor = int(number.split(".")[1])
    machine = device["machine"].replace("arm64", "aarch64")
    tags = [f"manylinux_2_{i}_{machine}" for i in range(minor, 16, -1)] + [f"manylinux2014_{machine}"]
    python = ".".join(map(str, device["python"][:2]))
    command = [sys.executable, "-m", "pip", "download", *PIP]
    command += ["--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    command += [argument for tag in tags for argument in ("--platform", tag)]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False)
    if done.returncode:
        here = _last(Finished(done.returncode, done.stdout, done.stderr))
        raise EdgeAscError(f"the runtime could not be installed: pip there said {why!r}, pip here {here!r}")


def _last(done: Finished) -> str:
    return last_line(done.errors, done.output) or f"exit code {done.code}"


def last_line(*texts: str) -> str:
    """The last line that is not blank of the first text that is not empty; empty if there is none."""
    lines = [line.strip() for line in next(filter(None, texts), "").splitlines() if line.strip()]
    return lines[-1] if lines else ""
