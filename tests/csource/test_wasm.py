"""C artefacts as WebAssembly: in Node, they compute what native code computes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from csource.wasm import (
    read_samples,
    require_tools,
    run_test_in_node,
    stream_in_node,
    stream_natively,
)
from edge_asc.cli import cli
from edge_asc.errors import ExportError
from edge_asc.manifest import Manifest
from edge_asc.seal import check_seal
from edge_asc_export.c.wasm import TOOLS, check_tools
from edge_asc_export.webpage import write_module

RATE = 16000.0
EXAMPLE = Path(__file__).parents[2] / "examples/wasm.mjs"


@pytest.fixture(scope="module")
def module(c_bundle: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `fuse` as WebAssembly."""
    require_tools("node", *TOOLS)
    return write_module(*c_bundle, tmp_path_factory.mktemp("module")).parent


def test_node_gets_the_decisions_and_events_of_native_code(
    module: Path, c_bundle: tuple[Path, Manifest], tmp_path: Path
) -> None:
    samples = read_samples()
    seen = stream_in_node(module, samples)
    decisions, events = stream_natively(c_bundle[0] / "fuse-int8.c", samples, tmp_path)
    labels = seen["labels"]
    rows = [
        [
            d["time"] * RATE,
            d["index"],
            labels.index(d["answer"]),
            int(d["isUnknown"]),
            *d["probabilities"],
            *d["logits"],
        ]
        for d in seen["decisions"]
    ]
    assert len(rows) == len(samples) // 4096
    assert rows == decisions
    assert all(d["confidence"] == d["probabilities"][labels.index(d["answer"])] for d in seen["decisions"])
    steps = samples[: 4096 * len(rows)].reshape(-1, 4096) / 32768
    levels = 10 * np.log10((steps**2).mean(1))
    np.testing.assert_allclose([d["level"] for d in seen["decisions"]], levels, rtol=0, atol=1e-9)
    assert len(events) > 2
    assert [
        [labels.index(e["label"]), e["start"] * RATE, (e["end"] or 0) * RATE, e["peak"], e["mean"]]
        for e in seen["events"]
    ] == events
    assert seen["imports"] == []
    assert seen["message"] == "got 3 samples; expected 4096"


def test_the_example_prints_decisions_and_events(module: Path, tmp_path: Path) -> None:
    samples = read_samples()
    soundfile.write(tmp_path / "samples.wav", samples, 16000, subtype="PCM_16")
    command = ["node", str(EXAMPLE), str(module), str(tmp_path / "samples.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = stream_in_node(module, samples)
    decisions = [f"{d['time']:.3f} {d['answer']} {d['confidence']:.6f}" for d in seen["decisions"]]
    lines = done.stdout.splitlines()
    assert [line for line in lines if line[0].isdigit()] == decisions
    ends = [f"{e['label']} ends" for e in seen["events"] if e["end"] is not None]
    assert [line.rpartition(" ")[0] for line in lines if " ends " in line] == ends


def test_the_page_of_c_shows_the_example() -> None:
    code = "".join(line for line in EXAMPLE.read_text().splitlines(True) if not line.startswith("//"))
    assert f"```js\n{code}```" in (EXAMPLE.parents[1] / "docs/c.md").read_text()


def test_a_module_holds_its_contract(module: Path, c_bundle: tuple[Path, Manifest], tmp_path: Path) -> None:
    (entry,) = c_bundle[1].files.values()
    data = (module / "fuse-int8.wasm").read_bytes()
    check_seal(module / "fuse-int8.wasm")
    assert list(entry.contract.labels) == stream_in_node(module, np.zeros(4096, np.int16))["labels"]
    (tmp_path / "damaged.wasm").write_bytes(data.replace(b"\0asm", b"\0asn"))
    with pytest.raises(Exception, match="SHA-256 is"):
        check_seal(tmp_path / "damaged.wasm")


def test_kernels_of_the_pretrained_model_compute_the_same(c_bundle: tuple[Path, Manifest], tmp_path: Path) -> None:
    assert run_test_in_node(c_bundle[0] / "fuse-int8.c", tmp_path, "-O1", "-msimd128") == 0


def test_a_wrong_result_fails_in_node(c_bundle: tuple[Path, Manifest], tmp_path: Path) -> None:
    for name in ("fuse-int8.c", "fuse-int8.h", "test_fuse-int8.c"):
        text = (c_bundle[0] / name).read_text()
        (tmp_path / name).write_text(text.replace("seed = 1;", "seed = 2;"))
    assert run_test_in_node(tmp_path / "fuse-int8.c", tmp_path, "-O0") == 1


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"^clang is not installed; .*: apt-get install clang lld$"):
        check_tools()
    (tmp_path / "clang").touch(0o755)
    with pytest.raises(ExportError, match=r"^wasm-ld is not installed"):
        check_tools()
    # Before the export begins:
    done = CliRunner().invoke(cli, ["export", "fuse", "--format", "c", "--wasm", "module", "--output", str(tmp_path)])
    assert done.exit_code == 1
    assert "wasm-ld is not installed" in str(done.exception) + done.output
    assert {path.name for path in tmp_path.iterdir()} == {"clang"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--wasm", "module"], "--wasm needs a C artefact: add --format c"),
        (["--wasm", "module", "--format", "onnx"], "--wasm needs a C artefact: add --format c"),
        (["--page", "page", "--format", "c", "--runtime-files", "."], "--runtime-files belongs to --page with an ONNX"),
    ],
)
def test_options_that_do_not_belong_together(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(cli, ["export", "fuse", *arguments])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
