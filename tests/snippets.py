"""Fenced blocks of the Markdown pages, and the sandbox that they run in.

A block runs as it is printed: shell commands where no language or `bash` is named, and `python`. `toml`, `json` and
`yaml` are parsed. An invisible comment above a block changes that:

    <!-- not run: REASON -->    of its commands, only the options and subcommands of edge-asc are checked
    <!-- file: NAME -->         it is written to this file of the sandbox, after what is there

As a program, this is the `edge-asc` of the sandbox: what takes long does less, and a server on loopback is the Pi.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import click
import numpy as np

from edge_asc import audio
from edge_asc.cli import cli, main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(
    r"(?:^<!-- (?P<kind>not run|file): (?P<note>.+?) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
INLINE = re.compile(r"(?<!`)`(edge-asc [a-z][^`]*)`(?!`)")
SHELL = ("", "bash")
# What makes a command small enough for a test. Models of two epochs agree in int8 only by chance.
SMALLER = {
    "train": ["--epochs", "2", "--folds", "2", "--set", "head.views=1", "--set", "head.frames=[24,24]"],
    "export": ["--accept-agreement", "0"],
    "bench": ["--rounds", "1", "--lengths", "1"],
}
SCRATCH = ["--set", "trunk.batch=4", "--set", "trunk.frames=[16,16]", "--set", "trunk.long_share=0"]
ONE_FORMAT = ["--format", "tflite"]
PI = re.compile(r"pi@raspberrypi(\.local)?")
# Programs of the sandbox that are not the real ones.
SHIMS = ("edge-asc", "make", "pip", "scp")


@dataclass(frozen=True)
class Block:
    """A fenced block: the line of its fence in a page, and what the comment above it says."""

    page: Path
    line: int
    language: str
    text: str
    kind: str
    note: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def find_pages() -> list[Path]:
    """The Markdown pages that people read: no templates, no lists of authors, no text of the forge."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    left_out = ("CREDITS.md", "benchmarks/edge_asc_bench/", ".github/")
    return [ROOT / name for name in listed.splitlines() if not name.startswith(left_out) and "CREDITS" not in name]


def read_blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page,
            text.count("\n", 0, text.index("```", match.start("indent"))) + 1,
            match["language"],
            re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE),
            match["kind"] or "",
            match["note"] or "",
        )
        for match in FENCE.finditer(text)
    ]


class Sandbox:
    """A folder with generated data, in which the blocks of a page run in order."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self.folder, self._bin = folder, folder / "bin"
        self.variables = variables
        self._bin.mkdir(parents=True)
        for name in SHIMS:
            shim = self._bin / name
            shim.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__)} {name} "$@"\n')
            shim.chmod(0o755)
        write_data(folder)

    def run(self, block: Block) -> None:
        """Run, parse or write a block; it fails if the block does."""
        if block.kind == "file":
            path = self.folder / block.note
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join([path.read_text() if path.exists() else "", block.text]))
            if path.suffix == ".py":
                self._execute(block, f"{sys.executable} {block.note}")
        elif block.language in SHELL:
            self._execute(block, f"set -euo pipefail\n[ ! -f .env ] || . ./.env\n{block.text}\nexport -p > .env\n")
        elif block.language == "python":
            code = f"import snippets\nsamples = snippets.make_sound('kettle', 0)\ndel snippets\n{block.text}"
            self._execute(block, f"[ ! -f .env ] || . ./.env\n{sys.executable} - <<'END'\n{code}\nEND\n")
        elif block.language == "toml":
            tomllib.loads(block.text)
        elif block.language == "json":
            json.loads(block.text)
        else:
            raise AssertionError(f"{block}: blocks of {block.language} do not run; mark it: <!-- not run: REASON -->")

    def _execute(self, block: Block, script: str) -> None:
        environment = {
            **os.environ,
            "PATH": f"{self._bin}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "tests"),
            "EDGE_ASC_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            **self.variables,
        }
        result = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        assert result.returncode == 0, f"{block}\n{block.text}\n{result.stdout}\n{result.stderr}"


def make_sound(label: str, number: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """1.1 s of a decaying tone, noise, or bursts of noise: (17600,) at 16 kHz."""
    rng = np.random.default_rng(number)
    time = np.arange(17600) / 16000
    samples = 0.3 * rng.normal(size=len(time)) * (time * 7 % 1 < 0.1)
    if label in ("doorbell", "church_bells"):
        samples = 0.3 * np.sin(2 * np.pi * (600 + 20 * number) * time) * np.exp(-3 * (time % 0.5))
    elif label in ("kettle", "rain"):
        samples = 0.1 * rng.normal(size=len(time))
    return samples.astype(np.float32)


def write_data(folder: Path) -> None:
    """Write what the pages name: recordings, folders of sounds, a clone, and an exported model."""
    for number in range(2):
        for label in ("doorbell", "kettle", "other"):
            audio.write(folder / f"my-sounds/{label}/{number}.wav", make_sound(label, number))
        for label in ("church_bells", "rain"):
            audio.write(folder / f"DATA/{label}/{number}.wav", make_sound(label, number))
    audio.write(folder / "recording.wav", make_sound("rain", 0))
    for number in range(2):
        audio.write(folder / f"recordings/{number}.wav", make_sound("church_bells", number))
    (folder / "edge-asc").symlink_to(ROOT)
    shutil.copytree(ROOT / "edge_asc/zoo/fuse/int8", folder / "build/fuse-int8")


def shrink(words: Sequence[str]) -> list[str]:
    """The arguments of edge-asc, with what makes a command smaller, and with a server in place of the Pi."""
    command = words[0] if words else ""
    smaller = [*words, *SMALLER.get(command, [])]
    if command == "train":
        smaller += SCRATCH if "--backbone" in words else []
        output = words[words.index("--output") + 1] if "--output" in words else f"runs/{Path(words[1]).name}"
        smaller += ["--resume"] if (Path(output) / "checkpoint.json").exists() else []
    if command == "bench" and "--data" not in words:
        smaller += ["--data", "my-sounds" if any("my-sounds" in word for word in words) else "DATA"]
    if command == "export":
        smaller = [*(smaller if "--quantize" in words else words), *(() if "--format" in words else ONE_FORMAT)]
    server = os.environ.get("EDGE_ASC_PI", "local")
    if server != "local" and any(PI.search(word) for word in words):
        smaller += ["--ssh-config", os.environ["EDGE_ASC_SSH_CONFIG"], "--python", sys.executable]
    return [server if PI.search(word) else word for word in smaller]


def find_commands(text: str) -> Iterator[list[str]]:
    """Yield the arguments of each edge-asc in shell text."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.replace(" …", " "), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "|"]:
            if word[0] in "|&;<>":
                # The program, after words such as `sudo` and variables, or the image; `./edge-asc` is a folder.
                names = [number for number, each in enumerate(words) if re.fullmatch(r"(/.*/)?edge-asc", each)]
                if names and words[names[0] - 1] != "--tag":
                    yield words[names[0] + 1 :]
                words = []
            else:
                words.append(word)


