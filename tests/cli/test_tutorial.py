"""The commands of docs/tutorial-pi.md, in order, on generated recordings; a server on loopback stands for the Pi."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_asc import audio
from sshserver import Server, make_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorial-pi.md").read_text(encoding="utf-8")
PI = "pi@raspberrypi.local"
# What makes a command small enough for a test: few epochs, which agree in int8 only by chance, and a short benchmark.
SMALLER = {
    "train": ["--epochs", "2", "--folds", "2", "--set", "head.views=1", "--set", "head.frames=[24,24]"],
    "export": ["--accept-agreement", "0"],
    "bench": ["--rounds", "1", "--lengths", "1"],
}


def read_commands() -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines()]


ALL = read_commands()
# Not run: as root, they install packages, files and a service on the system of the Pi.
AS_ROOT = [line for line in ALL if line.startswith("sudo ")]
SYSTEM = {"apt", "python3", "cp", "systemctl", "journalctl", "/opt/edge-asc/bin/pip", "/opt/edge-asc/bin/edge-asc"}


# What comes before the first command that needs the Pi.
HERE = ALL[: next(number for number, line in enumerate(ALL) if PI in line)]


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Server]:
    server = make_server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with recordings and a clone, in which the commands that need no Pi have run."""
    folder = tmp_path_factory.mktemp("tutorial")
    rng = np.random.default_rng(0)
    time = np.arange(17600) / 16000
    for number in range(4):
        sounds = {
            "doorbell": 0.3 * np.sin(2 * np.pi * (600 + 20 * number) * time) * np.exp(-3 * (time % 0.5)),
            "kettle": 0.1 * rng.normal(size=len(time)),
            "other": 0.3 * rng.normal(size=len(time)) * (time * 7 % 1 < 0.1),
        }
        for label, samples in sounds.items():
            audio.write(folder / f"my-sounds/{label}/{number}.wav", samples.astype(np.float32))
    (folder / "edge-asc").symlink_to(ROOT)
    for line in HERE:
        run(line, [], folder)
    return folder


def run(line: str, words: list[str], folder: Path) -> None:
    """Run a command of the page; `words` replace it where they are given."""
    words = words or adapt(line)
    environment = {**os.environ, "EDGE_ASC_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"


def adapt(line: str) -> list[str]:
    """The words of a command, with what makes it smaller, and the programs of this environment."""
    words = shlex.split(line)
    if words[0] == "edge-asc":
        return [sys.executable, "-m", "edge_asc", *words[1:], *SMALLER.get(words[1], [])]
    return [sys.executable, "-m", *words] if words[0] == "pip" else words


def point_to(server: Server, words: list[str]) -> list[str]:
    """The words of a command with a server in place of the Pi."""
    config, (user, address) = str(server.folder / "config"), server.name.removeprefix("ssh://").split("@")
    if f"ssh://{PI}" in words:
        words = [*words, "--ssh-config", config, "--python", sys.executable]
    if words[0] == "scp":
        # SFTP starts in the real home folder of who runs the test: the server's own is named.
        words = ["scp", "-F", config, "-P", str(server.port), *words[1:-1], f"{words[-1]}{server.home}"]
    host = f"{user}@{address.partition(':')[0]}"
    return [word.replace(f"ssh://{PI}", server.name).replace(PI, host) for word in words]


def test_the_commands_lead_to_events(work: Path) -> None:
    commands = [shlex.split(line)[1] for line in HERE]
    assert commands == ["data", "train", "export", "inspect", "listen"]
    assert (work / "events/events.csv").is_file()
    assert list((work / "runs/my-sounds/int8").glob("*.tflite"))


def test_the_commands_that_need_the_pi_run_in_order(work: Path, pi: Server) -> None:
    assert {shlex.split(line)[1] for line in AS_ROOT} == SYSTEM
    for line in ALL[len(HERE) :]:
        if line not in AS_ROOT:
            run(line, point_to(pi, adapt(line)), work)
    measured = json.loads((work / "pi.json").read_text())
    assert measured["complete"]
    assert measured["made"]["target"] == pi.name
    assert [bool(variant["latency"]) for variant in measured["variants"]] == [False, True]
    assert "<html" in (work / "pi.html").read_text()
    assert list((pi.home / "wheel").glob("edge_asc-*.whl"))
    assert (pi.home / "int8/manifest.json").is_file()


def test_the_service_of_the_page_can_be_written(tmp_path: Path) -> None:
    """Without root, the unit is printed instead of installed."""
    bundle = shutil.copytree(ROOT / "edge_asc/zoo/fuse/int8", tmp_path / "my-sounds")
    (line,) = [line for line in AS_ROOT if "--install-service" in line]
    words = shlex.split(line.replace("/opt/edge-asc/my-sounds", str(bundle)))[2:]
    command = [sys.executable, "-m", "edge_asc", *words, "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"--model {bundle}" in result.stdout
    assert "[Service]" in result.stdout
