"""Reports of every kind, in a browser: nothing is cut, nothing comes from elsewhere, everybody can read them."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import soundfile

from artefacts import Artefacts
from browser import OPEN_DETAILS, WIDTHS, Browser, View
from edge_asc_bench.page import load, to_html
from edge_asc_bench.players import Players
from reports import add_instructions, make_classification, make_conformance, make_export, measure, write_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

KINDS = ("bench", "emulated", "counts", "recording", "training")
VIEWS: list[tuple[int, Literal["light", "dark"]]] = list(zip(WIDTHS, ("dark", "light", "light", "dark"), strict=True))


@pytest.fixture(scope="module")
def pages(artefacts: Artefacts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("reports")
    measured = measure(artefacts)
    for sample in measured["conditions"]:
        sample.update(temperature_c=50.0, frequency_mhz=[1500.0, 1800.0])
    emulated = copy.deepcopy(measured) | {"complete": False, "incomplete": "the connection was lost"}
    emulated["machine"]["emulated"] = "qemu"
    sound = folder / "sound.wav"
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 32_000).astype(np.float32), 16_000)
    models = [make_classification(sound, "cat", "rain", "rain", "dog", model=name) for name in ("a", "a" * 70)]
    documents: dict[str, list[Any]] = {
        "bench": [measured, copy.deepcopy(measured)],
        "emulated": [emulated],
        "counts": [add_instructions(measured), make_conformance()],
        "recording": [*models, make_export({"a.tflite": 0.98, "b.onnx": 0.98})],
    }
    pages = {}
    for kind, values in documents.items():
        paths = [folder / f"{kind}-{i}.json" for i in range(len(values))]
        for path, value in zip(paths, values, strict=True):
            path.write_text(json.dumps(value))
        pages[kind] = write_page(folder / f"{kind}.html", paths)
    pages["training"] = write_page(folder / "training.html", [write_run(folder)])
    return pages


def write_page(page: Path, paths: list[Path]) -> Path:
    page.write_text(to_html(load(paths), Players(page)), encoding="utf-8")
    return page


@pytest.mark.parametrize(("width", "scheme"), VIEWS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_fits_every_screen_and_every_reader(
    pages: dict[str, Path], browser: Browser, kind: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    # Rules that a phone and a laptop keep, the widths between and beyond them keep.
    seen = browser.inspect(pages[kind], View(width, scheme), with_axe=width in (360, 1280))
    assert seen.overflow == []
    assert seen.violations == []
    assert seen.errors == []
    assert [url for url in seen.requests if not url.startswith("file:")] == []


@pytest.mark.parametrize("kind", KINDS)
def test_without_its_script_everything_is_there(
    pages: dict[str, Path], browser: Browser, kind: str, tmp_path: Path
) -> None:
    text, count = re.subn(r"<script>.*?</script>", "", pages[kind].read_text(encoding="utf-8"), flags=re.DOTALL)
    assert count == 1
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    seen = browser.inspect(tmp_path / "page.html", View(360))
    assert seen.overflow == []
    assert seen.violations == []


def test_it_is_printed_whole(pages: dict[str, Path], browser: Browser) -> None:
    """On the width of A4, nothing is cut; what is folded away is printed without a script, too."""
    seen = browser.inspect(pages["bench"], View(794, media="print"), script="", with_axe=False)
    assert seen.overflow == []
    open_ = "() => [...document.querySelectorAll('details table')].filter((e) => e.checkVisibility()).length"
    tables = browser.use(pages["bench"], View(794, media="print"), lambda page: page.evaluate(open_))
    assert tables == pages["bench"].read_text(encoding="utf-8").count("<table") - 1  # that of several machines


def test_pages_are_small(pages: dict[str, Path]) -> None:
    assert max(page.stat().st_size for page in pages.values()) < 3_000_000


def test_a_model_can_be_hidden(pages: dict[str, Path], browser: Browser) -> None:
    def hide(page: Page) -> list[int]:
        shown = page.locator("#bench-1 [data-series='0']:visible")
        counts = [shown.count()]
        page.locator("#bench-1 input[data-model='0']").uncheck()
        counts.append(shown.count())
        counts.append(page.locator("#bench-2 [data-series='0']:visible").count())
        return counts

    before, after, other = browser.use(pages["bench"], View(), hide)
    assert before > 0
    assert after == 0
    assert other == before


def test_values_are_read_with_the_keyboard_and_the_pointer(pages: dict[str, Path], browser: Browser) -> None:
    def read(page: Page) -> list[str]:
        figure = page.locator("figure", has_text="How often is each model right?").first
        plot, tip = figure.locator(".plot"), page.locator("#tip")
        plot.focus()
        texts = [tip.inner_text() if tip.is_visible() else ""]
        page.keyboard.press("ArrowRight")
        texts += [tip.inner_text(), figure.locator("output").inner_text()]
        page.keyboard.press("Escape")
        texts.append(tip.inner_text() if tip.is_visible() else "")
        figure.locator(".point:visible").last.hover(force=True)
        return [*texts, tip.inner_text()]

    before, pressed, said, escaped, hovered = browser.use(pages["bench"], View(), read)
    assert before == escaped == ""
    assert pressed == said
    assert re.fullmatch(r"torch, 1 s: [\d.]+ % \[[\d.]+, [\d.]+\]", pressed)
    assert re.fullmatch(r"windows.tflite, 2 s: [\d.]+ % \[[\d.]+, [\d.]+\]", hovered)


def test_terms_are_explained_on_focus_and_hover_and_lead_to_the_glossary(
    pages: dict[str, Path], browser: Browser
) -> None:
    def ask(page: Page) -> list[str]:
        page.evaluate(OPEN_DETAILS)
        term, tip = page.locator("a.term", has_text="Agreement").first, page.locator("#tip")
        term.focus()
        texts = [tip.inner_text(), term.get_attribute("aria-describedby") or ""]
        page.keyboard.press("Escape")
        texts.append(str(tip.is_visible()))
        term.hover()
        texts.append(tip.inner_text())
        term.click()
        return [*texts, page.url.partition("#")[2]]

    meaning, described, visible, hovered, anchor = browser.use(pages["bench"], View(), ask)
    assert meaning == hovered
    assert meaning.startswith("The share of decisions that equal those of the float model")
    assert (described, visible, anchor) == ("tip", "False", "term-agreement")
