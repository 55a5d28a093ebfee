"""The page that runs an artefact in a browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from click.testing import CliRunner

import edge_asc_export.bundle
from browser import Browser, View
from conformance.runtimes import MODULES, require_host
from edge_asc.cli import cli
from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc.manifest import Manifest
from edge_asc_conformance import python
from edge_asc_conformance.browser import open_page, serve
from edge_asc_conformance.host import Task
from edge_asc_export.webpage import PACKAGE, find_package, write_webpage

LISTEN = "window.seen = []; document.addEventListener('decision', (event) => window.seen.push(event.detail))"


@pytest.fixture(scope="module")
def webpage(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    require_host("onnxruntime_web")
    bundle, folder = golden / "int8", tmp_path_factory.mktemp("page")
    write_webpage(bundle, Manifest.read(bundle), folder, MODULES / PACKAGE)
    return folder


@contextmanager
def opened(folder: Path, *flags: str) -> Iterator[Any]:
    """Open the page, which must ask no other server for anything, and wait for its model."""
    with serve({"page": folder}) as url, open_page("about:blank", *flags) as page:
        asked: list[str] = []
        problems: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.goto(f"{url}/page/index.html")
        page.wait_for_selector("#microphone:enabled")
        page.evaluate(LISTEN)
        yield page
        assert [each for each in asked if not each.startswith(f"{url}/page/")] == []
        assert problems == []


def test_a_recording_gets_the_decisions_of_python(webpage: Path, golden: Path) -> None:
    entries = json.loads((golden / "golden.json").read_text())["artefacts"]
    (entry,) = (entry for entry in entries if entry["scheme"] == "int8" and entry["file"].endswith(".onnx"))
    runtime = open_runtime(golden / entry["file"])
    expected = python.infer(runtime, Task(golden, entry["file"], "samples.f32", 1, MODULES))
    with opened(webpage) as page:
        page.set_input_files("#file", golden / "samples.wav")
        page.wait_for_selector("#connection:has-text('finished')")
        seen = page.evaluate("window.seen")
        rows = page.locator("#events tr").all_inner_texts()
        assert page.inner_text("#label") == "sea waves"
    labels = runtime.contract.labels
    assert len(seen) == entry["steps"]
    answers = np.array([labels.index(decision["answer"]) for decision in seen])
    assert (answers == np.array(expected.answers)).mean() >= entry["other_runtimes"]["agreement"]
    finished = [event for event in expected.events if event.end is not None]
    assert [row.split("\t")[1] for row in reversed(rows)] == [event.label.replace("_", " ") for event in finished]


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (360, "light"), (1280, "light"), (1920, "dark")])
def test_it_fits_every_screen_and_every_reader(
    webpage: Path, golden: Path, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    """With the results of a recording, which the page gets as one that was dropped on it."""
    drop = """async () => {
      const data = new DataTransfer(), sound = await (await fetch("/page/samples.wav")).blob();
      data.items.add(new File([sound], "samples.wav"));
      document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
      while (!document.getElementById("connection").textContent.startsWith("finished"))
        await new Promise((resolve) => setTimeout(resolve, 50));
    }"""
    shutil.copy(golden / "samples.wav", webpage)
    with serve({"page": webpage}) as url:
        seen = browser.inspect(f"{url}/page/index.html", View(width, scheme), ready="#microphone:enabled", script=drop)
    assert seen.overflow == []
    assert seen.violations == []
    assert seen.errors == []
    assert all(each.startswith(url) for each in seen.requests)


def test_the_microphone_is_streamed_until_it_is_stopped(webpage: Path, golden: Path) -> None:
    sound = f"--use-file-for-fake-audio-capture={golden / 'samples.wav'}"
    with opened(webpage, "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", sound) as page:
        page.click("#microphone")
        page.wait_for_selector("#connection:has-text('listening')")
        page.wait_for_selector("#strip .row")
        page.wait_for_timeout(1500)
        page.click("#stop")
        page.wait_for_selector("#connection:has-text('stopped')")
        count, levels = page.evaluate("[window.seen.length, window.seen.map((each) => each.level)]")
        assert count > 0
        assert max(levels) > -40
        page.wait_for_timeout(600)
        assert page.evaluate("window.seen.length") == count


def test_the_command_writes_the_page(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "node_modules" / PACKAGE
    (package / "dist").mkdir(parents=True)
    for name in ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (package / "dist" / name).write_bytes(name.encode())
    bundle = golden / "int8"
    monkeypatch.setattr(edge_asc_export.bundle, "export", lambda *_, **__: Manifest.read(bundle))
    monkeypatch.chdir(tmp_path)
    arguments = ["export", "fuse", "--quantize", "int8", "--output", str(bundle), "--page", "page"]
    done = CliRunner().invoke(cli, [*arguments, "--input", "samples"])
    assert done.exit_code == 0, done.output
    assert "python -m http.server --directory page" in done.output
    assert (tmp_path / "page/runtime/ort.wasm.min.mjs").read_bytes() == b"ort.wasm.min.mjs"
    assert 'content="fuse-int8-samples-step.onnx"' in (tmp_path / "page/index.html").read_text()
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 2
    assert "an ONNX artefact that takes samples: add --input samples" in done.output


def test_a_missing_runtime_is_reported_before_the_export(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"npm install onnxruntime-web"):
        find_package(tmp_path)
    (tmp_path / "node_modules" / PACKAGE).mkdir(parents=True)
    with pytest.raises(ExportError, match=r"ort\.wasm\.min\.mjs: no such file.*npm install"):
        find_package(tmp_path)