def parse(arguments: list[str]) -> None:
    """Parse a command line as edge-asc does, with files and devices taken for present.

    Raises:
        click.UsageError: an option or a subcommand does not exist, or a value or an argument is wrong.
    """
    from edge_asc.cli import model, output

    with (
        mock.patch.object(click.Path, "convert", lambda self, value, param, ctx: Path(value)),
        mock.patch.object(output.OutputPath, "convert", lambda self, value, param, ctx: Path(value)),
        mock.patch.object(model.CheckpointFolder, "convert", lambda self, value, param, ctx: Path(value)),
        mock.patch.object(model, "trust_backbone"),
    ):
        command: click.Command = cli
        context = click.Context(cli, info_name="edge-asc", **cli.context_settings)
        while isinstance(command, click.Group):
            if not arguments:
                return
            name, found, arguments = command.resolve_command(context, arguments)
            assert found is not None
            command = found
            if isinstance(command, click.Group):
                context = click.Context(command, info_name=name, parent=context)
            else:
                command.make_context(name, list(arguments), parent=context)


def _run_shim(name: str, words: list[str]) -> None:
    if name == "edge-asc":
        main(["listen", "--help"] if _needs_microphone(words) else shrink(words))
    elif name == "make":
        os.execvp("/usr/bin/make", ["make", "--dry-run", "--directory", str(ROOT), *words])
    elif name == "pip" and words[0] == "install":
        _check_requirements([word for word in words[1:] if not word.startswith("-")])
    elif name == "pip":
        os.execv(sys.executable, [sys.executable, "-m", "pip", *words])
    elif name == "scp":
        # SFTP starts in the real home folder of who runs the test: the server's own is named.
        user, port, home, config = (os.environ[f"EDGE_ASC_{part}"] for part in ("LOGIN", "PORT", "HOME", "SSH_CONFIG"))
        *sources, target = words
        place = PI.sub(user, target) + home
        os.execv("/usr/bin/scp", ["scp", "-F", config, "-P", port, *sources, place])


def _needs_microphone(words: list[str]) -> bool:
    if words[:1] != ["listen"]:
        return False
    command = cli.get_command(click.Context(cli), "listen")
    assert command is not None
    return not command.make_context("listen", words[1:]).params["sources"]


def _check_requirements(requirements: list[str]) -> None:
    """Check that the extras of edge-asc exist; nothing is installed."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for requirement in requirements:
        match = re.fullmatch(r"(?:\.|edge-asc|/.+)(?:\[([\w,]+)\])?", requirement)
        unknown = {requirement} if match is None else set((match[1] or "all").split(",")) - set(extras)
        if unknown:
            sys.exit(f"pip install {requirement}: {', '.join(unknown)} unknown")


if __name__ == "__main__":
    _run_shim(sys.argv[1], sys.argv[2:])
