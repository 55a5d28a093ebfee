"""Engines: which files each one runs, which package it needs, and how it opens a model."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.manifest import MANIFEST, Manifest, has_manifest
from edge_asc.manifest import verify as verify_listed
from edge_asc.registry import Registry
from edge_asc.runtime import Runtime
from edge_asc.zoo import list_bundles, list_names, locate_model


@dataclass(frozen=True)
class Substitute:
    """A package that runs an engine's files where the engine's own is not installed.

    Attributes:
        distribution: name on the package index.
        module: name to import.
        loss: its disadvantage, as a clause of a warning.
    """

    distribution: str
    module: str
    loss: str


@dataclass(frozen=True)
class Engine:
    """One engine.

    Attributes:
        name: unique, such as "litert".
        title: name that a user reads, such as "LiteRT".
        accepts: whether it runs what is at an existing path, decided without loading it.
        open: opens a path for a number of threads.
        distribution: package that it needs, by its name on the package index.
        module: the same package, by the name to import.
        modules: further modules that it cannot do without, by the names to import.
        extra: extra of edge-asc that installs it; "" where none does.
        suffixes: suffixes of the artefacts that it runs, preferred first; empty where it runs folders only.
        substitutes: packages that run its files where its own is not installed.
        preference: a bundle is run in the installed engine with the highest preference.
        verify: makes sure, before `open`, that a file is as it was exported; None where files hold no digest.
        by_name_only: whether it runs only what is named with its name before the path, such as "tflm:model.tflite".
        preload: modules that `open` imports, where that is not `module` alone: a benchmark imports them beforehand, to
            report their memory separately.
    """

    name: str
    title: str
    accepts: Callable[[Path], bool]
    open: Callable[[Path, int], Runtime]
    distribution: str
    module: str
    modules: tuple[str, ...] = ()
    extra: str = ""
    suffixes: tuple[str, ...] = ()
    substitutes: tuple[Substitute, ...] = ()
    preference: int = 0
    verify: Callable[[Path], None] | None = None
    preload: tuple[str, ...] = ()
    by_name_only: bool = False

    def is_installed(self) -> bool:
        """Whether its package or a substitute, and all it needs besides, can be imported. Imports nothing."""
        alternatives = (self.module, *(substitute.module for substitute in self.substitutes))
        return any(map(find_spec, alternatives)) and all(map(find_spec, self.modules))

    def version(self) -> str:
        """Return the version of the installed package that runs its files; "" where there is none."""
        for name in (self.distribution, *(substitute.distribution for substitute in self.substitutes)):
            try:
                return version(name)
            except PackageNotFoundError:
                continue
        return ""


ENGINES: Registry[Engine] = Registry("edge_asc.engines", Engine, "ENGINE", "engine")


def has_suffix(*suffixes: str) -> Callable[[Path], bool]:
    """Return a function for `Engine.accepts` that accepts files with one of these suffixes."""
    return lambda path: path.suffix in suffixes and path.is_file()


def open_runtime(path: str | Path, *, threads: int = 1, verify: bool = True) -> Runtime:
    """Open a model in the engine that runs it.

    Args:
        path: an artefact, a bundle (a folder with a manifest; see `preferred_artefact`), a checkpoint folder, or the
            name of a pretrained model, such as "fuse", or of its artefacts, such as "fuse-int8". A checkpoint runs as
            the artefact in its folder where torch is missing (see `find_engine`). The name of an engine and a colon
            before it choose that engine, such as "tflm:fuse-int8".
        threads: CPU threads of the engine.
        verify: compare an artefact with the digest in its contract (see `edge_asc.seal`) and with the one in the
            manifest beside it, before an engine reads it. Engines may crash on a damaged file, or compute nonsense.

    Raises:
        ContractError: no model there, a damaged file, one without a contract, or one that this engine does not run.
        MissingExtraError: the engine is not installed.
    """
    model, engine = find_engine(Path(path))
    verified = verify and model.is_file() and engine.verify is not None
    if verify and model.is_file():
        verify_listed(model)
        if engine.verify is not None:
            engine.verify(model)
    try:
        return engine.open(model, threads)
    except EdgeAscError:
        raise
    except Exception as error:  # engines have errors of many kinds, and no common one
        raise ContractError(
            f"{model}: {engine.title} {engine.version()} cannot open it ({error}); "
            + ("the file is as it was exported: upgrade the engine" if verified else "the file may be damaged")
            + ", or export it again"
        ) from error


def find_engine(path: Path) -> tuple[Path, Engine]:
    """Return the artefact or checkpoint that `path` means, and the engine that runs it.

    Where the engine of a checkpoint is not installed and its folder holds bundles, as those of the pretrained models
    do, this is an artefact of the first of them that an installed engine runs: float before int8.

    Raises:
        ContractError: nothing there that an engine runs.
    """
    name, _, rest = str(path).partition(":")
    if rest and name in ENGINES.names():
        return _find_for(ENGINES.load(name), Path(rest))
    path = locate_model(path) or path
    if has_manifest(path):
        path = preferred_artefact(path)
    engines = [engine for engine in ENGINES.all().values() if not engine.by_name_only]
    for engine in engines:
        if path.exists() and engine.accepts(path):
            bundles = () if engine.is_installed() else list_bundles(path)
            substitutes = [find_engine(bundle) for bundle in bundles]
            runnable = (pair for pair in substitutes if pair[1].is_installed())
            return next(runnable, substitutes[0] if substitutes else (path, engine))
    suffixes = ", ".join(suffix for engine in engines for suffix in engine.suffixes)
    if not path.exists():
        raise ContractError(
            f"{path}: no model there; expected an artefact ({suffixes}), an exported folder with {MANIFEST}, "
            f"a checkpoint folder, or the name of a pretrained model: {', '.join(list_names())}"
        )
    raise ContractError(f"{path}: no engine runs a file ending in {path.suffix or 'nothing'}; expected {suffixes}")


def _find_for(engine: Engine, path: Path) -> tuple[Path, Engine]:
    """Return what a path means to an engine that was chosen by name.

    Raises:
        ContractError: nothing there that the engine runs.
    """
    path = locate_model(path) or path
    if has_manifest(path):
        names = sorted(Manifest.read(path).files, key=_window_order)
        path = next((path / name for name in names if engine.accepts(path / name)), path)
    if not path.exists() or not engine.accepts(path):
        raise ContractError(f"{path}: no model there that {engine.title} runs; expected an artefact of its format")
    return path, engine


def preferred_artefact(bundle: Path) -> Path:
    """Return the artefact of a bundle to run: of the preferred installed engine; a step before a window.

    Raises:
        ContractError: the manifest is damaged, or lists nothing that an engine runs.
    """
    names = sorted(Manifest.read(bundle).files, key=_window_order)
    ranked = sorted(ENGINES.all().values(), key=lambda engine: (not engine.is_installed(), -engine.preference))
    for engine in ranked:
        for name in names:
            if Path(name).suffix in engine.suffixes:
                return bundle / name
    raise ContractError(f"{bundle / MANIFEST}: lists no file that an engine runs; export again")


def _window_order(name: str) -> tuple[int, str]:
    """A step first, then windows by length."""
    window = re.search(r"window_(\d+)s", name)
    return (int(window[1]) if window else 0, name)
