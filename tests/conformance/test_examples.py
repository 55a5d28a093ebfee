"""The examples, each run as its first lines say, against golden vectors."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from conformance.runtimes import EXAMPLES, require_host
from edge_asc.data.cache import default_cache
from edge_asc.engine import open_runtime
from edge_asc_conformance.browser import open_page, serve

SUFFIXES = {"onnx_numpy.py": ".onnx", "tflite_numpy.py": ".tflite", "micro.py": ".tflite", "node.mjs": ".onnx"}
HOSTS = {
    "onnx_numpy.py": "onnxruntime",
    "tflite_numpy.py": "litert",
    "micro.py": "tflite_micro",
    "node.mjs": "onnxruntime_node",
}


def check(lines: Sequence[str], golden: Path, suffix: str) -> None:
    """Compare lines "seconds label probability" with the golden vectors of the rule for a clip."""
    entries = json.loads((golden / "golden.json").read_text())["artefacts"]
    (entry,) = (entry for entry in entries if entry["scheme"] == "int8" and entry["file"].endswith(suffix))
    labels = open_runtime(golden / entry["file"]).contract.labels
    expected = np.fromfile(golden / entry["clip_probabilities"], "<f8").reshape(entry["steps"], -1)
    times, names, probabilities = zip(*(line.split() for line in lines), strict=True)
    assert list(map(float, times)) == [round(0.256 * step, 3) for step in range(1, entry["steps"] + 1)]
    same = np.array([labels.index(name) for name in names]) == expected.argmax(1)
    assert same.mean() >= entry["other_runtimes"]["agreement"]
    assert np.abs(np.array(list(map(float, probabilities))) - expected.max(1)).max() < 0.1


@pytest.mark.parametrize("name", list(SUFFIXES))
def test_a_program_classifies_a_recording(name: str, golden: Path) -> None:
    require_host(HOSTS[name])
    program = "node" if name.endswith(".mjs") else sys.executable
    command = [program, str(EXAMPLES / name), str(golden / "int8"), str(golden / "samples.wav")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    check(done.stdout.splitlines(), golden, SUFFIXES[name])


def find_native(pattern: str) -> Path:
    """Return what the build of the Android demo has fetched: ONNX Runtime for C, and for Java on this machine."""
    found = sorted((default_cache() / "android").glob(pattern))
    if not found:
        pytest.skip(f"no {pattern} in the cache: make android fetches ONNX Runtime's interfaces for C and Java")
    return found[-1]


def run_native(command: list[str], libraries: Path, golden: Path) -> None:
    """Run a program with ONNX Runtime's library, and compare what it prints."""
    command += [str(next((golden / "int8").glob("*.onnx"))), str(golden / "samples.wav")]
    environment = {**os.environ, "LD_LIBRARY_PATH": str(libraries)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    check(done.stdout.splitlines(), golden, ".onnx")


def test_a_program_in_c_classifies_a_recording(golden: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    plugins = find_native("npm-*/node_modules/com.github.asus4.onnxruntime/Plugins")
    headers = plugins / "iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers"
    library, program = tmp_path / "libonnxruntime.so.1", tmp_path / "stream"
    library.symlink_to(plugins / "Linux/x64/libonnxruntime.so")
    command = ["gcc", "-Wall", "-Wextra", "-Werror", f"-I{headers}", "-o", str(program), str(EXAMPLES / "stream.c")]
    subprocess.run([*command, str(library), "-lm"], check=True)
    run_native([str(program)], tmp_path, golden)
    failed = subprocess.run([program], capture_output=True, check=False, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert (failed.returncode, failed.stderr[:6]) == (2, b"usage:")


def test_a_program_in_java_classifies_a_recording(golden: Path) -> None:
    if shutil.which("java") is None:
        pytest.skip("java is not installed")
    folder = find_native("ort-*")
    command = ["java", f"-Donnxruntime.native.path={folder / 'native'}", "-cp", str(folder / "classes.jar")]
    run_native([*command, str(EXAMPLES / "Stream.java")], folder / "native", golden)


def test_a_page_classifies_a_recording(golden: Path) -> None:
    require_host("onnxruntime_web")
    folders = {"examples": EXAMPLES, "golden": golden}
    with serve(folders) as url, open_page(f"{url}/examples/browser.html?model=/golden/int8") as page:
        page.wait_for_selector("body[data-ready]")
        page.set_input_files("#file", golden / "samples.wav")
        page.wait_for_selector("#results[data-file]")
        check(page.inner_text("#results").splitlines(), golden, ".onnx")


def test_examples_are_short() -> None:
    suffixes = (".c", ".html", ".java", ".mjs", ".py")
    lines = {path.name: len(path.read_text().splitlines()) for path in EXAMPLES.iterdir() if path.suffix in suffixes}
    assert len(lines) == 8
    assert {name: count for name, count in lines.items() if count > 60} == {}


def test_the_page_shows_the_example_of_node() -> None:
    code = "".join(line for line in (EXAMPLES / "node.mjs").read_text().splitlines(True) if not line.startswith("//"))
    assert f"```js\n{code}```" in (EXAMPLES.parent / "docs/other-languages.md").read_text()
    assert len(code.splitlines()) <= 28
