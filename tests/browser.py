"""Chromium, looking at a page: what sticks out, what axe-core finds, what the page asks of the network.

    with Browser() as browser:
        seen = browser.inspect(Path("report.html"), View(360))
        assert not seen.overflow

A target is a file or a URL. Needs Chromium (apt-get install chromium), Playwright's client (in edge-asc[dev]), and
axe-core (npm ci --prefix tests).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from edge_asc_conformance.browser import find_chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

T = TypeVar("T")

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
WIDTHS = (360, 768, 1280, 1920)
SECONDS = 60  # for a page to appear on a busy machine
OPEN_DETAILS = "document.querySelectorAll('details').forEach((each) => { each.open = true; })"

# Elements that reach beyond the page, and text beyond its drawing; what scrolls in a frame of its own does not count.
FIND_OVERFLOW = """() => {
  const width = document.documentElement.clientWidth, found = [];
  const name = (e) => [e.tagName.toLowerCase(), e.id && "#" + e.id, ...[...e.classList].map((c) => "." + c)].join("");
  const isRoot = (e) => !e || e === document.body || e === document.documentElement;
  const scrolls = (e) => !isRoot(e)
    && (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
  for (const element of document.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect(), text = element.textContent.trim().slice(0, 40);
    if (box.width && box.height && box.right > width + 1 && !scrolls(element.parentElement))
      found.push(`${name(element)} ends at ${box.right.toFixed(0)} of ${width} px: ${text}`);
  }
  for (const text of document.querySelectorAll("svg[role=img] text")) {
    const box = text.getBoundingClientRect(), frame = text.closest("svg").getBoundingClientRect();
    const ends = [frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom];
    if (box.width && Math.max(...ends) > 2) found.push(`text in a drawing is cut: ${text.textContent}`);
  }
  const all = document.documentElement.scrollWidth;
  if (all > width) found.push(`the page is ${all} px wide`);
  return found;
}"""
RUN_AXE = """async () => (await axe.run(document, {resultTypes: ["violations"]})).violations.flatMap((rule) =>
  rule.nodes.map((node) => `${rule.id} (${rule.impact}): ${node.target.join(" ")}: ${node.failureSummary}`))"""


@dataclass(frozen=True)
class View:
    """A way to look at a page.

    Attributes:
        width: of the window, pixels.
        scheme: colours that the reader prefers.
        media: "print" for the page as it is printed.
    """

    width: int = 1280
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"


@dataclass(frozen=True)
class Inspection:
    """What was seen of a page.

    Attributes:
        overflow: elements that reach beyond the page, in words.
        violations: of the rules of axe-core, in words.
        requests: URLs that the page asked for, beside itself.
        errors: of its scripts, and what its policy blocked.
        result: of the script that `inspect` was given.
    """

    overflow: list[str]
    violations: list[str]
    requests: list[str]
    errors: list[str]
    result: Any = field(default=None)


def find_missing() -> str:
    """Return what is missing to look at pages, and how to get it; "" if nothing is."""
    if find_chromium() is None:
        return "no chromium: apt-get install chromium"
    if find_spec("playwright") is None:
        return "no playwright: pip install playwright (the client alone; it drives the system's chromium)"
    return "" if AXE.is_file() else "no axe-core: npm ci --prefix tests"


class Browser:
    """Chromium in the background, with a thread of its own: Playwright's event loop disturbs no other one."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)

    def __enter__(self) -> Browser:
        self._do(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop)
        self._thread.shutdown()

    def inspect(
        self,
        target: str | Path,
        view: View | None = None,
        *,
        ready: str = "body",
        script: str = OPEN_DETAILS,
        with_axe: bool = True,
    ) -> Inspection:
        """Open a page and look at it.

        Args:
            target: a file or a URL.
            view: how to look at it; None for the usual one.
            ready: selector of what must be visible first.
            script: run in the page before it is looked at; by default it opens all that is folded away.
            with_axe: whether the rules of axe-core are checked, which takes seconds.
        """
        return self._do(lambda: self._inspect(target, view or View(), ready, script, with_axe))

    def use(self, target: str | Path, view: View, work: Callable[[Page], T]) -> T:
        """Open a page and do what a user does; return what `work` returns."""
        return self._do(lambda: self._use(target, view, work))

    def _do(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def _start(self) -> None:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        flags = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
        path = find_chromium()
        self._chromium = self._playwright.chromium.launch(executable_path=path, args=flags, timeout=1000 * SECONDS)

    def _stop(self) -> None:
        self._chromium.close()
        self._playwright.stop()

    def _use(self, target: str | Path, view: View, work: Callable[[Page], T]) -> T:
        context = self._chromium.new_context(
            viewport={"width": view.width, "height": 900},
            color_scheme=view.scheme,
            reduced_motion="reduce",
        )
        context.set_default_timeout(1000 * SECONDS)
        try:
            page = context.new_page()
            page.emulate_media(media=view.media)
            page.goto(target.absolute().as_uri() if isinstance(target, Path) else target, wait_until="load")
            return work(page)
        finally:
            context.close()

    def _inspect(self, target: str | Path, view: View, ready: str, script: str, with_axe: bool) -> Inspection:
        requests: list[str] = []
        errors: list[str] = []

        def look(page: Page) -> Inspection:
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
            page.on("request", lambda request: requests.append(request.url))
            page.reload(wait_until="load")
            page.wait_for_selector(ready, state="visible")
            result = page.evaluate(script) if script else None
            if with_axe:
                page.evaluate(AXE.read_text(encoding="utf-8"))
            return Inspection(
                page.evaluate(FIND_OVERFLOW),
                page.evaluate(RUN_AXE) if with_axe else [],
                [url for url in requests if url != page.url and not url.startswith("data:")],
                errors,
                result,
            )

        return self._use(target, view, look)
