"""The commands of docs/tutorial-pi.md, in their order, on generated recordings; a server on loopback stands for the Pi."""

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
# They change the system of the Pi, as root.
AS_ROOT = [line for line in ALL if line.startswith("sudo ")]


@pytest.fixture
def pi(tmp_path: Path) -> Iterator[Server]:
    server = make_server(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working folder with the recordings, and a clone."""
    rng = np.random.default_rng(0)
    time = np.arange(17600) / 16000
    for number in range(4):
        sounds = {
            "doorbell": 0.3 * np.sin(2 * np.pi * (600 + 20 * number) * time) * np.exp(-3 * (time % 0.5)),
            "kettle": 0.1 * rng.normal(size=len(time)),
            "other": 0.3 * rng.normal(size=len(time)) * (time * 7 % 1 < 0.1),
        }
        for label, samples in sounds.items():
            audio.write(tmp_path / f"work/my-sounds/{label}/{number}.wav", samples.astype(np.float32))
    (tmp_path / "work/edge-asc").symlink_to(ROOT)
    return tmp_path / "work"


def adapt(line: str, server: Server) -> list[str]:
    """The command with the server in place of the Pi, and what makes it smaller."""
    words = shlex.split(line)
    if words[0] == "edge-asc":
        words = [sys.executable, "-m", "edge_asc", *words[1:], *SMALLER.get(words[1], [])]
        if f"ssh://{PI}" in words:
            words += ["--ssh-config", str(server.folder / "config"), "--python", sys.executable]
    elif words[0] == "pip":
        words = [sys.executable, "-m", *words]
    elif words[0] == "scp":
        words[1:1] = ["-F", str(server.folder / "config"), "-P", str(server.port)]
    user, address = server.name.removeprefix("ssh://").split("@")
    host = address.partition(":")[0]
    return [word.replace(f"ssh://{PI}", server.name).replace(PI, f"{user}@{host}") for word in words]


def test_the_commands_run_in_order(work: Path, pi: Server) -> None:
    environment = {**os.environ, "EDGE_ASC_CACHE": str(work / "cache"), "OMP_NUM_THREADS": "1"}
    ran = []
    for line in ALL:
        if line in AS_ROOT:
            continue
        command = adapt(line, pi)
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=work, env=environment)
        assert result.returncode == 0, f"{line}\n{result.stdout}\n{result.stderr}"
        ran.append(shlex.split(line)[:2])
    assert [words[1] for words in ran if words[0] == "edge-asc"] == [
        *("data", "train", "export", "inspect", "listen", "bench", "report")
    ]
    assert (work / "events/events.csv").is_file()
    measured = json.loads((work / "pi.json").read_text())
    assert measured["complete"]
    assert measured["made"]["target"] == pi.name
    assert [bool(variant["latency"]) for variant in measured["variants"]] == [False, True]
    assert "<html" in (work / "pi.html").read_text()
    assert list((pi.home / "wheel").glob("edge_asc-*.whl"))
    assert (pi.home / "int8/manifest.json").is_file()


def test_the_service_of_the_page_can_be_written(artefacts_folder: Path) -> None:
    """Without root, the unit is printed instead of installed."""
    (line,) = [line for line in AS_ROOT if "--install-service" in line]
    words = shlex.split(line.replace("/opt/edge-asc/my-sounds", str(artefacts_folder)))[2:]
    command = [sys.executable, "-m", "edge_asc", *words, "--dry-run"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"--model {artefacts_folder}" in result.stdout
    assert "[Service]" in result.stdout


@pytest.fixture
def artefacts_folder(tmp_path: Path) -> Path:
    """A bundle that a service may read."""
    return Path(shutil.copytree(ROOT / "edge_asc/zoo/fuse/int8", tmp_path / "my-sounds"))


@pytest.mark.parametrize("line", AS_ROOT)
def test_what_needs_root_uses_the_page_s_own_paths(line: str) -> None:
    """These commands are not run, since they change the system as root; what they name exists by then."""
    words = shlex.split(line)[1:]
    made = ("/opt/edge-asc/bin/pip", "/opt/edge-asc/bin/edge-asc", "apt", "python3", "cp", "systemctl", "journalctl")
    assert words[0] in made
    assert not [word for word in words if "edge-asc-" in word and word != "edge-asc-listen"]
