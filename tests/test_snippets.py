"""Every fenced block of the Markdown pages runs as it is printed, or says why not (tests/snippets.py)."""

from __future__ import annotations

import getpass
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile, takewhile
from pathlib import Path

import click
import pytest

from edge_asc.cli import cli
from snippets import INLINE, PI, ROOT, SHELL, Block, Sandbox, find_commands, find_pages, parse, read_blocks
from sshserver import Server, make_server

# Pages whose blocks take most of the time; `make proof` runs them.
LONG = (
    "benchmarks/README.md",
    "docs/backbones.md",
    "docs/c.md",
    "docs/gate-workflow.md",
    "docs/microcontrollers.md",
    "docs/other-languages.md",
)
TUTORIAL, OWN_SOUNDS = ROOT / "docs/tutorial-pi.md", ROOT / "docs/own-sounds.md"
PAGES = find_pages()
# Commands of examples of plug-ins.
PLUGINS = ("hello",)
if not PAGES:
    pytest.skip("the pages are found with git; this is no clone", allow_module_level=True)
BLOCKS = [block for page in PAGES for block in read_blocks(page)]
RUNNABLE = list(dict.fromkeys(block.page for block in BLOCKS if block.kind != "not run"))

# Recordings that the README classifies in a clone.
DEMO = ROOT / "edge_asc/demo"


def run_page(page: Path, sandbox: Sandbox) -> None:
    for block in read_blocks(page):
        if block.kind != "not run":
            sandbox.run(block)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sandbox in which the blocks of docs/own-sounds.md have run: there is a trained model."""
    sandbox = Sandbox(tmp_path_factory.mktemp("own"))
    run_page(OWN_SOUNDS, sandbox)
    return sandbox.folder


def make_sandbox(folder: Path, trained: Path) -> Sandbox:
    sandbox = Sandbox(folder)
    for name in ("runs", "cache"):
        shutil.copytree(trained / name, sandbox.folder / name)
    shutil.copytree(DEMO, sandbox.folder / DEMO.relative_to(ROOT))
    return sandbox


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, id=(name := page.relative_to(ROOT).as_posix()), marks=pytest.mark.slow if name in LONG else ()
        )
        for page in RUNNABLE
        if page != TUTORIAL
    ],
)
def test_blocks_run_as_printed(page: Path, trained: Path, tmp_path: Path) -> None:
    if page == OWN_SOUNDS:
        assert (trained / "runs/my-sounds/errors.html").is_file()
        return
    run_page(page, make_sandbox(tmp_path / "work", trained))


@pytest.fixture(scope="module")
def tutorial(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """The sandbox in which the blocks of the tutorial that need no Pi have run, up to the first that needs one."""
    sandbox = make_sandbox(tmp_path_factory.mktemp("tutorial") / "work", trained)
    for block in takewhile(lambda block: not PI.search(block.text), read_blocks(TUTORIAL)):
        sandbox.run(block)
    return sandbox


def test_the_tutorial_leads_to_events(tutorial: Sandbox) -> None:
    assert (tutorial.folder / "events/events.csv").is_file()
    assert list((tutorial.folder / "runs/my-sounds/int8").glob("*.tflite"))


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Server]:
    server = make_server(tmp_path)
    server.start()
    yield server
    server.stop()


def test_the_tutorial_measures_on_the_pi_and_copies_to_it(tutorial: Sandbox, pi: Server) -> None:
    login, port, config = f"{getpass.getuser()}@127.0.0.1", str(pi.port), str(pi.folder / "config")
    names = {"PI": pi.name, "LOGIN": login, "PORT": port, "HOME": str(pi.home), "SSH_CONFIG": config}
    tutorial.variables |= {f"EDGE_ASC_{name}": value for name, value in names.items()}
    for block in dropwhile(lambda block: not PI.search(block.text), read_blocks(TUTORIAL)):
        if block.kind != "not run":
            tutorial.run(block)
    measured = json.loads((tutorial.folder / "pi.json").read_text())
    assert measured["complete"]
    assert measured["made"]["target"] == pi.name
    assert [bool(variant["latency"]) for variant in measured["variants"]] == [False, True]
    assert list((pi.home / "wheel").glob("edge_asc-*.whl"))
    assert (pi.home / "int8/manifest.json").is_file()


def test_the_service_of_the_tutorial_can_be_written(tmp_path: Path) -> None:
    """Without root, the unit is printed instead of installed."""
    bundle = shutil.copytree(ROOT / "edge_asc/zoo/fuse/int8", tmp_path / "my-sounds")
    (line,) = [line for line in TUTORIAL.read_text().splitlines() if "--install-service" in line]
    words = shlex.split(line.replace("/opt/edge-asc/my-sounds", str(bundle)))[2:]
    command = [sys.executable, "-m", "edge_asc", *words, "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"--model {bundle}" in result.stdout
    assert "[Service]" in result.stdout


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in SHELL], ids=str)
def test_commands_parse(block: Block) -> None:
    for arguments in find_commands(block.text):
        parse(arguments)


def test_reasons_are_given() -> None:
    assert [str(block) for block in BLOCKS if block.kind == "not run" and len(block.note.split()) < 1] == []
    assert sum(block.kind != "not run" for block in BLOCKS) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_inline_commands_have_options_that_exist(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for line in INLINE.findall(text):
        for words in find_commands(" ".join(line.split())):
            check_names(words, f"{page.name}: {line}")


def check_names(words: list[str], where: str) -> None:
    """Check that the command, its subcommands and its options exist; arguments may be missing in prose."""
    command: click.Command = cli
    context = click.Context(cli, info_name="edge-asc")
    known: set[str] = set()
    for word in words:
        if word in ("--", *PLUGINS):
            return
        if isinstance(command, click.Group) and not word.startswith("-") and word.islower():
            found = command.get_command(context, word)
            assert found is not None, f"{where}: no command {word}"
            context, command = click.Context(found, info_name=word, parent=context), found
            known = {option for param in command.get_params(context) for option in (*param.opts, *param.secondary_opts)}
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{where}: no option {word}"


def test_an_unknown_option_and_an_unmarked_block_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(click.NoSuchOption):
        parse(["train", "my-sounds", "--no-such-option"])
    with pytest.raises(AssertionError, match="no option --no-such"):
        check_names(["export", "--no-such"], "page")
    page = ROOT / "page.md"
    kotlin, failing = (Block(page, 1, language, text, "", "") for language, text in (("kotlin", "x"), ("", "false")))
    sandbox = Sandbox(tmp_path / "work")
    for block, message in ((kotlin, "mark it"), (failing, "page.md:1")):
        with pytest.raises(AssertionError, match=message):
            sandbox.run(block)
