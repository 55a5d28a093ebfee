"""`edge-asc doctor`."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import NamedTuple

import click
from rich.markup import escape
from rich.table import Table

import edge_asc
from edge_asc.cli.console import json_option, out, print_json
from edge_asc.zoo import zoo


class Need(NamedTuple):
    """A package and what it is needed for."""

    package: str
    module: str
    extra: str
    purpose: str


NEEDS = (
    Need("numpy", "numpy", "", "everything"),
    Need("scipy", "scipy", "", "front end"),
    Need("soundfile", "soundfile", "", "reading audio files"),
    Need("soxr", "soxr", "", "resampling"),
    Need("onnxruntime", "onnxruntime", "onnx", "running ONNX artefacts"),
    Need("ai-edge-litert", "ai_edge_litert", "tflite", "running TFLite artefacts"),
    Need("sounddevice", "sounddevice", "microphone", "classify --microphone"),
    Need("torch", "torch", "train", "train, export, running checkpoints"),
    Need("safetensors", "safetensors", "train", "checkpoints"),
    Need("onnx", "onnx", "export", "export --format onnx"),
    Need("flatbuffers", "flatbuffers", "export", "export --format tflite"),
    Need("jinja2", "jinja2", "bench", "report"),
    Need("matplotlib", "matplotlib", "bench", "charts of report"),
    Need("asyncssh", "asyncssh", "bench", "bench --target ssh://"),
    Need("adbutils", "adbutils", "bench", "bench --target adb://"),
    Need("scikit-learn", "sklearn", "reproduce", "reproduce figure3"),
    Need("ray", "ray", "ray", "reproduce table1 --engine ray"),
)

SUBSTITUTES = ("tflite_runtime", "tensorflow")


@click.command("doctor", short_help="Say what is installed, what is missing, and how to get it.")
@json_option
def command(as_json: bool) -> None:
    """Say what is installed, what is missing, and how to get it; what works here, and what does not.

    Exit code 0: something can run a model here. 1: nothing can.
    """
    rows = list(_rows())
    engines = {"onnxruntime", "ai_edge_litert", "torch"}
    can_run = any(row["found"] for row in rows if row["module"] in engines) or any(map(find_spec, SUBSTITUTES))
    machine = {
        "edge_asc": edge_asc.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
    }
    advice = list(_advice(rows, machine))
    if as_json:
        print_json({"machine": machine, "packages": rows, "models": list(zoo()), "advice": advice})
    else:
        table = Table(title=f"edge-asc {edge_asc.__version__}, Python {machine['python']}, {machine['machine']}")
        for name in ("package", "version", "for", "to install"):
            table.add_column(name, overflow="fold")
        for row in rows:
            table.add_row(
                row["package"],
                row["found"] or "missing",
                row["purpose"],
                "" if row["found"] else escape(row["install"]),
            )
        out.print(table)
        out.print(f"models of the zoo: {', '.join(zoo()) or 'none'}")
        for line in advice:
            out.print(escape(line))
    if not can_run:
        raise SystemExit(1)


def _rows() -> Iterator[dict[str, str]]:
    for need in NEEDS:
        found = ""
        if find_spec(need.module) is not None:
            try:
                found = version(need.package)
            except PackageNotFoundError:
                found = "unknown version"
        extra = f"edge-asc[{need.extra}]" if need.extra else "edge-asc"
        yield {**need._asdict(), "found": found, "install": f"pip install '{extra}'"}


def _advice(rows: list[dict[str, str]], machine: Mapping[str, object]) -> Iterator[str]:
    found = {row["module"]: row["found"] for row in rows}
    other = None
    if not found["ai_edge_litert"] and (other := next(filter(find_spec, SUBSTITUTES), None)):
        yield (
            f"{other} runs TFLite artefacts in place of ai-edge-litert, but without XNNPACK's int8 kernels: "
            "int8 artefacts are slower there"
        )
    if not found["torch"]:
        yield "models of the zoo need torch: export them on another machine, copy the folder, and run the artefact here"
    if machine["bits"] == 32:
        yield "a 32-bit Python: neither onnxruntime nor ai-edge-litert is published for it; install a 64-bit system"
    if not any(found[name] for name in ("onnxruntime", "ai_edge_litert", "torch")) and not other:
        yield "nothing here can run a model: pip install 'edge-asc[tflite]' is the smallest way"
