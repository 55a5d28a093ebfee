"""Public names of a package, whose modules are imported when a name is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping


def defer_imports(
    namespace: Mapping[str, object], public: Mapping[str, tuple[str, str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package.

    Args:
        namespace: the package's globals.
        public: the module of each name, and the extra of edge-asc that installs what it needs.
    """

    def get(name: str) -> object:
        if name not in public:
            raise AttributeError(f"module {namespace['__name__']!r} has no attribute {name!r}")
        from edge_asc.errors import require

        return getattr(require(*public[name]), name)

    def list_names() -> list[str]:
        return sorted({*namespace, *public})

    return get, list_names
