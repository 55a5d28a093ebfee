"""The page that holds a C artefact as WebAssembly, opened from a folder, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile

from browser import Browser, View
from conformance.test_webpage import LISTEN
from csource.wasm import read_samples, require_tools, stream_in_node
from edge_asc.manifest import Manifest
from edge_asc_conformance.browser import find_missing, open_page
from edge_asc_export.c.wasm import TOOLS
from edge_asc_export.webpage import write_module, write_single_page

LARGEST = 400_000  # bytes


@pytest.fixture(scope="module")
def page(c_bundle: tuple[Path, Manifest], tmp_path_factory: pytest.TempPathFactory) -> Path:
    if missing := find_missing():
        pytest.skip(missing)
    require_tools(*TOOLS)
    return write_single_page(*c_bundle, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "samples.wav"
    soundfile.write(path, read_samples(), 16000, subtype="PCM_16")
    return path


def watch(page: Any) -> list[str]:
    """Return a list that gets what a page asks for, and what goes wrong in it."""
    problems: list[str] = []
    page.on("request", lambda request: problems.append(request.url))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text))
    return problems


def test_it_is_one_small_file(page: Path) -> None:
    assert [each.name for each in page.parent.iterdir()] == ["index.html"]
    assert page.stat().st_size < LARGEST


def test_a_recording_gets_the_decisions_of_node(
    page: Path, recording: Path, c_bundle: tuple[Path, Manifest], tmp_path: Path
) -> None:
    require_tools("node")
    expected = stream_in_node(write_module(*c_bundle, tmp_path).parent, read_samples())
    with open_page("about:blank") as browser:
        problems = watch(browser)
        browser.goto(page.as_uri())
        browser.wait_for_selector("#file:enabled")
        browser.evaluate(LISTEN)
        browser.set_input_files("#file", recording)
        browser.wait_for_selector("#connection:has-text('finished')")
        seen = browser.evaluate("window.seen")
        rows = browser.locator("#events tr").all_inner_texts()
    assert problems == [page.as_uri()]
    assert [{k: v for k, v in decision.items() if k != "events"} for decision in seen] == expected["decisions"]
    finished = [event["label"].replace("_", " ") for event in expected["events"] if event["end"] is not None]
    assert [row.split("\t")[1] for row in reversed(rows)] == finished


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_it_fits_every_screen_and_every_reader(
    page: Path, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    seen = browser.inspect(page, View(width, scheme), ready="#microphone:enabled")
    assert seen.overflow == []
    assert seen.violations == []
    assert seen.errors == []
    assert seen.requests == []


def test_its_policy_lets_no_other_script_run_and_nothing_leave(page: Path, browser: Browser) -> None:
    script = """async () => {
      const blocked = new Set(), frame = document.createElement("iframe");
      document.addEventListener("securitypolicyviolation", (event) => blocked.add(event.effectiveDirective));
      const image = "<img src='https://example.invalid/x.png' onerror='window.bad = 1'>";
      document.body.insertAdjacentHTML("beforeend", image);
      frame.srcdoc = "<script>parent.bad = 2</script><script src='data:text/javascript,parent.bad=3'></script>";
      document.body.append(frame);
      await new Promise((resolve) => { frame.onload = resolve; });
      const reply = await fetch("https://example.invalid/").catch(() => "none");
      await new Promise((resolve) => setTimeout(resolve, 100));
      return [reply, window.bad ?? 0, [...blocked].sort()];
    }"""
    seen = browser.inspect(page, View(), ready="#microphone:enabled", script=script, with_axe=False)
    assert seen.result == ["none", 0, ["connect-src", "img-src", "script-src-attr"]]
    assert sum("script-src" in error for error in seen.errors) == 3


def test_the_microphone_is_streamed_until_it_is_stopped(page: Path, recording: Path) -> None:
    sound = f"--use-file-for-fake-audio-capture={recording}"
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream", sound)
    with open_page("about:blank", *flags) as browser:
        problems = watch(browser)
        browser.goto(page.as_uri())
        browser.wait_for_selector("#microphone:enabled")
        browser.evaluate(LISTEN)
        browser.click("#microphone")
        browser.wait_for_selector("#connection:has-text('listening')")
        browser.wait_for_selector("#strip .row")
        browser.click("#stop")
        browser.wait_for_selector("#connection:has-text('stopped')")
        levels = browser.evaluate("window.seen.map((each) => each.level)")
    assert np.max(levels) > -60
    assert [each for each in problems if not each.startswith("data:text/javascript")] == [page.as_uri()]
