"""The files around the code: workflows, issue forms, citation, lowest versions."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import edge_asc
import minimum
from snippets import find_commands, parse

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
EXAMPLE, ACTION = ROOT / "examples/ci/gate.yml", ROOT / ".github/actions/gate/action.yml"
CONTAINERFILE = ROOT / "examples/container/Containerfile"
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
ELEMENTS = {"markdown", "textarea", "input", "dropdown", "checkboxes"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def jobs() -> Iterator[tuple[str, Any]]:
    for path in WORKFLOWS:
        for name, job in load(path)["jobs"].items():
            yield f"{path.name}: {name}", job


def test_files_are_there() -> None:
    assert [path.name for path in WORKFLOWS] == ["build.yml", "ci.yml", "docs.yml", "release.yml"]
    assert len(FORMS) == 3


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_read_alone_and_hold_no_secret(path: Path) -> None:
    workflow = load(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert True in workflow  # "on", which YAML 1.1 reads as a truth value
    assert "secrets." not in path.read_text(encoding="utf-8")


def test_jobs_are_complete() -> None:
    for name, job in jobs():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file(), name
            continue
        assert job["runs-on"], name
        assert job["timeout-minutes"] <= 120, name
        assert all(("run" in step) != ("uses" in step) for step in job["steps"]), name


def test_actions_are_pinned_to_a_major_version() -> None:
    used = [step["uses"] for _, job in jobs() for step in job.get("steps", []) if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w.-]+/[\w.-]+@(release/)?v\d+", name)] == []


def test_the_publishing_job_alone_has_a_token() -> None:
    permitted = {name: job["permissions"] for name, job in jobs() if "permissions" in job}
    assert permitted == {"release.yml: publish": {"id-token": "write"}}
    assert load(ROOT / ".github/workflows/release.yml")["jobs"]["publish"]["environment"] == "pypi"


def test_the_example_workflow_uses_the_action_with_its_inputs() -> None:
    (job,) = load(EXAMPLE)["jobs"].values()
    (step,) = [step for step in job["steps"] if "/gate@" in step.get("uses", "")]
    assert step["uses"] == f"OWNER/edge-asc/{ACTION.parent.relative_to(ROOT).as_posix()}@v{edge_asc.__version__}"
    inputs = load(ACTION)["inputs"]
    assert set(step["with"]) <= set(inputs)
    assert {name for name, each in inputs.items() if each.get("required")} <= set(step["with"])
    assert load(EXAMPLE)["permissions"] == {"contents": "read"}
    page = (ROOT / "docs/gate-workflow.md").read_text(encoding="utf-8")
    assert [name for name in inputs if f"| `{name}` |" not in page] == []


def test_commands_of_the_action_parse() -> None:
    """Each has only options that exist; a variable of the shell stands for what it becomes."""
    commands: list[list[str]] = []
    for step in load(ACTION)["runs"]["steps"]:
        text = re.sub(r"\$\{[A-Z]+:\+(.*?)\}", r"\1", step["run"].replace('"', ""))
        commands += find_commands(text)
    assert [words[0] for words in commands] == ["export", "export", "bench", "check"]
    for words in commands:
        parse(words)


def test_the_containerfile_has_no_finding_of_hadolint() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if hadolint is None:
        pytest.skip("no hadolint: install edge-asc[dev]")
    result = subprocess.run([hadolint, str(CONTAINERFILE)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_container_copies_what_the_wheel_needs(tmp_path: Path) -> None:
    text = CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    build, final = re.split(r"^FROM .*$", text, flags=re.MULTILINE)[1:]
    for line in re.findall(r"^COPY (.*)$", build, re.MULTILINE):
        *sources, target = line.split()
        for source in sources:
            place = tmp_path / "source" / target / (source if target.endswith("/") else "")
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / source, place)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    result = subprocess.run(command, cwd=tmp_path / "source", capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("edge_asc/cli/__init__.py", "edge_asc/zoo/fuse/int8/fuse-int8.tflite", "edge_asc_android/__init__.py"):
        assert name in names
    assert 'ENTRYPOINT ["edge-asc"]\nCMD ["listen"]' in final
    assert re.search(r"^USER \d+$", final, re.MULTILINE)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_issue_forms(path: Path) -> None:
    form = load(path)
    assert form["name"]
    assert form["description"]
    assert {element["type"] for element in form["body"]} <= ELEMENTS
    identifiers = [element["id"] for element in form["body"] if element["type"] != "markdown"]
    assert len(identifiers) == len(set(identifiers))
    for element in form["body"]:
        assert element["attributes"].get("value") or element["attributes"].get("label")


def test_citation_is_of_this_version() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == edge_asc.__version__
    assert [reference["year"] for reference in citation["references"]] == [2022]


def test_light_tests_exist() -> None:
    listed = (ROOT / "tests/light.txt").read_text(encoding="utf-8").splitlines()
    assert "tests/test_light.py" in listed
    assert [name for name in listed if not (ROOT / name).exists()] == []


def test_minimums_follow_extras_of_the_package_itself(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(
        '[project]\nname = "p"\ndependencies = ["a>=1.2"]\n[project.optional-dependencies]\n'
        "x = [\"b-c>=3,<4; python_version > '3'\"]\n"
        'y = ["p[x,z]"]\nz = ["d[e]>=5", "a>=1.2"]\nbad = ["f"]\ntwo = ["a>=2"]\n'
    )
    assert minimum.collect_minimums(path, []) == {"a": "1.2"}
    assert minimum.collect_minimums(path, ["y"]) == {"a": "1.2", "b-c": "3", "d": "5"}
    with pytest.raises(ValueError, match="f has no lowest version"):
        minimum.collect_minimums(path, ["bad"])
    with pytest.raises(ValueError, match=r"a has two lowest versions: 1\.2 and 2"):
        minimum.collect_minimums(path, ["two"])


@pytest.mark.parametrize(
    "extra", ["onnx", "tflite", "microphone", "train", "export", "bench", "reproduce", "ray", "docs", "dev"]
)
def test_every_extra_has_lowest_versions(extra: str) -> None:
    assert minimum.collect_minimums(ROOT / "pyproject.toml", [extra])["numpy"] == "2.0"


def test_pictures_of_the_readme_are_there_and_have_words() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.*?)\]\((.*?)\)", text)
    assert [path for _, path in pictures] == ["docs/demo.svg", "docs/page.png"]
    assert all(len(words.split()) > 5 for words, _ in pictures)
    assert (ROOT / "docs/page.png").stat().st_size < 80_000
    assert len(text.split()) <= 900
