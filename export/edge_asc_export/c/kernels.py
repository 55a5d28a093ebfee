"""The C functions that a network calls: sources beside this module, of which a network contains those that it uses.

Some have variants for processors with vector instructions. A macro of `target.c` chooses one when the C is compiled;
all compute the same integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

SOURCES = Path(str(files("edge_asc_export.c"))) / "sources"


@dataclass(frozen=True)
class Kernel:
    """One function of C.

    Attributes:
        needs: names of kernels that it calls.
        variants: macros of `target.c`, and the sources for each; what is left takes that of plain C.
        macros: the kernel exists only where one of these macros is defined.
        source: file, without suffix; "" for the kernel's own name.
    """

    needs: tuple[str, ...] = ()
    variants: tuple[tuple[str, tuple[str, ...]], ...] = ()
    macros: tuple[str, ...] = ()
    source: str = ""


REQUANTISE = (
    "requantise",
    "requantise_avx512",
    "requantise_avx2",
    "requantise_neon",
    "requantise_mve",
    "requantise_simd128",
)

# In an order in which each stands behind what it needs.
KERNELS: dict[str, Kernel] = {
    "round_even": Kernel(),
    "requantise": Kernel(("round_even",)),
    "requantise_avx512": Kernel(macros=("EDGE_ASC_AVX512",)),
    "requantise_avx2": Kernel(macros=("EDGE_ASC_AVX2",)),
    "requantise_neon": Kernel(macros=("EDGE_ASC_NEON_DOT", "EDGE_ASC_NEON")),
    "requantise_mve": Kernel(macros=("EDGE_ASC_MVE",)),
    "requantise_simd128": Kernel(macros=("EDGE_ASC_SIMD128",)),
    "exponential": Kernel(("round_even",)),
    "quantise": Kernel(("round_even",), (("EDGE_ASC_NEON_DOT", ("neon",)), ("EDGE_ASC_NEON", ("neon",)))),
    "dequantise": Kernel(),
    "dense_int8": Kernel(
        REQUANTISE,
        (
            ("EDGE_ASC_AVX512", ("avx512",)),
            ("EDGE_ASC_AVX2", ("avx2",)),
            ("EDGE_ASC_NEON_DOT", ("neon_store", "neon_dot", "neon_rows")),
            ("EDGE_ASC_NEON", ("neon_store", "neon", "neon_rows")),
            ("EDGE_ASC_MVE", ("mve",)),
            ("EDGE_ASC_DSP", ("dsp",)),
            ("EDGE_ASC_SIMD128", ("simd128",)),
        ),
    ),
    "dense_float": Kernel((), (("EDGE_ASC_VECTORS", ("vectors",)),)),
    "depthwise_int8": Kernel(
        REQUANTISE,
        (
            ("EDGE_ASC_AVX512", ("avx512",)),
            ("EDGE_ASC_AVX2", ("few", "avx2")),
            ("EDGE_ASC_NEON_DOT", ("few", "neon")),
            ("EDGE_ASC_NEON", ("few", "neon")),
            ("EDGE_ASC_MVE", ("few", "mve")),
            ("EDGE_ASC_SIMD128", ("few", "simd128")),
        ),
    ),
    "depthwise_float": Kernel(),
    "convolve_dense_int8": Kernel(("dense_int8",), source="convolve_dense"),
    "convolve_dense_float": Kernel(("dense_float",), source="convolve_dense"),
    "convolve_depthwise_int8": Kernel(("depthwise_int8",), source="convolve_depthwise"),
    "convolve_depthwise_float": Kernel(("depthwise_float",), source="convolve_depthwise"),
    "add_int8": Kernel(
        ("requantise_mve",),
        (
            ("EDGE_ASC_AVX512", ("avx512",)),
            ("EDGE_ASC_NEON_DOT", ("neon",)),
            ("EDGE_ASC_NEON", ("neon",)),
            ("EDGE_ASC_MVE", ("mve",)),
        ),
    ),
    "add_float": Kernel(),
    "add_relu_float": Kernel(),
    "multiply_int8": Kernel(("requantise",)),
    "multiply_float": Kernel(),
    "lookup_int8": Kernel(),
    "sigmoid_float": Kernel(("exponential",)),
    "tanh_float": Kernel(("exponential",)),
    "max_pool_int8": Kernel(source="max_pool"),
    "max_pool_float": Kernel(source="max_pool"),
}
TYPES = {"int8": "int8_t", "float": "float"}


def kernel_sources(names: Iterable[str]) -> str:
    """Return the definitions of kernels and of all that they need."""
    needed: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += KERNELS[name].needs
    return "\n".join([_read("target"), *(_define(name, KERNELS[name]) for name in KERNELS if name in needed)])


def _define(name: str, kernel: Kernel) -> str:
    if kernel.source:
        suffix = name.rpartition("_")[2]
        return Template(_read(kernel.source)).substitute(suffix=suffix, type=TYPES[suffix])
    text = _read(name)
    if kernel.macros:
        condition = " || ".join(f"defined({macro})" for macro in kernel.macros)
        return f"#if {condition}\n{text}#endif\n"
    if kernel.variants:
        for index, (macro, sources) in enumerate(kernel.variants):
            text += f"#{'elif' if index else 'if'} defined({macro})\n"
            text += "\n".join(_read(f"{name}/{source}") for source in sources)
        text += f"#else\n{_read(f'{name}/portable')}#endif\n"
    return text


def _read(name: str) -> str:
    return (SOURCES / f"{name}.c").read_text(encoding="utf-8")
