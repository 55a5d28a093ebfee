"""What can be told of boards without one."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge_asc.errors import EdgeAscError
from edge_asc_arm import emulator, login
from edge_asc_arm.board import BOARDS, PI4, PI5, describe, requirements
from edge_asc_arm.conformance import FLOAT, Comparison, tolerance
from edge_asc_arm.cost import _between, _parts
from edge_asc_arm.emulator import Machine, prepared, run
from edge_asc_arm.guest import BEGIN, DECIDED, ENTERED, HEARD, LEFT, MARKS, NOTHING

COMPARISON = Comparison("a", "litert 2.3", "int8", "cortex-a72", 40, True, 0.0, 1.0, 0.0)


def marks(index=3, rounds=5):
    """Counts as the plugin writes them: 100 for a mark, 1000 for the front end, 5000 for the model, 4000 inside."""
    counter, found = 7, []

    def step(kind, more, dots=0):
        nonlocal counter
        counter += more
        found.append((MARKS * index + kind, counter, dots, 0))

    for _ in range(rounds):
        step(BEGIN, 12345)
        step(HEARD, 1000 + 100)
        step(DECIDED, 5000 + 100)
    for _ in range(rounds):
        step(ENTERED, 500)
        step(LEFT, 4000 + 100)
    for _ in range(rounds):
        step(NOTHING, 100)
    return found


def test_counts_are_those_between_marks_without_the_marks():
    parts = _parts(marks())
    assert (parts["front_end"], parts["model"], parts["total"], parts["runtime"]) == (1000, 5000, 6000, 4000)
    assert parts["dot_products"] == 0


def test_a_mark_without_its_other_half_is_left_out():
    assert _between([(BEGIN, 1), (BEGIN, 5), (HEARD, 9), (HEARD, 20)], BEGIN, HEARD) == [(4,)]


def test_what_conforms():
    assert COMPARISON.holds
    assert not replace(COMPARISON, max_error=1e-9).holds
    assert not replace(COMPARISON, tolerance=1.0, agreement=0.5).holds


def test_tolerances_are_by_runtime_and_scheme(artefacts):
    from edge_asc.runtimes import open_runtime

    plain = open_runtime(artefacts.steps["tflite"])
    int8 = open_runtime(artefacts.folder / "step-int8.tflite")
    assert tolerance(plain.engine, plain.contract) == FLOAT
    assert tolerance(int8.engine, int8.contract) == 0.0


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_board_tells_what_its_kernel_would(board, tmp_path):
    describe(board, tmp_path)
    text = (tmp_path / "proc/cpuinfo").read_text()
    assert text.count("processor") == board.cores
    assert f"CPU part\t: {board.part:#x}" in text
    assert ("asimddp" in text) == board.dot_products
    register = (tmp_path / "sys/devices/system/cpu/cpu3/regs/identification/midr_el1").read_text()
    assert int(register, 16) >> 4 & 0xFFF == board.part
    assert (tmp_path / "proc/device-tree/model").read_text() == board.model + "\0"


def test_the_two_boards_differ_in_dot_products():
    assert (PI4.dot_products, PI5.dot_products) == (False, True)


def test_runtimes_are_pinned():
    pinned = [line.partition("==")[0] for line in requirements() if "==" in line]
    assert {"onnxruntime", "ai-edge-litert", "numpy", "scipy"} <= set(pinned)


def test_the_guest_program_runs_here(artefacts, tmp_path):
    """Without a board: the same program, natively."""
    paths = [artefacts.folder / "step-int8.tflite"]
    with prepared(paths, artefacts.causal.front_end) as (inputs, features):
        report = run(Machine(), inputs, tmp_path / "out", "hear", paths)
        assert report["engines"][0].startswith("litert")
        assert features.shape[1] == 256
        with pytest.raises(EdgeAscError, match="exit code 1: "):
            run(Machine(), inputs, tmp_path / "bad", "hear", [*paths, Path("missing.tflite")])
    assert (tmp_path / "out/logits-0.npy").exists()


def test_missing_tools_are_named(monkeypatch, artefacts, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(login, "_tool", lambda name: None)
    assert any("apt install qemu-user-static" in text for text in login.missing())
    with pytest.raises(EdgeAscError, match="no board can be entered"):
        login.enter(PI4, tmp_path, "true")
    with (
        prepared([], artefacts.causal.front_end) as (inputs, _),
        pytest.raises(EdgeAscError, match="sudo apt install qemu-user"),
    ):
        run(Machine(PI4, tmp_path), inputs, tmp_path / "out", "hear", [])


def test_the_plugin_compiles(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path))
    if emulator.shutil.which("gcc") is None:
        pytest.skip("no gcc")
    assert emulator._plugin().stat().st_size > 0


def test_commands_say_what_they_cannot_do(artefacts):
    command = [sys.executable, "-m", "edge_asc_arm", "cost", str(artefacts.steps["torch"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "a checkpoint does not run on a board; export it" in done.stderr
    assert json.dumps(done.stdout) == '""'
