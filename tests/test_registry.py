"""Registries: descriptors of any distribution, found by name without importing them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from edge_asc.backbone import BACKBONES
from edge_asc.data.dataset import LAYOUTS
from edge_asc.engine import ENGINES
from edge_asc.errors import EdgeAscError
from edge_asc.registry import Registry
from plugins import Toy, write_distribution

Install = Callable[[str, dict[str, str], dict[str, str]], None]

numbers = count()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Registry[Toy], Install]:
    """A registry of toys, and a function that installs a distribution into its group."""
    group = f"tests.toys{next(numbers)}"
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, points: dict[str, str], modules: dict[str, str]) -> None:
        write_distribution(tmp_path, name, {group: points}, modules)

    return Registry(group, Toy, "TOY", "toy"), install


def toy(sound: str) -> str:
    return f"from plugins import Toy\nTOY = Toy({sound!r})\n"


@pytest.fixture
def package() -> str:
    """The name of a package that no test has imported."""
    return f"toys{next(numbers)}"


def test_nothing_is_registered(registry: tuple[Registry[Toy], Install]) -> None:
    toys, _ = registry
    assert toys.names() == ()
    assert toys.all() == {}
    with pytest.raises(EdgeAscError, match="got toy 'duck'; expected one of: none is installed"):
        toys.load("duck")


def test_a_descriptor_is_found_by_the_name_of_its_entry_point(
    registry: tuple[Registry[Toy], Install], package: str
) -> None:
    toys, install = registry
    install("mine", {"duck": f"{package}:DUCK"}, {f"{package}.py": "from plugins import Toy\nDUCK = Toy('quack')"})
    assert toys.names() == ("duck",)
    assert package not in sys.modules, "names are known without an import"
    assert toys.load("duck") == Toy("quack")
    assert toys.load("duck") is toys.load("duck")


def test_a_package_registers_each_of_its_modules(registry: tuple[Registry[Toy], Install], package: str) -> None:
    toys, install = registry
    modules = {"__init__": "", "duck": toy("quack"), "cow": toy("moo"), "_barn": "raise RuntimeError"}
    files = {f"{package}/animals/{name}.py": text for name, text in modules.items()} | {f"{package}/__init__.py": ""}
    install("farm", {"anything": f"{package}.animals"}, files)
    assert toys.names() == ("cow", "duck")
    assert not [name for name in sys.modules if name.startswith(package)], "not even the parents are imported"
    assert toys.all() == {"cow": Toy("moo"), "duck": Toy("quack")}
    assert toys.sources["cow"].distribution == "farm"


def test_a_new_file_is_a_new_descriptor(registry: tuple[Registry[Toy], Install], package: str, tmp_path: Path) -> None:
    toys, install = registry
    install("farm", {"farm": package}, {f"{package}/__init__.py": "", f"{package}/duck.py": toy("quack")})
    (tmp_path / package / "cow.py").write_text(toy("moo"))
    assert toys.load("cow") == Toy("moo")


def test_a_misspelt_name_lists_what_there_is(registry: tuple[Registry[Toy], Install], package: str) -> None:
    toys, install = registry
    install("farm", {"farm": package}, {f"{package}/__init__.py": "", f"{package}/duck.py": toy("quack")})
    with pytest.raises(EdgeAscError, match="got toy 'dukc'; expected one of: duck"):
        toys.load("dukc")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "does not load .*no_such_module.*; upgrade, reinstall or uninstall"),
        ("OTHER = 1", "does not load .*TOY.*; upgrade, reinstall or uninstall"),
        ("TOY = 'a string'", "is a str; expected a Toy: upgrade or uninstall"),
        ("TOY = = 1", "does not load"),
        ("raise RuntimeError('at import')", "does not load .*at import"),
    ],
)
def test_a_broken_one_warns_and_leaves_the_others(
    registry: tuple[Registry[Toy], Install], package: str, source: str, message: str
) -> None:
    toys, install = registry
    files = {f"{package}/__init__.py": "", f"{package}/duck.py": toy("quack"), f"{package}/broken.py": source}
    install("farm", {"farm": package}, files)
    with pytest.warns(UserWarning, match=f"toy 'broken' of farm {message}"):
        assert toys.all() == {"duck": Toy("quack")}
    with pytest.raises(EdgeAscError, match=f"toy 'broken' of farm {message}"):
        toys.load("broken")


@pytest.mark.parametrize("value", ["no_such_package", "no_such_package.below", "os", "json.decoder"])
def test_a_package_that_is_none_warns_and_leaves_the_others(
    registry: tuple[Registry[Toy], Install], package: str, value: str
) -> None:
    toys, install = registry
    install("farm", {"duck": f"{package}:TOY", "gone": value}, {f"{package}.py": toy("quack")})
    with pytest.warns(UserWarning, match="toy 'gone' of farm does not load .*reinstall or uninstall"):
        assert toys.names() == ("duck",)
    assert toys.load("duck") == Toy("quack")


def test_of_two_of_one_name_the_first_is_used_and_a_warning_names_both(
    registry: tuple[Registry[Toy], Install], package: str
) -> None:
    toys, install = registry
    install("one", {"duck": f"{package}a:TOY"}, {f"{package}a.py": toy("quack")})
    install("two", {"duck": f"{package}b:TOY"}, {f"{package}b.py": toy("woof")})
    with pytest.warns(UserWarning, match=r"(one|two) registers toy 'duck', which (one|two) has registered; the first"):
        sound = toys.load("duck").sound
    assert sound == {"one": "quack", "two": "woof"}[toys.sources["duck"].distribution]


def test_ours_are_registered_like_anybodys() -> None:
    assert {"litert", "onnxruntime", "pytorch"} <= set(ENGINES.names())
    assert set(BACKBONES.names()) == {"bcresnet", "fuse", "resnet"}
    assert "tau" in LAYOUTS.names()
    for registry in (ENGINES, BACKBONES, LAYOUTS):
        assert all(descriptor.name == name for name, descriptor in registry.all().items() if name != "peer")


def test_names_of_backbones_need_no_torch() -> None:
    code = "import sys; from edge_asc.backbone import BACKBONES; print(BACKBONES.names(), 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "('bcresnet', 'fuse', 'resnet') False"


def test_packages_in_an_archive_are_found(
    registry: tuple[Registry[Toy], Install], package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a device, where the runner is one zip file."""
    toys, _ = registry
    modules = {
        f"{package}/__init__.py": "",
        f"{package}/animals/__init__.py": "",
        f"{package}/animals/duck.py": toy("quack"),
    }
    source = write_distribution(tmp_path / "source", "farm", {toys.group: {"farm": f"{package}.animals"}}, modules)
    monkeypatch.syspath_prepend(shutil.make_archive(str(tmp_path / "archive"), "zip", source))
    assert toys.names() == ("duck",)
    assert toys.load("duck") == Toy("quack")
