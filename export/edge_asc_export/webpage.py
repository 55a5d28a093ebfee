"""A folder with a page that runs an artefact in a browser: files for any static server, and nothing from elsewhere."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path

from edge_asc.errors import ExportError
from edge_asc.files import write_bytes
from edge_asc.manifest import Manifest
from edge_asc.output import claim_folder

PAGE = Path(str(files("edge_asc_export.page")))
# Taken from the page of a listener, so that both look the same.
SHARED = Path(str(files("edge_asc.listening.page")))
SHARED_FILES = ("page.css", "icon.svg")
OWN_FILES = ("live.css", "live.js", "stream.js", "engines.js", "worklet.js")
PACKAGE = "onnxruntime-web"
ADVICE = f"run: npm install {PACKAGE}, or give its folder with --runtime-files"
# Of the npm package: the engine without WebGPU and WebNN. It names the other two files itself.
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def write_webpage(bundle: Path, manifest: Manifest, folder: Path, package: Path) -> Path:
    """Write a page for the ONNX artefact of a bundle, with the artefact and the runtime; return the page.

    Args:
        bundle: folder of the artefacts.
        manifest: of the bundle.
        folder: for the page; files of these names in it are replaced.
        package: folder of the npm package onnxruntime-web.

    Raises:
        ExportError: no ONNX artefact that streams samples, or not the npm package.
        OutputError: the folder cannot be written.
    """
    name = _find_artefact(manifest)
    sources = {file: SHARED / file for file in SHARED_FILES} | {file: PAGE / file for file in OWN_FILES}
    sources |= {f"runtime/{file}": check_package(package) / "dist" / file for file in RUNTIME_FILES}
    sources[name] = bundle / name
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    for sign, value in (("MODEL", name), ("NAME", f"{manifest.name}, {manifest.files[name].contract.scheme}")):
        text = text.replace(sign, html.escape(value))
    with claim_folder(folder, sum(path.stat().st_size for path in sources.values())):
        (folder / "runtime").mkdir(exist_ok=True)
        for file, source in sources.items():
            write_bytes(folder / file, source.read_bytes())
        write_bytes(folder / "index.html", text.encode())  # last: without it there is no page
    return folder / "index.html"


def check_package(package: Path) -> Path:
    """Return the folder, which must be that of onnxruntime-web.

    Raises:
        ExportError: a file of the runtime is missing.
    """
    for file in RUNTIME_FILES:
        if not (package / "dist" / file).is_file():
            raise ExportError(
                f"{package / 'dist' / file}: no such file; expected the npm package {PACKAGE}, 1.19 or later: {ADVICE}"
            )
    return package


def find_package(start: Path) -> Path:
    """Return the folder of onnxruntime-web in the node_modules of a folder or of one above it.

    Raises:
        ExportError: it is in none of them.
    """
    places = [folder / "node_modules" / PACKAGE for folder in (start, *start.parents)]
    for place in places:
        if place.is_dir():
            return check_package(place)
    raise ExportError(f"no node_modules/{PACKAGE} in {start} or above it; expected the runtime of the page: {ADVICE}")


def _find_artefact(manifest: Manifest) -> str:
    for name, entry in manifest.files.items():
        if entry.format == "onnx" and entry.contract.form == "causal" and entry.contract.input != "features":
            return name
    found = ", ".join(f"{name} ({entry.contract.input})" for name, entry in manifest.files.items())
    raise ExportError(
        f"a page runs a causal ONNX artefact that takes samples; got {found}: export with --input samples"
    )
