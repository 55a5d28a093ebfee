"""The lowest versions that pyproject.toml declares, as constraints for pip.

    python tools/minimum.py [EXTRA...]

Print `name==version` for each `name>=version` among the dependencies of the package and of these extras. The script
needs the standard library alone.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[(?P<extras>[^]]*)\])?\s*(?P<versions>[^;]*)")


def collect_minimums(pyproject: Path, extras: Sequence[str]) -> dict[str, str]:
    """Return the lowest version of each dependency of the package with `extras`, by its name.

    Raises:
        KeyError: pyproject.toml declares no such extra.
        ValueError: a dependency has no lowest version.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]

    def expand(requirements: Sequence[str]) -> Iterator[re.Match[str]]:
        for requirement in requirements:
            parts = REQUIREMENT.match(requirement)
            if parts is None:
                raise ValueError(f"cannot read the requirement {requirement!r}")
            if parts["name"] == project["name"]:
                yield from (part for extra in parts["extras"].split(",") for part in expand(optional[extra.strip()]))
            else:
                yield parts

    minimums: dict[str, str] = {}
    for parts in expand([*project["dependencies"], *(name for extra in extras for name in optional[extra])]):
        lowest = re.search(r">=\s*([^,\s]+)", parts["versions"])
        if lowest is None:
            raise ValueError(f"{parts['name']} has no lowest version; expected {parts['name']}>=…")
        if minimums.setdefault(parts["name"], lowest[1]) != lowest[1]:
            raise ValueError(f"{parts['name']} has two lowest versions: {minimums[parts['name']]} and {lowest[1]}")
    return minimums


def main(extras: Sequence[str]) -> None:
    """Print the constraints, one a line."""
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    for name, version in collect_minimums(pyproject, extras).items():
        print(f"{name}=={version}")


if __name__ == "__main__":
    main(sys.argv[1:])
