"""`edge-asc doctor`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import click
from rich.table import Table

import edge_asc
from edge_asc.cli.command import COMMANDS, Need
from edge_asc.cli.console import json_option, out, print_json
from edge_asc.engine import ENGINES, Engine
from edge_asc.jsonobject import JsonValue
from edge_asc.zoo import list_names

# Packages that edge-asc always installs.
CORE = (
    Need("numpy", "numpy", "", "everything"),
    Need("soundfile", "soundfile", "", "reading audio files"),
    Need("soxr", "soxr", "", "resampling"),
)


@click.command("doctor", short_help="Show what is installed, what is missing, and how to get it.")
@json_option
def command(as_json: bool) -> None:
    """Show what is installed, what is missing and how to get it, and what works here.

    Exit code 0: an engine that can run a model is installed. 1: none is.
    """
    diagnosis = Diagnosis.make()
    if as_json:
        print_json(diagnosis.to_json())
    else:
        _print(diagnosis)
    if not any(engine.is_installed() for engine in _engines() if not engine.by_name_only):
        raise SystemExit(1)


@dataclass(frozen=True)
class Machine:
    """This installation and its machine; `bits` are those of Python's addresses."""

    edge_asc: str
    python: str
    system: str
    machine: str
    bits: int


@dataclass(frozen=True)
class Package:
    """A package that something needs.

    Attributes:
        package, module, extra, purpose: as of `Need`.
        found: installed version; "" where it is not installed.
        install: command that installs it.
    """

    package: str
    module: str
    extra: str
    purpose: str
    found: str
    install: str

    @classmethod
    def look_up(cls, need: Need) -> Package:
        """Look for an installed version."""
        installed = ""
        if find_spec(need.module) is not None:
            try:
                installed = version(need.package)
            except PackageNotFoundError:
                installed = "unknown version"
        return cls(**asdict(need), found=installed, install=_install(need.package, need.extra))


@dataclass(frozen=True)
class Diagnosis:
    """The document that `--json` prints.

    Attributes:
        machine: this installation.
        packages: every package that a part of edge-asc needs.
        models: names of the pretrained models and of their artefacts.
        advice: one sentence for each thing that does not work here.
    """

    machine: Machine
    packages: tuple[Package, ...]
    models: tuple[str, ...]
    advice: tuple[str, ...]

    @classmethod
    def make(cls) -> Diagnosis:
        """Look at this installation."""
        machine = Machine(
            edge_asc=edge_asc.__version__,
            python=platform.python_version(),
            system=platform.system(),
            machine=platform.machine(),
            bits=64 if sys.maxsize > 2**32 else 32,
        )
        engines = _engines()
        packages = tuple(map(Package.look_up, _merge_needs(_needs(engines))))
        return cls(machine, packages, list_names(), tuple(_advice(engines, packages, machine)))

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object."""
        return {
            "machine": asdict(self.machine),
            "packages": [asdict(package) for package in self.packages],
            "models": list(self.models),
            "advice": list(self.advice),
        }


def _engines() -> tuple[Engine, ...]:
    """Return the engines that need a package beside edge-asc."""
    return tuple(engine for engine in ENGINES.all().values() if engine.distribution != "edge-asc")


def _needs(engines: Sequence[Engine]) -> Iterator[Need]:
    yield from CORE
    for engine in engines:
        files = f"{', '.join(engine.suffixes)} artefacts" if engine.suffixes else f"models in {engine.title}"
        yield Need(engine.distribution, engine.module, engine.extra, f"running {files}")
    for each in COMMANDS.all().values():
        yield from each.needs


def _merge_needs(needs: Iterator[Need]) -> list[Need]:
    """Return one need for each module, with all purposes, in the order of their first."""
    merged: dict[str, Need] = {}
    for need in needs:
        known = merged.get(need.module)
        merged[need.module] = replace(known, purpose=f"{known.purpose}, {need.purpose}") if known else need
    return list(merged.values())


def _advice(engines: Sequence[Engine], packages: Sequence[Package], machine: Machine) -> Iterator[str]:
    installed = {package.module for package in packages if package.found}
    for engine in engines:
        if engine.module in installed:
            continue
        for substitute in engine.substitutes:
            if find_spec(substitute.module) is not None:
                yield (
                    f"{substitute.distribution} runs {', '.join(engine.suffixes)} artefacts in place of "
                    f"{engine.distribution}: {substitute.loss}"
                )
                break
    if "torch" not in installed:
        yield (
            "without torch, pretrained models run as the artefacts that come with them; to export or train, run: "
            f"{_install('torch', 'train')}"
        )
    if machine.bits == 32:
        names = " nor ".join(engine.distribution for engine in engines if engine.suffixes)
        yield f"a 32-bit Python: neither {names} is published for it; install a 64-bit system"
    if not any(engine.is_installed() for engine in engines if not engine.by_name_only):
        smallest = max(engines, key=lambda engine: engine.preference)
        install = _install(smallest.distribution, smallest.extra)
        yield f"no engine that runs models is installed; the smallest way is: {install}"


def _install(package: str, extra: str) -> str:
    if extra:
        return f"pip install 'edge-asc[{extra}]'"
    return f"pip install '{'edge-asc' if package in {need.package for need in CORE} else package}'"


def _print(diagnosis: Diagnosis) -> None:
    machine = diagnosis.machine
    table = Table(title=f"edge-asc {machine.edge_asc}, Python {machine.python}, {machine.machine}")
    for name in ("package", "version", "for", "to install"):
        table.add_column(name, overflow="fold")
    for package in diagnosis.packages:
        install = "" if package.found else package.install
        table.add_row(package.package, package.found or "missing", package.purpose, install)
    out.print(table)
    out.print(f"pretrained models: {', '.join(diagnosis.models) or 'none'}")
    for line in diagnosis.advice:
        out.print(line)
