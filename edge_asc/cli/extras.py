"""Extras of edge-asc: which one installs a module that a command lacks."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires

from edge_asc.cli.command import COMMANDS

# A requirement of an extra, such as "msgspec>=0.19; extra == 'bench'".
REQUIREMENT = re.compile(r"""([\w.-]+).*\bextra == ["']([\w.-]+)["']""")
# Modules with another name than their distribution's.
DISTRIBUTIONS = {"iree": "iree-base-runtime", "paho": "paho-mqtt", "sklearn": "scikit-learn"}


def describe_missing(error: ModuleNotFoundError) -> str | None:
    """Return how to install the module that an import lacks; None if no extra of edge-asc installs it.

    The extra is the one that the running command states for the module, else one of the command's name, else the
    smallest.
    """
    module = (error.name or "").partition(".")[0]
    running = _find_running(error)
    distribution = _normalise(DISTRIBUTIONS.get(module, module))
    extras = [extra for extra, names in _list_extras().items() if distribution in names]
    if not extras:
        return None
    stated = [need.extra for name in running for need in COMMANDS.load(name).needs if need.module == module]
    extra = next(iter([*stated, *(name for name in running if name in extras), *extras]))
    return f"{module} is not installed; install it with: pip install 'edge-asc[{extra}]'"


def _find_running(error: BaseException) -> list[str]:
    """Return the commands whose code the error passed through."""
    modules, trace = set(), error.__traceback__
    while trace is not None:
        modules.add(trace.tb_frame.f_globals.get("__name__"))
        trace = trace.tb_next
    return [name for name, command in COMMANDS.all().items() if command.module in modules]


def _list_extras() -> Mapping[str, set[str]]:
    """Return the distributions that each extra installs, the smallest extra first."""
    extras: defaultdict[str, set[str]] = defaultdict(set)
    for name, extra in _read_requirements():
        extras[extra].add(_normalise(name))
    return dict(sorted(extras.items(), key=lambda item: len(item[1])))


def _read_requirements() -> Iterator[tuple[str, str]]:
    """Yield each distribution and the extra that installs it."""
    try:
        listed = requires("edge-asc") or []
    except PackageNotFoundError:  # a copy of the sources alone
        return
    for requirement in listed:
        if match := REQUIREMENT.match(requirement):
            yield match[1], match[2]


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
