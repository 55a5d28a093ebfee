from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from artefacts import Artefacts
    from browser import Browser
    from edge_asc.manifest import Manifest

# How fast a machine draws examples says nothing about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def _heeded_signals() -> None:
    """What ignores a signal, such as nohup, hands that down to every process that a test starts and then ends."""
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small models run faster on one thread than on the threads of a busy machine."""
    if find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def scenes10() -> Path:
    """A data set of ten classes of real recordings."""
    if given := os.environ.get("EDGE_ASC_DATA"):
        if not (Path(given) / "meta.csv").is_file():
            pytest.fail(f"EDGE_ASC_DATA={given} holds no meta.csv; expected the folder of a data set")
        return Path(given)
    root = Path(__file__).parents[2] / "shared/data/scenes10"
    if not root.is_dir():
        pytest.skip("no real recordings: set EDGE_ASC_DATA to the folder of scenes10")
    return root


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, to look at pages."""
    from browser import Browser, find_missing

    if missing := find_missing():
        pytest.skip(missing)
    with Browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Artefacts:
    """Models with random weights, exported to every form."""
    from artefacts import write

    return write(tmp_path_factory.mktemp("artefacts"))


@pytest.fixture(scope="session")
def c_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """The pretrained model `fuse` as int8 C: its folder and its manifest."""
    from csource.wasm import require_tools, write_bundle

    require_tools("cc")
    folder = tmp_path_factory.mktemp("c")
    return folder, write_bundle(folder)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documentation site, built without a warning."""
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason="install edge-asc[docs]")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    root = Path(__file__).parents[1]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    return folder
