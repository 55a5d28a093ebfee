"""The packages that a job needs on a device: which, in which versions, and how a device without a network gets them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from edge_asc.children import make_command
from edge_asc.engine import ENGINES, Engine
from edge_asc.errors import EdgeAscError
from edge_asc.tool import run_tool
from edge_asc_bench.timeouts import INSTALL

OURS = "edge-asc"
BASE = ("numpy",)
OLDEST_PYTHON = (3, 11)
MACHINES = ("aarch64", "arm64", "x86_64")
# Size of an environment on the device, and space that must stay free.
ENVIRONMENT_BYTES = {"light": 500_000_000, "torch": 2_000_000_000}
SPARE_BYTES = 20_000_000
PIP = ("--quiet", "--disable-pip-version-check", "--no-input", "--only-binary", ":all:")


@dataclass(frozen=True)
class DeviceFacts:
    """A device as `probe.py` describes it.

    Attributes:
        python: version, three numbers.
        machine: such as "aarch64".
        bits: of Python, 32 or 64.
        system: such as "Linux".
        libc: name and version of the C library.
        folder: where jobs and environments are kept.
        writable: whether that folder can be made.
        free_bytes: on its disk.
        has_venv: whether Python makes environments.
        modules: those that were asked for and can be imported.
    """

    python: tuple[int, ...]
    machine: str
    bits: int
    system: str
    libc: tuple[str, str]
    folder: str
    writable: bool
    free_bytes: int
    has_venv: bool
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Package:
    """A package that a job needs.

    Attributes:
        distribution: name on the package index.
        modules: any of these can be imported where it, or a substitute, is installed.
    """

    distribution: str
    modules: tuple[str, ...]


def list_packages(engines: Iterable[str]) -> list[Package]:
    """Return the packages of engines, given by name, beside those that edge-asc always needs.

    An engine of edge-asc needs the packages of its extra. Any other needs its own package, and the distribution that
    registers it.
    """
    packages: dict[str, Package] = {}
    for name in sorted(set(engines)):
        engine = ENGINES.load(name)
        modules = (engine.module, *(substitute.module for substitute in engine.substitutes))
        packages.setdefault(engine.distribution, Package(engine.distribution, modules))
        for other in _list_other_distributions(name, engine):
            packages.setdefault(other, Package(other, (other.replace("-", "_"),)))
    packages.pop(OURS, None)
    return sorted(packages.values(), key=lambda package: package.distribution)


def _list_other_distributions(name: str, engine: Engine) -> list[str]:
    source = ENGINES.sources[name].distribution
    if source != OURS:
        return [source]
    marker = re.compile(rf"extra\s*==\s*['\"]{re.escape(engine.extra)}['\"]")
    return [_parse_name(line) for line in _read_requirements() if engine.extra and marker.search(line)]


def list_requirements(packages: Sequence[Package]) -> list[str]:
    """Return what pip installs: engines in the versions that are installed here, so that results can be compared."""
    bounds = {_parse_name(line): line.split(";")[0].strip() for line in _read_requirements()}
    requirements = [bounds.get(name, name) for name in BASE]
    for package in packages:
        name = package.distribution
        try:
            # Without what marks a build for one kind of machine, as in 2.13.0+cpu.
            requirements.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:
            requirements.append(bounds.get(name, name))
    return requirements


def _parse_name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0]


def _read_requirements() -> list[str]:
    try:
        return requires(OURS) or []
    except PackageNotFoundError:
        return []


def make_key(device: DeviceFacts, requirements: Sequence[str]) -> str:
    """Return the name of an environment: a make_key of everything that decides its content."""
    listed = json.dumps([device.python, device.machine, list(requirements)])
    return hashlib.sha256(listed.encode()).hexdigest()[:16]


def check_device(name: str, device: DeviceFacts) -> None:
    """Check that a device can run jobs at all.

    Raises:
        EdgeAscError: no 64-bit system, an old Python, or no folder to write to.
    """
    number = ".".join(map(str, device.python))
    if device.bits != 64 or device.machine not in MACHINES:
        raise EdgeAscError(
            f"{name}: {device.bits}-bit Python on {device.machine}; the engines are published for 64-bit "
            "aarch64 and x86_64 alone: install a 64-bit system"
        )
    if device.python[:2] < OLDEST_PYTHON:
        raise EdgeAscError(f"{name}: Python {number}; expected 3.11 or later: upgrade, or name one with --python")
    if not device.writable:
        raise EdgeAscError(f"{name}: {device.folder} cannot be written; give the user a home folder there")


def check_packages(name: str, python: str, device: DeviceFacts, packages: Sequence[Package]) -> None:
    """Check that a device's Python has packages that cannot be installed there.

    Raises:
        EdgeAscError: it lacks some.
    """
    needed = [Package("numpy", ("numpy",)), *packages]
    missing = [package.distribution for package in needed if not set(package.modules) & set(device.modules)]
    if missing:
        raise EdgeAscError(
            f"{name}: {python} there has no {', '.join(missing)}; install them on the device, or "
            "name a Python that has them with --python"
        )


def list_modules(packages: Sequence[Package]) -> Iterator[str]:
    """Yield the modules whose presence `check_packages` asks for."""
    yield "numpy"
    for package in packages:
        yield from package.modules


def check_space(name: str, device: DeviceFacts, needed: int) -> None:
    """Check the free space of a device.

    Raises:
        EdgeAscError: less than `needed` bytes, and some to spare, are free.
    """
    if device.free_bytes < (needed := needed + SPARE_BYTES):
        raise EdgeAscError(
            f"{name}: {device.free_bytes / 1e6:.0f} MB are free under {device.folder}; expected "
            f"{needed / 1e6:.0f} MB: make room there"
        )


def download(device: DeviceFacts, requirements: Sequence[str], folder: Path, reason: str) -> None:
    """Download wheels for a device with this machine's pip.

    Args:
        device: that the wheels are for.
        requirements: to download.
        folder: for the wheels.
        reason: why the device's own pip failed, for the message.

    Raises:
        EdgeAscError: pip fails, with the reasons of both.
    """
    kind, number = device.libc
    if kind != "glibc":
        raise EdgeAscError(
            f"pip there could not install the engine ({reason}), and its C library is {kind or 'unknown'}; "
            "expected glibc: install the packages by hand"
        )
    minor = number.partition(".")[2].partition(".")[0]
    if not minor.isdecimal() or len(minor) > 3:
        raise EdgeAscError(f"the device reports version {number[:20]!r} of its C library; expected one such as 2.36")
    machine = device.machine.replace("arm64", "aarch64")
    tags = [f"manylinux_2_{i}_{machine}" for i in range(int(minor), 16, -1)] + [f"manylinux2014_{machine}"]
    python = ".".join(map(str, device.python[:2]))
    command = [*make_command("pip", "download"), *PIP]
    command += ["--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    command += [argument for tag in tags for argument in ("--platform", tag)]
    try:
        run_tool([*command, *requirements], "pip here", timeout=INSTALL)
    except EdgeAscError as error:
        raise EdgeAscError(f"the engine could not be installed: pip there reported {reason!r}; {error}") from error
