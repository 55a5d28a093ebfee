"""Output folders and temporary files: claimed, tried, and cleaned of what ended processes have left."""

import json
import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_asc import output, scratch
from edge_asc.errors import OutputError
from edge_asc.files import atomic_path, write_bytes
from edge_asc.output import LOCK, claim_folder
from edge_asc.scratch import make_name, remove_leftovers, scratch_folder

HOLD = """
import sys
from pathlib import Path
from edge_asc.output import claim_folder
from edge_asc.files import atomic_path
from edge_asc.scratch import scratch_folder
folder = Path(sys.argv[1])
with claim_folder(folder), scratch_folder(folder) as inside, atomic_path(folder / "result.json") as path:
    (inside / "part").write_text("half")
    path.write_text("half")
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed `out`, and is writing to it."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_and_told_who_writes(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    before = set((tmp_path / "out").iterdir())
    with pytest.raises(OutputError, match=rf"process {holder.pid} .*writes to it; wait for it"):
        claim_folder(tmp_path / "out").__enter__()
    assert set((tmp_path / "out").iterdir()) == before, "nothing of a running process is removed"


def test_what_a_killed_process_left_is_removed(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    folder = tmp_path / "out"
    assert len(list(folder.iterdir())) == 3
    (folder / ".edge-asc-mine").write_text("another program's")
    with claim_folder(folder):
        assert {path.name for path in folder.iterdir()} == {LOCK, ".edge-asc-mine"}
    assert [path.name for path in folder.iterdir()] == [".edge-asc-mine"]


def test_the_next_write_removes_what_was_left(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    holder.kill()
    holder.wait()
    write_bytes(tmp_path / "out/other.json", b"{}")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {LOCK, "other.json"}


def test_nothing_of_others_is_removed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    machine, _, start, token = make_name().removeprefix(scratch.PREFIX).split("-")
    kept = [
        f"{scratch.PREFIX}{machine}-{os.getpid()}-{start}-{token}",  # of this process
        f"{scratch.PREFIX}{'0' * 8}-{ended.pid}-1-{token}",  # of another machine, just now
        f"{scratch.PREFIX}{machine}-{ended.pid}-1",
        f"edge-asc-{machine}-{ended.pid}-1-{token}",
    ]
    for name in kept:
        (tmp_path / name).write_text("")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/precious").write_text("")
    link = tmp_path / f"{scratch.PREFIX}{machine}-{ended.pid}-1-{token}.link"
    link.symlink_to(tmp_path / "target")
    (tmp_path / f"{scratch.PREFIX}{machine}-{ended.pid}-1-{token}.json").write_text("")
    (tmp_path / f"{scratch.PREFIX}{machine}-{os.getpid()}-1-{token}").mkdir()  # an earlier process of this number
    remove_leftovers(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left >= {*kept, "target", link.name}
    assert (tmp_path / "target/precious").exists()
    if Path("/proc/self/stat").exists():
        assert left == {*kept, "target", link.name}


def test_a_thread_may_claim_a_folder_again_and_another_may_not(tmp_path: Path) -> None:
    refused: list[str] = []

    def claim() -> None:
        try:
            with claim_folder(tmp_path):
                pass
        except OutputError as error:
            refused.append(str(error))

    with claim_folder(tmp_path):
        claim()
        assert (tmp_path / LOCK).exists()
        assert not refused
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join()
    assert len(refused) == 1
    assert "another thread" in refused[0]
    assert not list(tmp_path.iterdir())
    claim()


def test_a_folder_without_results_is_not_left(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), claim_folder(tmp_path / "a/b"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with claim_folder(tmp_path / "a/b"):
        (tmp_path / "a/b/result").write_text("")
    assert (tmp_path / "a/b/result").exists()


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file.*cannot be written \(.*choose a place"):
        claim_folder(tmp_path / "file/out").__enter__()
    with pytest.raises(OutputError, match="MB are free, the results take"):
        claim_folder(tmp_path / "out", needed=1 << 62).__enter__()
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def test_a_full_disk_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(OutputError, match=r"result\.bin: cannot be written .*free some space"):
            write_bytes(path, bytes(2000))
        with pytest.raises(OutputError, match="cannot be written"):
            claim_folder(tmp_path / "out").__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["result.bin"]


def test_an_error_of_the_work_is_not_taken_for_one_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, atomic_path(tmp_path / "result"):
        (tmp_path / "no/input").read_bytes()
    assert not isinstance(raised.value, OutputError)


def test_the_owner_is_written_into_the_lock(tmp_path: Path) -> None:
    with claim_folder(tmp_path):
        owner = json.loads((tmp_path / LOCK).read_bytes())
    assert owner["process"] == os.getpid()
    assert output._describe_owner(tmp_path / LOCK) == "another process writes to it"


def test_a_scratch_folder_is_removed(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        (folder / "part").write_text("")
        assert folder.parent == tmp_path
    assert not list(tmp_path.iterdir())


def test_a_folder_of_a_running_process_stays_where_proc_shows_another_namespace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    for number in ("1", str(2**22 + 1)):  # the second is this process in the namespace that the list belongs to
        (proc / number).mkdir(parents=True)
        (proc / number / "stat").write_text(f"{number} (python) S" + " 0" * 18 + " 77")
    (proc / "self").symlink_to(str(2**22 + 1))
    monkeypatch.setattr(scratch, "PROC", proc)
    with scratch_folder(tmp_path) as mine, scratch_folder(tmp_path) as second:
        remove_leftovers(tmp_path)
        assert mine.is_dir()
        assert second.is_dir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert scratch.is_alive(os.getpid())
    assert not scratch.is_alive(ended.pid)
