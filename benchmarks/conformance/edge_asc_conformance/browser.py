"""Hosts in a browser: headless Chromium, with files from a server on this machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import unquote, urlsplit

import msgspec

from edge_asc.errors import EdgeAscError, MissingExtraError, require
from edge_asc_conformance.host import PAGE, WEB, Host, Inference, Task, npm_version

if TYPE_CHECKING:
    from playwright.sync_api import Page

TIMEOUT = 300.0  # s
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
# What browsers insist on, whatever the machine's own table of types says.
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm"}


class BrowserHost(Host):
    """A runtime of an npm package in Chromium."""

    package: ClassVar[str]
    """Name of the npm package."""

    def version(self, modules: Path) -> str:
        """Return the version of the npm package."""
        if reason := find_missing():
            raise MissingExtraError(reason)
        return npm_version(self.package, modules)

    def infer(self, task: Task) -> Inference:
        """Stream the samples in a page."""
        folders = {"page": PAGE, "web": WEB, "modules": task.modules, "golden": task.golden}
        with serve(folders) as url, open_page(f"{url}/web/browser.html") as page:
            page.wait_for_selector("html[data-ready]", state="attached")
            call = "([name, artefact, rounds]) => window.run(name, artefact, rounds)"
            try:
                result = page.evaluate(call, [self.package, task.artefact, task.rounds])
            except Exception as error:  # of Playwright, which is not imported here
                raise EdgeAscError(f"{self.package} failed in Chromium: {str(error).splitlines()[0]}") from error
        return msgspec.convert(result, Inference)


def find_missing() -> str:
    """Return what is missing to open pages, and how to get it; "" if nothing is."""
    if find_chromium() is None:
        return "chromium is not installed; on Debian: apt-get install chromium"
    try:
        require("playwright", "conformance")
    except MissingExtraError as error:
        return str(error)
    return ""


def find_chromium() -> str | None:
    """Return the path of Chromium or Chrome."""
    return shutil.which("chromium") or shutil.which("google-chrome")


@contextmanager
def open_page(url: str, *flags: str) -> Iterator[Page]:
    """Open a page in headless Chromium, with more flags; close both at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = find_chromium()
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags], timeout=1000 * TIMEOUT)
        try:
            page = browser.new_page()
            page.set_default_timeout(1000 * TIMEOUT)
            page.goto(url, wait_until="load")
            yield page
        finally:
            browser.close()


@contextmanager
def serve(folders: Mapping[str, Path]) -> Iterator[str]:
    """Serve folders, each below its name, on this machine alone; yield the server's URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, folders))
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(SimpleHTTPRequestHandler):
    """Files of several folders; pages are isolated, so that their clock resolves microseconds."""

    def __init__(self, folders: Mapping[str, Path], *args: object) -> None:
        self._folders = folders
        self.extensions_map = {**SimpleHTTPRequestHandler.extensions_map, **TYPES}
        super().__init__(*args)  # type: ignore[arg-type]  # request, address, server

    def translate_path(self, path: str) -> str:
        name, _, rest = unquote(urlsplit(path).path).lstrip("/").partition("/")
        folder = self._folders.get(name)
        if folder is None or ".." in Path(rest).parts:
            return ""
        return str(folder / rest)

    def end_headers(self) -> None:
        for name, value in (("Opener", "same-origin"), ("Embedder", "require-corp")):
            self.send_header(f"Cross-Origin-{name}-Policy", value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
