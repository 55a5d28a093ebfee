"""Pages that run an artefact in a browser, with nothing from elsewhere: one page, and two ways to write it.

An ONNX artefact gets a folder for any static server, with onnxruntime-web. A C artefact is compiled to WebAssembly, and
all is in one HTML file, which also opens without a server.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from importlib.resources import files
from pathlib import Path

from edge_asc.errors import ExportError
from edge_asc.files import write_bytes
from edge_asc.manifest import Manifest
from edge_asc.output import claim_folder
from edge_asc_export.c.wasm import compile_wasm

PAGE = Path(str(files("edge_asc_export.page")))
# Taken from the page of a listener, so that both look the same.
SHARED = Path(str(files("edge_asc.listening.page")))
SHARED_FILES = ("page.css", "icon.svg")
OWN_FILES = ("live.css", "live.js", "samples.js", "stream.js", "engines.js", "start_onnx.js", "worklet.js")
PACKAGE = "onnxruntime-web"
ADVICE = f"run: npm install {PACKAGE}, or give its folder with --runtime-files"
# Of the npm package: the engine without WebGPU and WebNN. It names the other two files itself.
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
# What a program needs beside a .wasm file; package.json makes Node read modules.
MODULE_FILES = ("wasm.js", "samples.js", "package.json")
# Modules of the single page, each behind those that it imports; and what only modules of several files have.
JOINED = ("samples.js", "wasm.js", "live.js", "start_wasm.js")
IMPORT = re.compile(r'^import .* from "\./.*";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=async |class |function )", re.MULTILINE)

POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; script-src {scripts} 'wasm-unsafe-eval'; "
    "style-src {styles}; img-src {images}"
)
SERVED_HEAD = f"""\
<meta http-equiv="Content-Security-Policy" content="\
{POLICY.format(scripts="'self'", styles="'self'", images="'self'")}; connect-src 'self'; worker-src 'self'">
<meta name="model" content="{{model}}">
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="page.css">
<link rel="stylesheet" href="live.css">
<script type="module" src="start_onnx.js"></script>"""
# The script is known by its digest, and may load what it makes itself: the module of the worklet. No other script runs.
SINGLE_HEAD = """\
<meta http-equiv="Content-Security-Policy" content="{policy}">
<link rel="icon" href="data:image/svg+xml;base64,{icon}">
<style>{style}</style>
<script type="module">{script}</script>"""
# Browsers run no scripts of these types.
BLOCKS = """\
<script type="text/worklet" id="worklet">
{worklet}</script>
<script type="application/wasm;base64" id="model">{model}</script>
"""


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
    name = _find_onnx(manifest)
    sources = {file: SHARED / file for file in SHARED_FILES} | {file: PAGE / file for file in OWN_FILES}
    sources |= {f"runtime/{file}": check_package(package) / "dist" / file for file in RUNTIME_FILES}
    sources[name] = bundle / name
    page = _fill_page(manifest, name, SERVED_HEAD.format(model=html.escape(name)))
    with claim_folder(folder, sum(path.stat().st_size for path in sources.values())):
        (folder / "runtime").mkdir(exist_ok=True)
        for file, source in sources.items():
            write_bytes(folder / file, source.read_bytes())
        write_bytes(folder / "index.html", page)  # last: without it there is no page
    return folder / "index.html"


def write_single_page(bundle: Path, manifest: Manifest, folder: Path) -> Path:
    """Write a page with the C artefact of a bundle as WebAssembly, all in one file; return it.

    Args:
        bundle: folder of the artefacts.
        manifest: of the bundle.
        folder: for the page, index.html, which is replaced.

    Raises:
        ExportError: no C artefact, or clang is not installed.
        EdgeAscError: clang fails.
        OutputError: the folder cannot be written.
    """
    name = find_c(manifest)
    script = "\n".join(EXPORT.sub("", IMPORT.sub("", _read(PAGE / file))) for file in JOINED)
    style = _read(SHARED / "page.css") + _read(PAGE / "live.css")
    policy = POLICY.format(scripts=f"{_hash(script)} 'strict-dynamic'", styles=_hash(style), images="data:")
    icon = base64.b64encode((SHARED / "icon.svg").read_bytes()).decode()
    head = SINGLE_HEAD.format(policy=policy, icon=icon, style=style, script=script)
    model = base64.b64encode(compile_wasm(bundle / name)).decode()
    page = _fill_page(manifest, name, head, BLOCKS.format(worklet=_read(PAGE / "worklet.js"), model=model))
    with claim_folder(folder, len(page)):
        write_bytes(folder / "index.html", page)
    return folder / "index.html"


def write_module(bundle: Path, manifest: Manifest, folder: Path) -> Path:
    """Write the C artefact of a bundle as WebAssembly, with the JavaScript that streams samples through it; return it.

    Args:
        bundle: folder of the artefacts.
        manifest: of the bundle.
        folder: for the files; those of these names in it are replaced.

    Raises:
        ExportError: no C artefact, or clang is not installed.
        EdgeAscError: clang fails.
        OutputError: the folder cannot be written.
    """
    name = find_c(manifest)
    path, module = (folder / name).with_suffix(".wasm"), compile_wasm(bundle / name)
    with claim_folder(folder, len(module)):
        for file in MODULE_FILES:
            write_bytes(folder / file, (PAGE / file).read_bytes())
        write_bytes(path, module)
    return path


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


def find_c(manifest: Manifest) -> str:
    """Return the name of the C artefact of a bundle.

    Raises:
        ExportError: there is none.
    """
    for name, entry in manifest.files.items():
        if entry.format == "c":
            return name
    raise ExportError(f"WebAssembly is compiled from a C artefact; got {', '.join(manifest.files)}: add --format c")


def _find_onnx(manifest: Manifest) -> str:
    for name, entry in manifest.files.items():
        if entry.format == "onnx" and entry.contract.form == "causal" and entry.contract.input != "features":
            return name
    found = ", ".join(f"{name} ({entry.contract.input})" for name, entry in manifest.files.items())
    raise ExportError(
        f"a page runs a causal ONNX artefact that takes samples; got {found}: export with --input samples"
    )


def _fill_page(manifest: Manifest, artefact: str, head: str, blocks: str = "") -> bytes:
    """Return index.html for an artefact."""
    title = html.escape(f"{manifest.name}, {manifest.files[artefact].contract.scheme}")
    values = {"NAME": title, "HEAD\n": f"{head}\n", "BLOCKS": blocks}
    return re.sub("NAME|HEAD\n|BLOCKS", lambda sign: values[sign[0]], _read(PAGE / "index.html")).encode()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Return the source of a policy that allows this text in an element alone."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
