"""Shell completion of the names of models, and `python -m edge_asc`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge_asc.zoo import list_names, zoo


def complete(*words: str) -> list[str]:
    """The lines that the completion script of Bash gets for the last of the words."""
    variables = {"COMP_WORDS": " ".join(["edge-asc", *words]), "COMP_CWORD": str(len(words))}
    environment = {**os.environ, **variables, "_EDGE_ASC_COMPLETE": "bash_complete"}
    command = [sys.executable, "-c", "from edge_asc.cli import main; main()"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()


@pytest.mark.parametrize(
    "words",
    [
        ("classify", "x.wav", "--model"),
        ("listen", "--model"),
        ("evaluate", "data", "--model"),
        ("bench",),
        ("inspect",),
    ],
    ids=lambda words: words[0],
)
def test_models_are_artefacts_and_files(words: tuple[str, ...]) -> None:
    expected = [f"plain,{name}" for name in list_names() if name.startswith("fuse-5")]
    assert complete(*words, "fuse-5") == ["file,fuse-5", *expected]
    assert "plain,fuse-50-int8" in expected


@pytest.mark.parametrize("words", [("train", "data", "--teacher"), ("train", "data", "--from"), ("export",)])
def test_checkpoints_are_pretrained_models_and_folders(words: tuple[str, ...]) -> None:
    kind = "file" if words == ("export",) else "dir"
    expected = [f"plain,{name}" for name in zoo() if name.startswith("fuse")]
    assert complete(*words, "fuse") == [f"{kind},fuse", *expected]


def test_a_training_can_start_from_none() -> None:
    assert complete("train", "data", "--from", "no") == ["dir,no", "plain,none"]


def test_bash_completes_with_the_script() -> None:
    folder = Path(sys.executable).parent
    if shutil.which("bash") is None or not (folder / "edge-asc").exists():
        pytest.skip("no bash, or edge-asc is not installed as a program")
    script = """
eval "$(_EDGE_ASC_COMPLETE=bash_source edge-asc)"
compopt() { :; }
COMP_WORDS=(edge-asc classify x.wav --model resnet) COMP_CWORD=4
_edge_asc_completion edge-asc
echo "${COMPREPLY[*]}"
"""
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert result.stdout.split() == [name for name in list_names() if name.startswith("resnet")], result.stderr


def test_the_module_is_the_program() -> None:
    both = [
        subprocess.run([sys.executable, *start, "--help"], capture_output=True, text=True, check=True).stdout
        for start in (["-m", "edge_asc"], ["-c", "from edge_asc.cli import main; main()"])
    ]
    assert both[0] == both[1]
    assert both[0].startswith("Usage: edge-asc ")
