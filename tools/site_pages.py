"""Pages of the documentation site: every Markdown file of the repository under its own path, none copied.

A hook of mkdocs (mkdocs.yml). Sources keep their path in the repository, so that a relative link works both there and
on the site; only the address of a page is shorter. Notebooks become pages, too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from edge_asc.cli import cli
from site_commands import describe_commands

ROOT = Path(__file__).parents[1]
# Pages and files outside docs/.
OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "android_demo/README.md",
    "benchmarks/README.md",
    "benchmarks/arm/README.md",
    "benchmarks/peers/README.md",
    "edge_asc/listening/page/icon.svg",
    "edge_asc/zoo/*/CREDITS.md",
    "edge_asc/zoo/*/README.md",
    "examples/*.*",
    "examples/ci/*",
    "examples/container/*",
    "examples/firmware/*",
    "examples/notebooks/*.ipynb",
    "export/README.md",
    "export/edge_asc_export/page/*.js",
)
# The start of a path, and the start of the address in its place.
ADDRESSES = (
    ("README.md", "readme/"),
    ("docs/", ""),
    ("edge_asc/listening/page/icon.svg", "assets/icon.svg"),
    ("edge_asc/zoo/", "models/"),
    ("examples/notebooks/", "notebooks/"),
    ("android_demo/", "android/"),
)


class Notebook(File):
    """A notebook as a page: its text as it is, and its code in fences."""

    def __init__(self, path: str, config: MkDocsConfig) -> None:
        super().__init__(path, None, config.site_dir, config.use_directory_urls)
        self.generated_by = "site_pages"
        self.content_string = render_notebook(ROOT / path)

    def is_documentation_page(self) -> bool:
        """Return True: links to the notebook lead to the page."""
        return True


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace the paths of the files in docs/ by those in the repository, and add the files outside."""
    inside = [file for file in files if file.src_dir == config.docs_dir]
    for file in inside:
        files.remove(file)
    folder = Path(config.docs_dir).relative_to(ROOT).as_posix()
    paths = [f"{folder}/{file.src_uri}" for file in inside]
    paths += [path.relative_to(ROOT).as_posix() for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))]
    for path in paths:
        if path.endswith(".ipynb"):
            files.append(_with_address(Notebook(path, config)))
        else:
            files.append(_with_address(File(path, str(ROOT), config.site_dir, config.use_directory_urls)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write the reference of the command line, and keep lists of authors out of the search."""
    if page.file.src_uri == "docs/cli.md":
        return markdown.replace("<!-- commands -->", describe_commands(cli, "edge-asc"))
    if page.file.src_uri.endswith("/CREDITS.md"):
        page.meta["search"] = {"exclude": True}
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make the empty corner of a table a cell: a header without text is one that a screen reader cannot read."""
    return re.sub(r"<th( style=\"[^\"]*\")?></th>", "<td></td>", html)


def render_notebook(path: Path) -> str:
    """Return a notebook as Markdown."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
    title, *rest = parts
    place = path.relative_to(ROOT).as_posix()
    return "\n\n".join([title, f"This page is the notebook `{place}` of the repository.", *rest]) + "\n"


def _with_address(file: File) -> File:
    """Return the file with the address that its path stands for."""
    for path, address in ADDRESSES:
        if file.src_uri.startswith(path):
            file.dest_uri = address + file.dest_uri.removeprefix(path)
    return file
