"""What tests of WebAssembly need: a C artefact, its test in Node, and decisions of Node and of native code."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edge_asc import audio
from edge_asc.demo import list_recordings
from edge_asc.engine import open_runtime
from edge_asc.engines.c import CRuntime
from edge_asc.files import sha256
from edge_asc.manifest import Entry, Manifest
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import find_checkpoint
from edge_asc_export.artefact import Draft, write
from edge_asc_export.c.file import CFile, write_companions
from edge_asc_export.c.wasm import LINK, TOOLS
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

PRINTF = "int printf(const char *format, ...);\n"
NO_PRINTF = '#include "stdio.h"\nint printf(const char *format, ...) { (void)format; return 0; }\n'
RUN_TEST = """
const { readFileSync } = require("node:fs");
WebAssembly.instantiate(readFileSync("test.wasm")).then(({ instance }) => process.exit(instance.exports.run_test()));
"""
STREAM = """
import { readFileSync } from "node:fs";
import { openWasm } from "./wasm.js";
const bytes = readFileSync("fuse-int8.wasm"), stream = await openWasm(bytes), file = readFileSync("samples.raw");
const samples = new Int16Array(file.buffer, file.byteOffset, file.length / 2), decisions = [], events = [];
stream.push(samples.subarray(0, stream.size));
stream.reset();
for (let begin = 0; begin + stream.size <= samples.length; begin += stream.size) {
  const { events: changes, ...decision } = stream.push(samples.subarray(begin, begin + stream.size));
  decisions.push(decision);
  events.push(...changes);
}
events.push(...stream.finish());
let message = "";
try { stream.push(new Int16Array(3)); } catch (error) { message = error.message; }
const imports = WebAssembly.Module.imports(new WebAssembly.Module(bytes)), { labels } = stream.contract;
console.log(JSON.stringify({ decisions, events, labels, imports, message }));
"""
NATIVE = """
#include <stdio.h>
#include "fuse-int8.h"

static fuse_int8_stream stream;

static void print_event(void *context, const fuse_int8_event *e)
{
    (void)context;
    printf("E [%d, %.17g, %.17g, %.17g, %.17g]\\n", e->label, (double)e->start, (double)e->end, (double)e->peak,
           (double)e->mean);
}

int main(void)
{
    int16_t samples[FUSE_INT8_STEP];
    fuse_int8_init(&stream, print_event, NULL);
    while (fread(samples, sizeof *samples, FUSE_INT8_STEP, stdin) == FUSE_INT8_STEP) {
        fuse_int8_push(&stream, samples, FUSE_INT8_STEP);
        const fuse_int8_decision *d = fuse_int8_newest(&stream);
        printf("D [%.17g, %d, %d, %d", (double)d->time, d->index, d->answer, (int)d->is_unknown);
        for (int i = 0; i < 2 * FUSE_INT8_CLASSES; i++) {
            printf(", %.17g", (double)(i < FUSE_INT8_CLASSES ? d->probabilities[i] : d->logits[i - FUSE_INT8_CLASSES]));
        }
        printf("]\\n");
    }
    fuse_int8_finish(&stream);
    return 0;
}
"""


def require_tools(*names: str) -> None:
    """Skip the test where a program is missing."""
    for name in names:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")


def write_bundle(folder: Path) -> Manifest:
    """Write the pretrained model `fuse` as int8 C, with its companions, as an export does."""
    checkpoint = Checkpoint.load(find_checkpoint("fuse"))
    draft = Draft(checkpoint, "", Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES["int8"]))
    (artefact,) = write(draft, "c")
    path = folder / artefact.name
    path.write_bytes(artefact.data)
    runtime, written = open_runtime(path), artefact.written
    assert isinstance(runtime, CRuntime)
    assert isinstance(written, CFile)
    companions = write_companions(written, runtime.contract, runtime)
    for name, content in companions.items():
        (folder / name).write_bytes(content)
    hashes = {name: sha256(folder / name) for name in companions}
    entry = Entry(sha256(path), len(artefact.data), "c", runtime.engine, runtime.contract, hashes)
    return Manifest("fuse", {path.name: entry})


def run_test_in_node(source: Path, folder: Path, *flags: str) -> int:
    """Return the exit status of the test of a C file, beside it, compiled to WebAssembly with these flags."""
    require_tools("node", *TOOLS)
    (test,) = source.parent.glob("test_*.c")
    (folder / "stdio.h").write_text(PRINTF)
    (folder / "printf.c").write_text(NO_PRINTF)
    includes = ("-I", str(folder), "-I", str(source.parent))
    export = ("-Dmain=run_test", "-Wl,--export=run_test", "-mbulk-memory")
    sources = [str(source), str(test), "printf.c", "-o", "test.wasm"]
    command = ["clang", "--target=wasm32", *flags, *LINK, *export, *includes, *sources]
    subprocess.run(command, cwd=folder, check=True)
    return subprocess.run(["node", "-e", RUN_TEST], cwd=folder, check=False).returncode


def read_samples() -> npt.NDArray[np.int16]:
    """Return the recordings of the package, 6 dB softer: Chromium reads samples above half of full scale off by one."""
    clips = [audio.read(each.path) for each in list_recordings()]
    return np.rint(16384 * np.concatenate(clips)).astype(np.int16)


def stream_in_node(module: Path, samples: npt.NDArray[np.int16]) -> dict[str, Any]:
    """Return what a program of JavaScript gets from the module in a folder."""
    (module / "samples.raw").write_bytes(samples.tobytes())
    (module / "stream.mjs").write_text(STREAM)
    done = subprocess.run(["node", "stream.mjs"], cwd=module, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def stream_natively(source: Path, samples: npt.NDArray[np.int16], folder: Path) -> tuple[list[Any], list[Any]]:
    """Return rows of decisions and of events of a C file, compiled with the kernels of plain C."""
    require_tools("cc")
    (folder / "main.c").write_text(NATIVE)
    command = ["cc", "-std=c99", "-O2", "-DEDGE_ASC_PORTABLE", "-I", str(source.parent), str(source), "main.c"]
    subprocess.run([*command, "-o", "main"], cwd=folder, check=True)
    printed = subprocess.run([folder / "main"], input=samples.tobytes(), capture_output=True, check=True).stdout
    rows = [(line[0], json.loads(line[2:])) for line in printed.decode().splitlines()]
    decisions, events = ([row for kind, row in rows if kind == wanted] for wanted in "DE")
    return decisions, events
