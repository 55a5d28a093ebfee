"""On emulated boards: real aarch64 code, real OpenSSH, and no figure of time."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import chain
from pathlib import Path

import pytest

from artefacts import Artefacts, clips
from edge_asc.errors import EdgeAscError
from edge_asc.progress import Phase, Progress
from edge_asc_arm.board import PI4, PI5, RELEASE, build, copy, describe
from edge_asc_arm.conformance import measure_conformance
from edge_asc_arm.cost import measure_cost
from edge_asc_arm.debian import bootstrap
from edge_asc_arm.emulator import GuestMachine
from edge_asc_arm.phone import SERIAL, build_phone
from edge_asc_arm.server import Server, serve
from edge_asc_bench.gate import IncomparableError, check
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.limits import Limits
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.result import read
from edge_asc_bench.target import TargetOptions, open_target

pytestmark = pytest.mark.arm

CLIPS = Clips("noise", clips(2, 40), (), (), "digest")
QUICK = Settings((1,), rounds=2, warm_up=1, lead=1, burst=3)


@pytest.fixture(scope="module")
def machines() -> list[GuestMachine]:
    return [GuestMachine(board, build(board)) for board in (PI4, PI5)]


def test_counts_are_the_same_again(machines: list[GuestMachine], artefacts: Artefacts) -> None:
    models = [("int8", artefacts.folder / "step-int8.tflite")]
    first, again = (measure_cost(models, machines).variants[0].instructions for _ in range(2))
    assert first is not None
    assert again is not None
    for processor, counts in first.items():
        for part in counts.__struct_fields__:
            value = getattr(counts, part)
            assert abs(getattr(again[processor], part) - value) <= 0.001 * value, part
    assert first["cortex-a72"].dot_products == 0
    assert first["cortex-a76"].dot_products > 0
    assert first["cortex-a76"].runtime < first["cortex-a72"].runtime


def test_integers_of_static_int8_are_equal(machines: list[GuestMachine], artefacts: Artefacts) -> None:
    models = [("int8", artefacts.folder / "step-int8.tflite"), ("float", artefacts.steps["onnx"])]
    result = measure_conformance(models, machines)
    assert result.holds
    errors = {comparison.artefact: comparison.max_error for comparison in result.comparisons}
    assert errors["int8"] < 1e-5  # of the output layer, in float
    assert all(comparison.processor.startswith("cortex") for comparison in result.comparisons)


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An SSH server whose logins land on a Raspberry Pi 5 of its own, and that board's home, empty at first."""
    folder = tmp_path_factory.mktemp("pi")
    copy(build(PI5).with_name("base"), folder / "root")
    describe(PI5, folder / "root")
    with serve(PI5, folder / "server", root=folder / "root") as server:
        yield server
    shutil.rmtree(folder / "root")


class Cut(Progress):
    """Kills the connections to a board once, after the first round of latencies there."""

    def __init__(self, pi: Server) -> None:
        self.pi, self.done = pi, False

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        yield self  # type: ignore[misc]  # its own phase, too

    def update(self, done: float, total: float | None = None, title: str = "") -> None:
        if (title, done) == (f"{self.pi.target}: latency", 1) and not self.done:
            self.done = True
            for session in _sessions(self.pi.config.parent):
                os.kill(session, signal.SIGKILL)


def test_a_pi_is_measured_over_ssh(pi: Server, artefacts: Artefacts) -> None:
    """The same call as for a real board; the connection is cut during the measurement."""
    models = [("torch", artefacts.steps["torch"]), ("int8", artefacts.folder / "step-int8.tflite")]
    progress = Cut(pi)
    targets = [open_target(pi.target, TargetOptions(ssh_config=pi.config)), open_target("local")]
    there, here = bench(Benchmark(models, CLIPS, QUICK), targets, progress=progress)
    assert progress.done
    assert there.complete
    assert there.machine.architecture == "aarch64"
    assert there.machine.cpu == "Raspberry Pi 5 Model B Rev 1.0"
    assert there.machine.emulated == "qemu"
    board, host = (result.variants[1].agreement for result in (there, here))
    assert board is not None
    assert host is not None
    assert (board.steps, board.share) == (host.steps, host.share)
    assert board.max_error == pytest.approx(host.max_error, abs=1e-5)  # integers up to the output layer, in float
    with pytest.raises(IncomparableError, match="under emulation"):
        check(there, there, Limits())


def test_a_full_card_is_refused_before_anything_is_copied(artefacts: Artefacts, tmp_path: Path) -> None:
    build(PI4)
    with serve(PI4, tmp_path, home="32m") as server:
        target = open_target(server.target, TargetOptions(ssh_config=server.config))
        with pytest.raises(EdgeAscError, match=r"3\d MB are free under /home/pi/.cache/edge-asc; expected 5\d\d MB"):
            bench(Benchmark([("x", artefacts.folder / "step-int8.tflite")], CLIPS, QUICK), [target])


def test_a_32_bit_system_is_refused(pi: Server, artefacts: Artefacts, tmp_path: Path) -> None:
    """The output of a real armv7 Python, in place of the board's."""
    armv7 = tmp_path / "armv7"
    armv7.mkdir()
    bootstrap(armv7, RELEASE, "armhf", ("python3-minimal", "libpython3.11-stdlib"))
    probe = (files("edge_asc_bench.remote") / "probe.py").read_text() + "\nmain('/tmp', [])\n"
    python = ["qemu-arm", "-L", str(armv7), str(armv7 / "usr/bin/python3.11"), "-"]
    done = subprocess.run(python, input=probe, capture_output=True, text=True, check=True)
    home = pi.config.parents[1] / "root/home/pi"
    (home / "answer").write_text(done.stdout)
    (home / "python").write_text("#!/bin/sh\ncat > /dev/null\ncat /home/pi/answer\n")
    (home / "python").chmod(0o755)
    target = open_target(pi.target, TargetOptions(ssh_config=pi.config, python="/home/pi/python"))
    with pytest.raises(EdgeAscError, match=r"32-bit Python on armv7l.*install a 64-bit system"):
        bench(Benchmark([("x", artefacts.folder / "step-int8.tflite")], CLIPS, QUICK), [target])


def test_a_phone_is_measured_over_adb(artefacts: Artefacts, tmp_path: Path) -> None:
    """The transport alone: a real adbd before a board, with a Python, which stock phones do not have."""
    left = build_phone(PI5) / "data/local/tmp/edge-asc"
    shutil.rmtree(left, ignore_errors=True)
    command = [sys.executable, "-m", "edge_asc", "arm", "phone", "pi5", "--", sys.executable, "-m", "edge_asc"]
    command += ["bench", str(artefacts.steps["torch"])]
    command += [str(artefacts.folder / "step-int8.tflite"), "--target", f"adb://{SERIAL}", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "x.json")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = read(tmp_path / "x.json")
    assert result.complete
    assert (result.machine.architecture, result.machine.emulated) == ("aarch64", "qemu")
    assert result.variants[1].agreement is not None
    assert result.variants[1].agreement.share > 0.5
    assert list((left / "jobs").iterdir()) == [], "the job is removed"


def _sessions(folder: Path) -> list[int]:
    """Processes that serve a connection of the server in a folder."""
    server = int((folder / "pid").read_text())
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    below = [Path(f"/proc/{child}/task/{child}/children").read_text().split() for child in children]
    return [int(number) for number in [*chain(*below), *children]]
