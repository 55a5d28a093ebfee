"""The archive that is copied to a device: one file that Python imports the runner from."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

import edge_asc
from edge_asc.engine import ENGINES

PACKAGES = ("edge_asc", "edge_asc_bench")
# Python runs the archive itself: nothing else has to be on its path.
MAIN = "import sys\nfrom edge_asc_bench.runner import main\n\nmain(sys.argv[1:])\n"
INFO = f"edge_asc-{edge_asc.__version__}.dist-info"


def write_archive(path: Path, packages: Sequence[str] = PACKAGES) -> None:
    """Write a zip file with the sources of packages, and what lets registries find the engines in them.

    Args:
        path: of the archive; Python runs it as the runner, or imports from it.
        packages: those of edge-asc to include.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in packages:
            spec = find_spec(package)
            assert spec is not None
            assert spec.submodule_search_locations is not None
            root = Path(spec.submodule_search_locations[0])
            for source in sorted(root.rglob("*.py")):
                archive.write(source, f"{package}/{source.relative_to(root).as_posix()}")
        archive.writestr("__main__.py", MAIN)
        archive.writestr(
            f"{INFO}/METADATA", f"Metadata-Version: 2.1\nName: edge-asc\nVersion: {edge_asc.__version__}\n"
        )
        archive.writestr(f"{INFO}/entry_points.txt", _list_engines(packages))


def _list_engines(packages: Sequence[str]) -> str:
    """The entry points of edge-asc's engines inside these packages, as in `entry_points.txt`."""
    try:
        points = distribution("edge-asc").entry_points.select(group=ENGINES.group)
    except PackageNotFoundError:
        return ""
    lines = [f"{point.name} = {point.value}" for point in points if point.module.partition(".")[0] in packages]
    return "\n".join([f"[{ENGINES.group}]", *sorted(lines), ""])
