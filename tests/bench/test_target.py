"""Targets and engines of any distribution, from the command line and on a device."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import numpy
import pytest

from artefacts import Artefacts
from edge_asc.errors import EdgeAscError
from edge_asc_bench.remote import environment
from edge_asc_bench.remote.archive import write_archive
from edge_asc_bench.result import read
from edge_asc_bench.target import TARGETS, find_kind

TARGET = '''
    """This machine under another name."""
    from edge_asc_bench.target import TargetKind
    from edge_asc_bench.targets.local import LocalTarget


    class Toy(LocalTarget):
        def __init__(self, url):
            self.name = url


    TARGET = TargetKind("toy", "toy://name", "A toy.", open=lambda url, options: Toy(url))
'''
ENGINE = '''
    """Runs folders that hold an ONNX artefact."""
    from edge_asc.engine import Engine
    from edge_asc.engines.onnxruntime import OnnxRuntime


    class ToyRuntime(OnnxRuntime):
        def __init__(self, path, threads):
            super().__init__(path / "model.onnx", threads)
            self.engine = "toy 1.0"


    ENGINE = Engine(
        name="box", title="Box", accepts=lambda path: path.suffix == ".box", open=ToyRuntime,
        distribution="toy-runtime", module="toys",
    )
'''


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A folder with the distribution "toy-bench": a target, and a package of engines."""
    modules = {
        "toys/__init__.py": "",
        "toys/place.py": TARGET,
        "toys/engines/__init__.py": "",
        "toys/engines/box.py": ENGINE,
    }
    for path, text in modules.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(dedent(text))
    info = tmp_path / "toy_bench-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-bench\nVersion: 1.0\n")
    points = "[edge_asc.targets]\nplace = toys.place:TARGET\n\n[edge_asc.engines]\ntoys = toys.engines\n"
    (info / "entry_points.txt").write_text(points)
    return tmp_path


def run(code: str, *paths: Path, isolated: bool = False, arguments: Sequence[object] = ()) -> str:
    """What a program prints that finds modules in these paths, too."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *(["-S", "-P"] if isolated else []), "-c", dedent(code), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_target_and_an_engine_of_another_distribution_are_used_from_the_command_line(
    toys: Path, artefacts: Artefacts, tmp_path: Path
) -> None:
    box = tmp_path / "model.box"
    box.mkdir()
    (box / "model.onnx").write_bytes(artefacts.steps["onnx"].read_bytes())
    output = tmp_path / "result.json"
    options = ["--target", "toy://x", "--rounds", "1", "--lengths", "1", "--output", output]
    run("from edge_asc.cli import main; main()", toys, arguments=["bench", box, *options])
    result = read(output)
    assert result.made.target == "toy://x"
    (variant,) = result.variants
    assert (variant.name, variant.engine) == ("model.box", "toy 1.0")
    assert variant.latency["step"].total.p50 > 0
    assert variant.graph is None
    text = run("from edge_asc.cli import main; main()", toys, arguments=["bench", "--help"])
    assert "toy://name" in text


def test_an_engines_packages_are_those_of_its_extra_or_its_own_and_its_distributions(toys: Path) -> None:
    packages = environment.list_packages(["litert", "onnxruntime", "litert"])
    assert [package.distribution for package in packages] == ["ai-edge-litert", "onnxruntime"]
    assert "tflite_runtime" in packages[0].modules, "a substitute will do where nothing can be installed"
    assert [p.distribution for p in environment.list_packages(["pytorch"])] == ["msgspec", "safetensors", "torch"]
    code = """
    from edge_asc_bench.remote.environment import list_packages, list_requirements
    packages = list_packages(["box"])
    print(*(package.distribution for package in packages), *list_requirements(packages))
    """
    named = run(code, toys).split()
    assert named[:2] == ["toy-bench", "toy-runtime"]
    assert "toy-bench==1.0" in named, "in the version that is installed here"
    assert "toy-runtime" in named


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_the_runners_archive_alone_opens_an_artefact(artefacts: Artefacts, tmp_path: Path, engine: str) -> None:
    """Without site-packages of this machine: the archive, numpy and the engine's package, as on a device."""
    archive = tmp_path / "runner.zip"
    write_archive(archive)
    site = tmp_path / "site"
    site.mkdir()
    names = {"onnx": ["onnxruntime"], "tflite": ["ai_edge_litert"]}[engine]
    for module in ("numpy", "numpy.libs", *names):
        if (source := _site_packages() / module).exists():
            (site / module).symlink_to(source)
    code = """
    import sys
    import edge_asc, edge_asc_bench.worker
    from edge_asc.engine import ENGINES, open_runtime
    assert "runner.zip" in edge_asc.__file__, edge_asc.__file__
    print(*ENGINES.names())
    print(open_runtime(sys.argv[1]).engine)
    from edge_asc_bench.machine import describe
    print(*describe().packages)
    """
    printed = run(code, archive, site, isolated=True, arguments=[artefacts.steps[engine]]).splitlines()
    engines, opened, packages = printed[-3:]
    assert engines == "c litert onnxruntime pytorch tflm", "engines of packages outside the archive are not listed"
    assert opened.startswith({"onnx": "onnxruntime ", "tflite": "litert "}[engine])
    assert packages == "edge-asc", "the others have no metadata here"


def _site_packages() -> Path:
    return Path(numpy.__file__).parents[1]


def test_a_kind_is_found_by_its_scheme() -> None:
    assert {kind.scheme: name for name, kind in TARGETS.all().items()} == {
        scheme: scheme for scheme in ("adb", "app", "local", "ssh")
    }
    assert find_kind("ssh://a").module == "asyncssh"
    with pytest.raises(EdgeAscError, match="expected adb://"):
        find_kind("telnet://a")


def test_the_archive_registers_its_own_engines(tmp_path: Path) -> None:
    write_archive(tmp_path / "runner.zip")
    with zipfile.ZipFile(tmp_path / "runner.zip") as archive:
        (points,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
        (metadata,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("METADATA"))
    assert points == "[edge_asc.engines]\nedge_asc = edge_asc.engines\n"
    assert "Name: edge-asc\n" in metadata
