"""The public Python names: they exist, are documented, load nothing before they are used, and their examples run."""

from __future__ import annotations

import doctest
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from edge_asc import StreamingClassifier, evaluate_folder, train_on_folder
from snippets import ROOT, write_data

PACKAGES = ("edge_asc", "edge_asc_export", "edge_asc_bench")
NAMES = [(package, name) for package in PACKAGES for name in import_module(package).__all__ if name != "__version__"]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_public_names_are_documented(package: str, name: str) -> None:
    named = getattr(import_module(package), name)
    assert name in dir(import_module(package))
    text = inspect.getdoc(named) or ""
    assert f"::: {package}.{name}\n" in PAGE
    if inspect.isfunction(named):
        parameters = inspect.signature(named).parameters
        assert [each for each in parameters if not re.search(rf"^    {each}: ", text, re.MULTILINE)] == []
        assert "Raises:" in text


def test_documented_names_exist() -> None:
    for path in re.findall(r"^::: ([\w.]+)$", PAGE, re.MULTILINE):
        module, _, name = path.rpartition(".")
        assert hasattr(import_module(module), name), path


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_loads_nothing_before_a_name_is_used(package: str) -> None:
    code = f"import sys, {package}; print(*{{'numpy', 'torch', 'onnx', 'msgspec', 'click'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() == []
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        import_module(package).no_such_name  # noqa: B018


def test_a_missing_package_names_the_extra() -> None:
    code = "import sys; sys.modules['torch'] = None\nfrom edge_asc import train_on_folder"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "torch is not installed; install it with: pip install 'edge-asc[train]'" in result.stderr


def test_artefacts_are_evaluated_without_torch(tmp_path: Path) -> None:
    write_data(tmp_path)
    code = (
        "import sys; sys.modules['torch'] = None\nfrom edge_asc import evaluate_folder\n"
        "print(evaluate_folder('DATA', ['build/fuse-int8'], lengths=[1]).results[0].at(1).count)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.stdout.strip() == "4", result.stderr


def test_examples_of_docstrings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder of recordings to a measured artefact, in the order in which the names need each other."""
    from edge_asc_bench import bench_models, check
    from edge_asc_export import export_checkpoint

    write_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path / "cache"))
    examples = 0
    order = (StreamingClassifier, train_on_folder, export_checkpoint, evaluate_folder, bench_models, check)
    for function in order:
        for test in doctest.DocTestFinder(recurse=False).find(function, function.__name__):
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
            assert result.failed == 0, function.__name__
            examples += result.attempted
    assert examples > 15
