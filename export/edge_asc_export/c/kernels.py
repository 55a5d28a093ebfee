"""The C functions that a network calls: sources beside this module, of which a network contains those that it uses."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from string import Template

SOURCES = Path(str(files("edge_asc_export.c"))) / "sources"

# Every kernel and what it is built on, in an order in which each stands behind what it needs.
KERNELS: dict[str, tuple[str, ...]] = {
    "round_even": (),
    "requantise": ("round_even",),
    "exponential": ("round_even",),
    "quantise": ("round_even",),
    "dequantise": (),
    "dense_int8": ("requantise",),
    "dense_float": (),
    "depthwise_int8": ("requantise",),
    "depthwise_float": (),
    "convolve_dense_int8": ("dense_int8",),
    "convolve_dense_float": ("dense_float",),
    "convolve_depthwise_int8": ("depthwise_int8",),
    "convolve_depthwise_float": ("depthwise_float",),
    "add_int8": (),
    "add_float": (),
    "add_relu_float": (),
    "multiply_int8": ("requantise",),
    "multiply_float": (),
    "lookup_int8": (),
    "sigmoid_float": ("exponential",),
    "tanh_float": ("exponential",),
    "max_pool_int8": (),
    "max_pool_float": (),
}
# Kernels whose source is one for both types.
SHARED = ("convolve_dense", "convolve_depthwise", "max_pool")
TYPES = {"int8": "int8_t", "float": "float"}


def kernel_sources(names: Iterable[str]) -> str:
    """Return the definitions of kernels and of all that they need."""
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += KERNELS[name]
    return "\n".join(_source(name) for name in KERNELS if name in needed)


def _source(name: str) -> str:
    stem, _, suffix = name.rpartition("_")
    if stem in SHARED:
        text = (SOURCES / f"{stem}.c").read_text(encoding="utf-8")
        return Template(text).substitute(suffix=suffix, type=TYPES[suffix])
    return (SOURCES / f"{name}.c").read_text(encoding="utf-8")
