"""The documentation site: it builds without a warning, holds every page, and needs no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[1]


@dataclass
class Page(HTMLParser):
    """What a page refers to, and its structure."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    headings: list[int] = field(default_factory=list)
    without_text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("script", "img", "iframe", "source") and "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") != "canonical":
            self.loaded.append(values["href"])
        if tag == "img" and not values.get("alt"):
            self.without_text.append(values["src"])
        if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append(int(tag[1]))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    parsed = {}
    for path in site.rglob("*.html"):
        parsed[path] = Page()
        parsed[path].feed(path.read_text(encoding="utf-8"))
    return parsed


def test_pages_of_the_repository_are_there(site: Path) -> None:
    addresses = ("", "tutorial-pi", "export", "benchmarks/arm", "android", "CONTRIBUTING", "models/fuse", "api", "cli")
    missing = [address for address in addresses if not (site / address / "index.html").is_file()]
    assert missing == []
    shown = (site / "cli/index.html").read_text(encoding="utf-8")
    assert 'id="edge-asc-classify"' in shown
    assert 'id="edge-asc-arm-cost"' in shown
    assert "edge_asc_export.export_checkpoint" in (site / "api/index.html").read_text(encoding="utf-8")
    assert "train_on_folder" in (site / "notebooks/train/index.html").read_text(encoding="utf-8")


def test_links_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links if path.name != "404.html" else ():
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else set()
            if not target.is_file() or (parts.fragment and unquote(parts.fragment) not in anchors):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_a_network(pages: dict[Path, Page]) -> None:
    loaded = {link for page in pages.values() for link in page.loaded}
    assert loaded
    assert {link for link in loaded if urlsplit(link).netloc} == set()


def test_headings_are_in_order_and_images_have_a_text(site: Path, pages: dict[Path, Page]) -> None:
    wrong = []
    for path, page in pages.items():
        steps = zip(page.headings, page.headings[1:], strict=False)
        if page.headings[:1] != [1] or page.headings.count(1) != 1 or any(b > a + 1 for a, b in steps):
            wrong.append(f"{path.relative_to(site)}: headings {page.headings}")
        wrong += [f"{path.relative_to(site)}: {image} has no text" for image in page.without_text]
    assert wrong == []
