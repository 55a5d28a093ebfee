"""Pages of the documentation site, in a browser: phones and desktops, light and dark."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from browser import Browser, View


@pytest.mark.parametrize(
    ("page", "width", "scheme"),
    [
        ("index.html", 360, "dark"),
        ("readme/index.html", 1280, "light"),
        ("cli/index.html", 360, "light"),
        ("api/index.html", 1280, "dark"),
        ("listening/index.html", 360, "light"),
        ("models/fuse/index.html", 360, "dark"),
        ("notebooks/train/index.html", 1280, "light"),
    ],
)
def test_pages_are_accessible(
    site: Path, browser: Browser, page: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    assert (site / page).is_file()
    seen = browser.inspect(site / page, View(width, scheme))
    assert seen.violations == []
    assert seen.overflow == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in seen.requests)
