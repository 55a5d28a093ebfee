"""The parts of boards that need no emulator."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from artefacts import Artefacts
from edge_asc.cli import cli
from edge_asc.errors import EdgeAscError
from edge_asc_arm import conformance, emulator, login, server
from edge_asc_arm.board import BOARDS, PI4, PI5, Board, describe, list_requirements
from edge_asc_arm.commands import arm
from edge_asc_arm.conformance import FLOAT, Comparison, Conformance, measure_conformance, tolerance_of
from edge_asc_arm.emulator import GuestMachine, prepare_inputs, run_guest
from edge_asc_arm.guest import (
    BEGIN,
    CALL,
    COMPUTED_FEATURES,
    DECIDED,
    FRONT_END_DONE,
    LOGITS,
    MARKS,
    NOTHING,
    RETURNED,
)
from edge_asc_arm.marks import _differences, count_parts, count_program_parts

Elsewhere = tuple[dict[str, Any], Callable[[], Conformance]]
COMPARISON = Comparison("a", "litert 2.3", "int8", "cortex-a72", 40, True, 0.0, 1.0, 0.0)


def marks(index: int = 3, rounds: int = 5) -> list[tuple[int, int, int, int]]:
    """Counts as the plugin writes them: 100 for a mark, 1000 for the front end, 5000 for the model, 4000 inside."""
    counter, lines = 7, []

    def step(kind: int, more: int, dots: int = 0) -> None:
        nonlocal counter
        counter += more
        lines.append((MARKS * index + kind, counter, dots, 0))

    for _ in range(rounds):
        step(BEGIN, 12345)
        step(FRONT_END_DONE, 1000 + 100)
        step(DECIDED, 5000 + 100)
    for _ in range(rounds):
        step(CALL, 500)
        step(RETURNED, 4000 + 100)
    for _ in range(rounds):
        step(NOTHING, 100)
    return lines


def test_counts_are_those_between_marks_without_the_marks() -> None:
    parts = count_parts(marks())
    assert (parts.front_end, parts.model, parts.total, parts.runtime) == (1000, 5000, 6000, 4000)
    assert parts.dot_products == 0


def test_a_program_computes_its_network_again_by_itself() -> None:
    lines = [(BEGIN, 10, 0, 0), (DECIDED, 6011, 7, 0), (CALL, 6100, 7, 0), (RETURNED, 10101, 7, 0)]
    parts = count_program_parts([*lines, (NOTHING, 20000, 7, 0), (NOTHING, 20001, 7, 0)])
    assert (parts.front_end, parts.model, parts.total, parts.runtime) == (2000, 4000, 6000, 4000)
    assert parts.dot_products == 7


def test_a_mark_without_its_other_half_is_left_out() -> None:
    lines = [(BEGIN, 1), (BEGIN, 5), (FRONT_END_DONE, 9), (FRONT_END_DONE, 20)]
    assert _differences(lines, BEGIN, FRONT_END_DONE) == [(4,)]


def test_a_comparison_holds_within_its_tolerance() -> None:
    assert COMPARISON.holds
    assert not replace(COMPARISON, max_error=1e-9).holds
    assert not replace(COMPARISON, tolerance=1.0, agreement=0.5).holds


def test_tolerances_are_by_runtime_and_scheme(artefacts: Artefacts) -> None:
    from edge_asc.engine import open_runtime

    plain = open_runtime(artefacts.steps["tflite"])
    int8 = open_runtime(artefacts.folder / "step-int8.tflite")
    scheme = {"name": "int8-mixed", "weights": "int8", "activations": "int8", "real": ["logits", "stem_0"]}
    provenance = replace(int8.contract.provenance, scheme=scheme)
    mixed = replace(int8.contract, scheme="int8-mixed", provenance=provenance)
    assert tolerance_of(plain.engine, plain.contract) == FLOAT
    assert tolerance_of(int8.engine, int8.contract) == tolerance_of("litert 2.3.0", mixed) == 1e-5
    assert tolerance_of("onnxruntime 1.32.0", mixed) == 0.1


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_board_is_described_as_by_its_kernel(board: Board, tmp_path: Path) -> None:
    describe(board, tmp_path)
    text = (tmp_path / "proc/cpuinfo").read_text()
    assert text.count("processor") == board.cores
    assert f"CPU part\t: {board.part:#x}" in text
    assert ("asimddp" in text) == board.has_dot_products
    register = (tmp_path / "sys/devices/system/cpu/cpu3/regs/identification/midr_el1").read_text()
    assert int(register, 16) >> 4 & 0xFFF == board.part
    assert (tmp_path / "proc/device-tree/model").read_text() == board.model + "\0"


def test_the_two_boards_differ_in_dot_products() -> None:
    assert (PI4.has_dot_products, PI5.has_dot_products) == (False, True)


def test_runtimes_are_pinned() -> None:
    pinned = [line.partition("==")[0] for line in list_requirements() if "==" in line]
    assert {"onnxruntime", "ai-edge-litert", "numpy"} <= set(pinned)


def test_the_guest_program_runs_here(artefacts: Artefacts, tmp_path: Path) -> None:
    """Without a board: the same program, natively."""
    paths = [artefacts.folder / "step-int8.tflite"]
    with prepare_inputs(paths, artefacts.causal.front_end) as (inputs, features):
        report = run_guest(GuestMachine(), inputs, tmp_path / "out", "infer", paths)
        assert report.engines[0].startswith("litert")
        assert features.shape[1] == 256
        with pytest.raises(EdgeAscError, match=r"here: the program on it failed: .* exit code 1: "):
            run_guest(GuestMachine(), inputs, tmp_path / "bad", "infer", [*paths, Path("missing.tflite")])
    assert (tmp_path / "out" / LOGITS.format(0)).exists()


@pytest.fixture
def elsewhere(artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """A board that is this machine, whose outputs a test may change."""
    changes: dict[str, Callable[[Any], Any]] = {}

    def run_changed(machine: Any, inputs: Any, output: Any, action: Any, paths: Any) -> Any:
        report = run_guest(GuestMachine(), inputs, output, action, paths)
        if machine.board is not None:
            for name, change in changes.items():
                if name == "report":
                    report = change(report)
                else:
                    np.save(output / name, change(np.load(output / name)))
        return report

    monkeypatch.setattr(conformance, "run_guest", run_changed)
    names = ("step-int8.tflite", "step-samples.tflite", "step-int16.tflite")
    models = [(name, artefacts.folder / name) for name in names]
    return changes, lambda: measure_conformance(models, [GuestMachine(PI4, Path())])


def test_equal_outputs_conform(elsewhere: Elsewhere) -> None:
    """Of artefacts that take features, samples and integers of 16 bits."""
    result = elsewhere[1]()
    assert result.holds
    assert [comparison.equal for comparison in result.comparisons] == [True] * 3
    assert len({comparison.steps for comparison in result.comparisons}) == 1
    document: Any = result.to_json()
    assert document["holds"]
    assert document["comparisons"][0]["holds"]


@pytest.mark.parametrize("name", [LOGITS.format(0), COMPUTED_FEATURES])
def test_other_outputs_do_not_conform(elsewhere: Elsewhere, name: str) -> None:
    """Errors of a logit and of a feature, above both tolerances and then within the front end's."""
    changes, measure = elsewhere
    changes[name] = lambda x: x + np.float32(0.01) * (np.arange(len(x)) == 3)[:, None]
    assert not measure().holds
    changes[name] = lambda x: x + np.float32(2e-5) * (np.arange(len(x)) == 3)[:, None]
    assert measure().holds == (name == COMPUTED_FEATURES)


