"""Remote targets, against a real OpenSSH server on loopback."""

import asyncio
import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from artefacts import Artefacts, clips
from edge_asc.errors import EdgeAscError
from edge_asc_bench import measurement, runner
from edge_asc_bench.events import Failed
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import Benchmark
from edge_asc_bench.remote import target as remote
from edge_asc_bench.remote.probe import MARK
from edge_asc_bench.remote.session import Session
from edge_asc_bench.result import Result, read
from edge_asc_bench.target import Target, open_app, open_target
from edge_asc_bench.targets.local import LocalTarget
from edge_asc_bench.targets.ssh import _SshConnection
from recorder import Recorder
from sshserver import Server, make_server

CLIPS = Clips("noise", clips(3, 40), (), (), "digest")
QUICK = Settings((1,), rounds=1, warm_up=1, lead=1, burst=3)
LONG = Settings((1,), rounds=40, warm_up=1, lead=1, burst=200)
DEVICE = {
    "python": [3, 11, 2],
    "machine": "aarch64",
    "bits": 64,
    "system": "Linux",
    "libc": ["glibc", "2.36"],
    "folder": "/nowhere",
    "writable": True,
    "free_bytes": 10**10,
    "has_venv": True,
    "modules": [],
}


def bench(
    models: list[tuple[str, Path]], heard: Clips, settings: Settings, targets: Sequence[Target], **options: Any
) -> list[Result]:
    return measurement.bench(Benchmark(models, heard, settings), targets, **options)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server, not yet started, whose environment for the runtime lasts for all tests."""
    return make_server(tmp_path_factory.mktemp("ssh"))


@pytest.fixture
def server(home: Server) -> Iterator[Server]:
    home.start()
    yield home
    home.stop()


@pytest.fixture
def models(artefacts: Artefacts) -> list[tuple[str, Path]]:
    return [("torch", artefacts.steps["torch"]), ("int8", artefacts.folder / "step-int8.tflite")]


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "RETRIES", (0.1, 0.2))


def jobs(server: Server) -> list[Path]:
    return list((server.kept / "jobs").iterdir())


def test_a_host_measures_what_this_machine_measures(server: Server, models: list[tuple[str, Path]]) -> None:
    seen = Recorder()
    there, here = bench(models, CLIPS, QUICK, [server.target(), LocalTarget()], progress=seen)
    assert there.complete
    assert (there.made.target, here.made.target) == (server.name, "local")
    torch, int8 = there.variants
    assert torch.latency == {}, "PyTorch was not asked for there"
    front_end = int8.latency["step"].front_end
    assert front_end is not None
    assert front_end.p50 > 0
    assert int8.memory is not None
    assert int8.memory.peak is not None
    assert int8.memory.imported is not None
    assert int8.memory.peak > int8.memory.imported
    assert int8.agreement == here.variants[1].agreement
    assert there.machine.packages["ai-edge-litert"] == here.machine.packages["ai-edge-litert"]
    assert "onnxruntime" not in there.machine.packages, "one engine, in an environment of its own"
    assert jobs(server) == [], "the job is removed"
    assert f"{server.name}: making an environment" in seen.titles
    seen = Recorder()
    bench(models, CLIPS, QUICK, [server.target(clean=True)], progress=seen)
    assert "making an environment" not in seen.titles, "it is kept for the next time"
    assert list((server.kept / "environments").iterdir()) == [], "until --clean removes it"


def test_packages_are_copied_to_a_host_without_a_network(home: Server, models: list[tuple[str, Path]]) -> None:
    home.start("PIP_NO_INDEX=1")
    seen = Recorder()
    try:
        (result,) = bench(models, CLIPS, QUICK, [home.target()], progress=seen)
    finally:
        home.stop()
    assert result.complete
    assert "copying packages" in seen.titles


def test_a_run_resumes_when_the_connection_breaks(
    server: Server, models: list[tuple[str, Path]], short_waits: None
) -> None:
    cut: list[str] = []

    def cut_once(title: str, done: float, total: float | None) -> None:
        if (title, done) == ("latency", 3) and not cut:
            cut.append(title)
            server.cut()

    seen = Recorder(cut_once)
    (result,) = bench(models, CLIPS, LONG, [server.target()], progress=seen)
    assert cut
    assert "connection lost, trying again" in seen.titles
    assert result.complete
    count = result.variants[1].latency["step"].total.count
    assert count == LONG.rounds * LONG.burst, "nothing is lost or counted twice"
    assert seen.titles.count("making an environment") <= 1


def test_a_lost_host_leaves_an_incomplete_result_and_the_same_command_resumes(
    home: Server, models: list[tuple[str, Path]], short_waits: None, tmp_path: Path
) -> None:
    home.start()

    def stop(title: str, done: float, total: float | None) -> None:
        if (title, done) == ("latency", 3):
            home.stop()

    (cut,) = bench(models, CLIPS, LONG, [home.target()], progress=Recorder(stop))
    assert not cut.complete
    assert cut.incomplete is not None
    assert "the same command resumes it" in cut.incomplete
    assert 0 < cut.variants[1].latency["step"].total.count < LONG.rounds * LONG.burst
    (tmp_path / "cut.json").write_text(json.dumps(cut.to_json()))
    assert read(tmp_path / "cut.json").complete is False
    home.start()
    try:
        seen = Recorder()
        (whole,) = bench(models, CLIPS, LONG, [home.target()], progress=seen)
    finally:
        home.stop()
    assert whole.complete
    assert "copying" not in seen.titles
    assert jobs(home) == []


def test_a_host_that_does_not_respond_spoils_no_other(server: Server, models: list[tuple[str, Path]]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = open_target(f"ssh://127.0.0.1:{free.getsockname()[1]}")
    finished = []
    with pytest.raises(EdgeAscError, match="no connection"):
        bench(models, CLIPS, QUICK, [nobody, LocalTarget()], finished=lambda *entry: finished.append(entry))
    ((name, result),) = finished
    assert name == "local"
    assert result.complete


@pytest.mark.parametrize("method", ["get", "remove"])
def test_a_connection_that_breaks_after_the_run_costs_nothing(
    server: Server, models: list[tuple[str, Path]], short_waits: None, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """While results are copied, or while the job is removed."""
    owner = {"get": _SshConnection, "remove": Session}[method]
    real = getattr(owner, method)
    broken: list[str] = []

    async def once(self: Any, *arguments: Any) -> None:
        if not broken:
            broken.append(method)
            server.cut()
        await real(self, *arguments)

    monkeypatch.setattr(owner, method, once)
    seen = Recorder()
    (result,) = bench(models, CLIPS, QUICK, [server.target()], progress=seen)
    assert broken
    assert result.complete
    assert result.variants[1].latency["step"].total.count == QUICK.rounds * QUICK.burst
    assert seen.updates.count(("latency", 0, QUICK.rounds)) == 1, "it is not measured twice"
    assert jobs(server) == []


def test_a_run_that_died_there_is_made_again_and_nothing_of_it_counts(
    server: Server, models: list[tuple[str, Path]], short_waits: None
) -> None:
    """A board that loses power: the runner is gone, and its events stay behind."""
    killed: list[int] = []

    def kill(title: str, done: float, total: float | None) -> None:
        if (title, done) == ("latency", 5) and not killed:
            (lock,) = server.kept.glob("jobs/*/runner.lock")
            killed.append(int(lock.read_text()))
            server.cut()
            os.killpg(killed[0], signal.SIGKILL)

    (result,) = bench(models, CLIPS, LONG, [server.target()], progress=Recorder(kill))
    assert killed
    assert result.complete
    assert result.variants[1].latency["step"].total.count == LONG.rounds * LONG.burst
    assert [sample.phase for sample in result.conditions].count("before") == 1


def test_a_number_left_in_the_lock_is_not_taken_for_the_runner(tmp_path: Path) -> None:
    (tmp_path / "runner.lock").write_text(str(os.getpid()))
    assert not runner.is_running(tmp_path)
    runner._stop(tmp_path)  # or this test would end here
    (event,) = runner.follow(tmp_path, lambda: runner.is_running(tmp_path))
    assert isinstance(event, Failed)
    assert "the runner ended" in event.message


def test_what_a_login_shell_prints_is_not_taken_for_a_reply(
    server: Server, models: list[tuple[str, Path]], tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho Welcome\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    (result,) = bench(models, CLIPS, QUICK, [server.target(python=str(python))])
    assert result.complete


def test_an_invalid_ssh_configuration_is_an_error(
    server: Server, models: list[tuple[str, Path]], tmp_path: Path
) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n Port abc\n")
    with pytest.raises(EdgeAscError, match="SSH configuration file is invalid"):
        bench(models, CLIPS, QUICK, [server.target(ssh_config=config)])


def test_an_unknown_host_key_is_refused(server: Server, models: list[tuple[str, Path]], tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{server.port} {(server.folder / 'other.pub').read_text()}")
    config = tmp_path / "config"
    config.write_text(f"Host *\n IdentityFile {server.folder}/id\n UserKnownHostsFile {known}\n")
    with pytest.raises(EdgeAscError, match=r"host key is not the known one.*connect to it once: ssh -p"):
        bench(models, CLIPS, QUICK, [server.target(ssh_config=config)])


def test_a_refused_login_says_what_to_do(server: Server, models: list[tuple[str, Path]], tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(f"Host *\n IdentityFile {server.folder}/other\n UserKnownHostsFile {server.folder}/known\n")
    with pytest.raises(EdgeAscError, match=r"refused the login.*ssh-copy-id -p"):
        bench(models, CLIPS, QUICK, [server.target(ssh_config=config)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": "armv7l", "bits": 32}, "32-bit Python on armv7l.*install a 64-bit system"),
        ({"machine": "riscv64"}, "64-bit Python on riscv64"),
        ({"python": [3, 9, 2]}, r"Python 3\.9\.2; expected 3\.11 or later"),
        ({"free_bytes": 10**8}, "100 MB are free under /nowhere; expected 5.. MB: make room"),
        ({"has_venv": False}, "sudo apt install python3-venv"),
        ({"writable": False}, "/nowhere cannot be written"),
    ],
)
def test_a_host_that_is_not_fit_is_refused(
    server: Server,
    models: list[tuple[str, Path]],
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{MARK}{json.dumps({**DEVICE, **change})}'\n")
    python.chmod(0o755)
    with pytest.raises(EdgeAscError, match=message):
        bench(models, CLIPS, QUICK, [server.target(python=str(python))])


def test_a_host_without_python_is_refused(server: Server, models: list[tuple[str, Path]]) -> None:
    with pytest.raises(EdgeAscError, match=r"no-such-python does not run there .*No such file.*--python"):
        bench(models, CLIPS, QUICK, [server.target(python="no-such-python")])


def test_a_model_that_does_not_open_there_is_an_error_and_leaves_nothing(
    server: Server, tmp_path: Path, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.onnx"
    shutil.copy(artefacts.steps["onnx"], path)

    async def damaged(self: Any, source: Path, target: Any) -> None:
        await put(self, source, target)
        if target.endswith("x.onnx"):
            (tmp_path / "empty").write_bytes(b"")
            await put(self, tmp_path / "empty", target)

    put = _SshConnection.put
    monkeypatch.setattr(_SshConnection, "put", damaged)
    with pytest.raises(EdgeAscError, match=r"x\.onnx"):
        bench([("x", path)], CLIPS, QUICK, [server.target()])
    assert jobs(server) == []


def test_an_interrupt_stops_the_host(server: Server, artefacts: Artefacts, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from edge_asc.cli import main; main()"]
    command += ["bench", str(artefacts.folder / "step-int8.tflite")]
    command += ["--target", server.name, "--python", sys.executable, "--ssh-config", str(server.folder / "config")]
    command += ["--duration", "120", "--lengths", "1", "--output", str(tmp_path / "x.json")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    number = 0
    for _ in range(600):
        locks = [path.read_text() for path in server.kept.glob("jobs/*/runner.lock")]
        if list(server.kept.glob("jobs/*/events.jsonl")) and any(locks):
            number = int(locks[0])
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=180)
    assert process.returncode == 130, said
    assert jobs(server) == []
    for _ in range(100):
        if not Path(f"/proc/{number}").exists() or "Z" in Path(f"/proc/{number}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        pytest.fail("the runner goes on")
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ftp://x", r"no such target; expected adb://\[serial\], app://\[serial\], local or ssh://\[user@\]host"),
        ("ssh://", "expected ssh://"),
        ("ssh://a@b/home", "without a password or a path"),
        ("ssh://a:secret@b", "without a password or a path"),
        ("ssh://b:port", "expected ssh://"),
        ("app://", "an application, which has its own models"),
    ],
)
def test_bad_urls_of_targets(name: str, message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        open_target(name)


def test_a_machine_is_not_an_application() -> None:
    with pytest.raises(EdgeAscError, match="not an application"):
        open_app("local")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_phone_that_is_not_there() -> None:
    """Asks a real adb server, which lists no such device."""
    with pytest.raises(EdgeAscError, match=r"adb lists .*adb://SERIAL|adb server cannot be reached"):
        asyncio.run(_connected(open_target("adb://no-such-phone")))
    gc.collect()  # adbutils leaves a socket to it


async def _connected(target: Any) -> None:
    async with target.device.connect():
        pass
