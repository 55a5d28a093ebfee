"""C text: identifiers, numbers, tables and comments."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

WIDTH = 116
TYPES = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "float32": "float"}


def identifier(name: str) -> str:
    """Return a name as a C identifier: "fuse-int8" is "fuse_int8"."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{text}" if text[:1].isdigit() or not text else text


def float_literal(value: float) -> str:
    """Return the shortest literal that is the same float32."""
    text = str(np.float32(value))
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def table(name: str, values: npt.NDArray[np.generic]) -> str:
    """Return the definition of a constant table of int8, int32 or float32 values, in the order of memory.

    Tables of int8 are aligned to four bytes, by a macro of `target.c`: kernels read them in words.
    """
    kind = TYPES[values.dtype.name]
    flat = values.reshape(-1)
    literals = map(float_literal, flat.tolist()) if kind == "float" else map(_integer_literal, flat.tolist())
    body = "\n".join(textwrap.wrap(", ".join(literals), WIDTH, break_long_words=False, break_on_hyphens=False))
    aligned = "ALIGNED_4 " if kind == "int8_t" else ""
    return f"static const {kind} {name}[{flat.size}] {aligned}= {{\n{textwrap.indent(body, '    ')}\n}};\n"


def comment(text: str) -> str:
    """Return a comment of one or several lines."""
    safe = text.replace("*/", "* /").replace("/*", "/ *")
    return "/* " + "\n   ".join(safe.splitlines()) + " */"


def shape_text(shape: Iterable[int]) -> str:
    """Return a shape as a comment shows it, such as "8 x 256 x 1"."""
    return " x ".join(map(str, shape))


def _integer_literal(value: int) -> str:
    # The least int32 has no literal: its sign is an operator.
    return "-2147483647 - 1" if value == -(2**31) else str(int(value))
