"""Registries: objects that are chosen by name, found through entry points.

Everything that edge-asc offers a choice of (engines, export formats, bench targets, data layouts, backbones, commands)
is described by a small object. A distribution registers its descriptors in a group of entry points, and those of
edge-asc are registered in the same way. An entry point names either

- a descriptor, `package.module:OBJECT`, whose name is the entry point's, or
- a package, each of whose modules holds one descriptor under the attribute that the registry states; the module's name
  is the descriptor's. Modules whose name starts with an underscore are skipped. A new descriptor is then one new file.

Names are read without importing any of these modules.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from edge_asc.errors import EdgeAscError

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """The place of a descriptor: `attribute` of `module`, registered by `distribution`."""

    module: str
    attribute: str
    distribution: str


class Registry(Generic[T]):
    """The descriptors of one kind, by name.

    Args:
        group: group of entry points, such as "edge_asc.engines".
        kind: class of the descriptors.
        attribute: name of the descriptor in each module of a registered package, such as "ENGINE".
        noun: word for a descriptor in messages, such as "engine".
    """

    def __init__(self, group: str, kind: type[T], attribute: str, noun: str) -> None:
        self.group, self.kind, self.attribute, self.noun = group, kind, attribute, noun
        self._loaded: dict[str, T] = {}

    @cached_property
    def sources(self) -> dict[str, Source]:
        """The place of each descriptor, by name. Of two with one name, the first is used and a warning names both."""
        sources: dict[str, Source] = {}
        for point in entry_points(group=self.group):
            for name, source in self._expand(point):
                if name not in sources:
                    sources[name] = source
                elif sources[name] != source:
                    warnings.warn(
                        f"{source.distribution} registers {self.noun} {name!r}, which {sources[name].distribution} has "
                        "registered; the first one is used: uninstall one of them",
                        stacklevel=2,
                    )
        return sources

    def _expand(self, point: EntryPoint) -> Iterator[tuple[str, Source]]:
        distribution = point.dist.name if point.dist else "an unnamed distribution"
        if point.attr:
            yield point.name, Source(point.module, point.attr, distribution)
            return
        folders = _find_package(point.module)
        if not folders:
            self._warn(point.name, distribution, ImportError(f"no package {point.module}"))
            return
        from pkgutil import iter_modules  # here, since the list of commands does not need it

        for module in iter_modules(folders):
            if not module.name.startswith("_"):
                yield module.name, Source(f"{point.module}.{module.name}", self.attribute, distribution)

    def names(self) -> tuple[str, ...]:
        """Return the names of all descriptors, sorted, without importing any of them."""
        return tuple(sorted(self.sources))

    def load(self, name: str) -> T:
        """Import and return a descriptor.

        Raises:
            EdgeAscError: no descriptor has this name, it cannot be imported, or it is of another class.
        """
        if name not in self._loaded:
            if name not in self.sources:
                known = ", ".join(self.names()) or "none is installed"
                raise EdgeAscError(f"got {self.noun} {name!r}; expected one of: {known}")
            source = self.sources[name]
            try:
                descriptor = getattr(import_module(source.module), source.attribute)
            except Exception as error:  # another distribution's module, which may raise anything
                raise EdgeAscError(
                    f"{self.noun} {name!r} of {source.distribution} does not load ({error}); "
                    "upgrade, reinstall or uninstall that distribution"
                ) from error
            if not isinstance(descriptor, self.kind):
                raise EdgeAscError(
                    f"{self.noun} {name!r} of {source.distribution} is a {type(descriptor).__name__}; "
                    f"expected a {self.kind.__name__}: upgrade or uninstall that distribution"
                )
            self._loaded[name] = descriptor
        return self._loaded[name]

    def all(self) -> dict[str, T]:
        """Return every descriptor that loads, by name in sorted order; a warning names each one that does not."""
        loaded: dict[str, T] = {}
        for name in self.names():
            try:
                loaded[name] = self.load(name)
            except EdgeAscError as error:
                warnings.warn(str(error), stacklevel=2)
        return loaded

    def _warn(self, name: str, distribution: str, error: ImportError) -> None:
        warnings.warn(
            f"{self.noun} {name!r} of {distribution} does not load ({error}); reinstall or uninstall that distribution",
            stacklevel=4,
        )


def _find_package(name: str) -> list[str]:
    """Return the folders of a package, none where there is no such package. Imports neither it nor its parents."""
    folders: list[str] | None = None
    parts = name.split(".")
    for i in range(len(parts)):
        specs = (finder.find_spec(".".join(parts[: i + 1]), folders) for finder in sys.meta_path)
        spec = next(filter(None, specs), None)
        if spec is None or spec.submodule_search_locations is None:
            return []
        folders = list(spec.submodule_search_locations)
    return folders or []
