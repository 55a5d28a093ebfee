"""The page of `edge-asc listen`, in a browser: before the first sound, and with events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pytest

from browser import Browser, View
from edge_asc.listening.board import Board
from edge_asc.listening.server import PageAddress, PageServer
from listeners import LABELS, make_listener, steps


@pytest.fixture
def server() -> Iterator[PageServer]:
    server = PageServer(PageAddress("127.0.0.1", 0, None), Board("fake", list(LABELS)))
    try:
        yield server
    finally:
        server.close()


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (768, "light"), (1280, "light"), (1920, "dark")])
def test_it_fits_every_screen_and_every_reader(
    server: PageServer, browser: Browser, width: int, scheme: Literal["light", "dark"]
) -> None:
    make_listener(server).push(steps("rain", "rain", "-", "-", "church_bells", "church_bells"))
    seen = browser.inspect(server.url, View(width, scheme), ready="#events td")
    assert seen.overflow == []
    assert seen.violations == []
    assert seen.errors == []
    assert all(url.startswith(server.url) for url in seen.requests)


def test_it_is_accessible_before_the_first_sound(server: PageServer, browser: Browser) -> None:
    seen = browser.inspect(server.url, View(360), ready="#none")
    assert seen.overflow == []
    assert seen.violations == []
