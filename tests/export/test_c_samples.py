"""A C artefact that takes samples runs its own front end in every command."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from artefacts import FRONT_END, LABELS, lowered_file, randomised
from edge_asc.data.scenes import generate_scene
from edge_asc.engine import open_runtime
from edge_asc.engines.c import CRuntime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ExportError
from edge_asc.streaming import StreamingClassifier
from edge_asc.tensors import to_int16
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.lowering import lower_step
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: install gcc or clang")
NAME = "random-causal-float-samples-int16"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a float C artefact that takes samples."""
    folder = tmp_path_factory.mktemp("samples")
    Checkpoint("random-causal", randomised(), FRONT_END, LABELS).save(folder / "model")
    export(ExportRequest(folder / "model", SCHEMES["none"], ("c",), input="int16"), folder / "out")
    return folder / "out"


def test_the_export_measures_its_front_end_and_writes_what_belongs_to_it(exported: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {
        f"{NAME}.c",
        f"{NAME}.h",
        f"{NAME}.json",
        f"test_{NAME}.c",
        "manifest.json",
    }
    contract = open_runtime(exported / f"{NAME}.c").contract
    assert contract.input == "int16"
    assert contract.macs["step"] == lower_step(randomised()).macs()
    levels = contract.measured.levels
    assert [level.dbfs for level in levels] == [0.0, -30.0, -60.0]
    assert all(level.features_max_error < 1e-4 and level.agreement == 1.0 for level in levels)


def test_a_step_is_what_a_stream_of_c_computes(exported: Path) -> None:
    runtime = open_runtime(exported / f"{NAME}.c")
    assert isinstance(runtime, CRuntime)
    samples = np.random.default_rng(3).integers(-(2**15), 2**15, 6 * 4096).astype(np.int16)
    loop = runtime.loop("step")
    for step in range(6):
        logits = loop.feed(samples[None, step * 4096 : (step + 1) * 4096])
        np.testing.assert_array_equal(logits[0], runtime.listen(samples[: (step + 1) * 4096]))
    loop.reset()
    np.testing.assert_array_equal(loop.feed(samples[None, :4096])[0], runtime.listen(samples[:4096]))


def test_it_decides_as_with_the_front_end_of_python(exported: Path) -> None:
    samples = to_int16(generate_scene("park", 1, seconds=3)) / np.float32(2**15)
    runtimes = open_runtime(exported / f"{NAME}.c"), TorchRuntime(Checkpoint.load(exported.parent / "model"))
    logits, reference = (
        np.stack([decision.logits for decision in StreamingClassifier(runtime).push(samples)]) for runtime in runtimes
    )
    np.testing.assert_allclose(logits, reference, atol=1e-4)


def test_its_test_passes_without_warnings(exported: Path, tmp_path: Path) -> None:
    sources = [exported / f"{NAME}.c", exported / f"test_{NAME}.c"]
    flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]
    subprocess.run(["cc", *flags, *sources, "-o", tmp_path / "test"], check=True)
    printed = subprocess.run([tmp_path / "test"], check=True, capture_output=True, text=True).stdout
    assert printed == "0 of 80 logits differ, 8 decisions of 8\n"


def test_float_samples_are_refused() -> None:
    with pytest.raises(ExportError, match="C takes samples of 16 bits: use --input int16"):
        lowered_file("c", [lower_step(randomised())], Plan(SCHEMES["none"]), "samples")
