"""Each house rule accepts a tree that keeps it and reports the place of what breaks it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import house

CORE = "edge_asc/a.py"
EXPORT = "export/edge_asc_export/a.py"
BENCH = "benchmarks/edge_asc_bench/a.py"
ARM = "benchmarks/arm/edge_asc_arm/a.py"

GOOD = {
    "edge_asc/__init__.py": "",
    "edge_asc/b.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from edge_asc.c import x\n",
    "edge_asc/c.py": "from edge_asc import b\n\nx = 1\n",
    "export/edge_asc_export/b.py": "import edge_asc.b\n",
    "benchmarks/edge_asc_bench/b.py": "import edge_asc_export.b\nimport edge_asc\n",
    "benchmarks/arm/edge_asc_arm/b.py": "import edge_asc_bench.b\nimport edge_asc_android.b\n",
    "android_demo/ci/edge_asc_android/b.py": "import edge_asc_arm\n" + "# a comment on Any\n" * 300,
}


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, source in {**GOOD, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return root


def broken(root: Path) -> dict[str, list[str]]:
    return {rule.name: [str(place) for place in rule.places] for rule in house.measure(root) if not rule.kept}


def lines_of(count: int) -> str:
    """A function of `count` lines, `def` included."""
    return "def f():\n" + "    pass\n" * (count - 1)


def test_a_good_tree_breaks_nothing(tmp_path: Path) -> None:
    assert broken(plant(tmp_path, {})) == {}


@pytest.mark.parametrize(
    ("files", "rule", "places"),
    [
        ({CORE: "x = 1\n" * 401}, "modules above 400 lines", [f"{CORE}:1: the module has 401 lines"]),
        ({CORE: "x = 1\n" + lines_of(61)}, "functions above 60 lines", [f"{CORE}:2: f has 61 lines"]),
        (
            {CORE: "def f(a, b, /, c, *d, e, f, **g): ...\n"},
            "functions above 6 parameters",
            [f"{CORE}:1: f has 7 parameters"],
        ),
        (
            {CORE: "class C:\n    async def f(self, a, b, c, d, e, f, g): ...\n"},
            "functions above 6 parameters",
            [f"{CORE}:2: f has 7 parameters"],
        ),
        (
            {CORE: "class C:\n    @staticmethod\n    def f(a, b, c, d, e, f, g): ...\n"},
            "functions above 6 parameters",
            [f"{CORE}:3: f has 7 parameters"],
        ),
        (
            {EXPORT: "import edge_asc_bench\n", CORE: "from edge_asc_export.b import x\n"},
            "imports that run up",
            [
                f"{CORE}:1: edge_asc imports edge_asc_export, which is above it",
                f"{EXPORT}:1: edge_asc_export imports edge_asc_bench, which is above it",
            ],
        ),
        (
            {CORE: "def f():\n    import edge_asc_peers.b\n"},
            "imports that run up",
            [f"{CORE}:2: edge_asc imports edge_asc_peers, which is above it"],
        ),
        (
            {CORE: "from importlib import import_module\n\nx = import_module('edge_asc_arm.b')\n"},
            "imports that run up",
            [f"{CORE}:3: edge_asc imports edge_asc_arm, which is above it"],
        ),
        (
            {BENCH: "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import edge_asc_android\n"},
            "imports that run up",
            [f"{BENCH}:3: edge_asc_bench imports edge_asc_android, which is above it"],
        ),
        (
            {ARM: "from typing import Any\n\nx: Any = 'Any'\ny: Any = 1  # Any\nz: Any = 2\n"},
            "lines with Any per 1,000 lines",
            [f"{ARM}:{line}: Any" for line in (1, 3, 4, 5)],
        ),
    ],
)
def test_each_rule_reports_the_place(tmp_path: Path, files: dict[str, str], rule: str, places: list[str]) -> None:
    assert broken(plant(tmp_path, files)) == {rule: places}


@pytest.mark.parametrize(
    "source",
    [
        "x = 1\n" * 400,
        lines_of(60),
        "class C:\n    def f(self, a, b, c, *d, e, **f): ...\n",
        "import click\n\n\n@click.command('f')\n@click.option('--a')\ndef f(a, b, c, d, e, f, g): ...\n",
        "def f():\n    from edge_asc import a\n",  # a module that imports itself
    ],
)
def test_the_bar_itself_is_allowed(tmp_path: Path, source: str) -> None:
    assert broken(plant(tmp_path, {CORE: source})) == {}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("import edge_asc.e\n", "from edge_asc import d\n"),
        ("def f():\n    from edge_asc.e import x\n", "import edge_asc.d\n"),
        ("from . import e\n", "from .d import x\n"),
    ],
)
def test_circles(tmp_path: Path, first: str, second: str) -> None:
    planted = plant(tmp_path, {"edge_asc/d.py": first, "edge_asc/e.py": second, CORE: "import edge_asc.d\n"})
    line = first.count("\n")
    circle = f"edge_asc/d.py:{line}: import circle edge_asc.d -> edge_asc.e -> edge_asc.d"
    assert broken(planted) == {"import circles": [circle]}


def test_a_circle_through_a_package(tmp_path: Path) -> None:
    package = {"edge_asc/p/__init__.py": "from .d import x\n", "edge_asc/p/d.py": "from edge_asc.p import y\n"}
    circle = "edge_asc/p/__init__.py:1: import circle edge_asc.p -> edge_asc.p.d -> edge_asc.p"
    assert broken(plant(tmp_path, package)) == {"import circles": [circle]}


def test_mappings_of_any(tmp_path: Path) -> None:
    declared = "".join(f"x{i}: dict[str, Any]\n" for i in range(39))
    others = "a: Mapping[str, typing.Any]\nb: dict[int, Any]\nc: dict[str, int]\n"
    padding = {"edge_asc/padding.py": "\n" * 399, **{f"edge_asc/p{i}.py": "\n" * 399 for i in range(20)}}
    allowed = plant(tmp_path, {CORE: declared + others, **padding})
    assert broken(allowed) == {}
    plant(tmp_path, {CORE: declared + others + "d: list[MutableMapping[str, Any]]\n", **padding})
    places = broken(tmp_path)["mappings of str to Any"]
    assert len(places) == 41
    assert places[-2:] == [f"{CORE}:40: Mapping[str, Any]", f"{CORE}:43: MutableMapping[str, Any]"]


def test_the_script_exits_with_1_and_lists_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = str(plant(tmp_path, {}))
    assert house.main([root]) == 0
    assert "BROKEN" not in capsys.readouterr().out
    plant(tmp_path, {CORE: lines_of(61)})
    run = subprocess.run([sys.executable, house.__file__, root], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert run.stdout.endswith(f"functions above 60 lines: 1, at most 0 allowed\n{CORE}:1: f has 61 lines\n")


def test_a_tree_without_packages_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no packages"):
        house.measure(tmp_path)
