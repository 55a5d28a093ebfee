"""C sources of the package, with the names of an artefact."""

from __future__ import annotations

from importlib.resources import files


def read_source(name: str, prefix: str) -> str:
    """Return a C source of this package, with `prefix` in all names that begin with "prefix" or "PREFIX".

    Args:
        name: of a file in `sources`.
        prefix: a C identifier, in lower case.
    """
    return rename(read_text(name), prefix)


def read_text(name: str) -> str:
    """Return a C source of this package as it is."""
    return files("edge_asc_export.c").joinpath("sources", name).read_text(encoding="utf-8")


def rename(text: str, prefix: str) -> str:
    """Return C source with `prefix` in all names that begin with "prefix" or "PREFIX"."""
    return text.replace("prefix_", f"{prefix}_").replace("PREFIX_", f"{prefix.upper()}_")


def make_exact(source: str) -> str:
    """Return C source that compilers may not contract to fused operations, unless a program asks for that."""
    return read_source("exact_begin.c", "") + source + read_source("exact_end.c", "")