def test_other_versions_of_a_runtime_are_refused(elsewhere: Elsewhere) -> None:
    changes, measure = elsewhere
    changes["report"] = lambda report: replace(report, engines=("litert 0.1",) * 3)
    with pytest.raises(EdgeAscError, match=r"this machine runs litert.* and cortex-a72 runs litert 0\.1; .*pins\.txt"):
        measure()


def test_an_error_above_the_tolerance_fails_the_command(
    elsewhere: Elsewhere, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changes, _ = elsewhere
    changes[LOGITS.format(0)] = lambda x: x + 1
    monkeypatch.setattr(arm, "build", lambda board: tmp_path)
    arguments = ["arm", "conformance", str(artefacts.folder / "step-int8.tflite"), "--board", "pi4", "--board", "pi4"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 1, done.output
    assert "above 1e-05" in done.output


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("step.onnx", "other/step.onnx"), "two artefacts have one name"),
        (("windows.tflite",), "a windowed model; expected causal models"),
    ],
)
def test_artefacts_of_one_name_and_windowed_ones_are_refused(
    artefacts: Artefacts, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(artefacts.folder / "step.onnx", tmp_path / "other/step.onnx")
    paths = [str((tmp_path if "/" in name else artefacts.folder) / name) for name in names]
    done = CliRunner().invoke(cli, ["arm", "cost", *paths])
    assert isinstance(done.exception, EdgeAscError)
    assert message in str(done.exception)


def test_a_port_in_use_is_refused(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(EdgeAscError, match="cannot be used"):
            server._free_port(taken.getsockname()[1])


def test_a_newer_emulator_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / emulator.QEMU).write_text("#!/bin/sh\necho qemu-aarch64 version 10.0.2\n")
    (tmp_path / emulator.QEMU).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(EdgeAscError, match=r"is version 10\.0.*expected 4\.2 to 8\.1"):
        emulator.compile_plugin()


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, artefacts: Artefacts, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(login, "_find_tool", lambda name: None)
    assert any("apt install qemu-user-static" in text for text in login.list_missing())
    with pytest.raises(EdgeAscError, match="no board can be entered"):
        login.enter(PI4, tmp_path, "true")
    with (
        prepare_inputs([], artefacts.causal.front_end) as (inputs, _),
        pytest.raises(EdgeAscError, match="sudo apt install qemu-user"),
    ):
        run_guest(GuestMachine(PI4, tmp_path), inputs, tmp_path / "out", "infer", [])


def test_the_plugin_compiles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGE_ASC_CACHE", str(tmp_path))
    if shutil.which("gcc") is None or shutil.which(emulator.QEMU) is None:
        pytest.skip("no gcc, or no qemu-aarch64: apt-get install gcc qemu-user")
    assert emulator.compile_plugin().stat().st_size > 0


def test_a_checkpoint_is_refused(artefacts: Artefacts) -> None:
    command = [sys.executable, "-m", "edge_asc", "arm", "cost", str(artefacts.steps["torch"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "checkpoint is a checkpoint, which does not run on a board; export it" in done.stderr
    assert json.dumps(done.stdout) == '""'
