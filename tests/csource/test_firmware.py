"""The example of firmware builds for a Cortex-M7, and prints in an emulator what Python finds."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_asc import StreamingClassifier, audio
from edge_asc.detection.detector import EventDetector, make_event_belief
from edge_asc.listening.listener import measure_level

FIRMWARE = Path(__file__).parents[2] / "examples/firmware"
SOUND = FIRMWARE.parents[1] / "edge_asc/demo/crickets/crickets.flac"
# Without the settings of a `make` that runs the tests.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
TOOLS = ("arm-none-eabi-gcc", "qemu-system-arm", "make")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export of the pretrained model to C."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")
    folder = tmp_path_factory.mktemp("model")
    program = "from edge_asc.cli import main; main()"
    options = ("export", "fuse", "--quantize", "int8", "--format", "c", "--output", str(folder))
    subprocess.run([sys.executable, "-c", program, *options], check=True, capture_output=True)
    return folder


def expected_lines(artefact: Path) -> list[str]:
    """Return the lines of events and of the decision, as Python computes them."""
    classifier = StreamingClassifier.from_artefact(f"c:{artefact}")
    contract = classifier.contract
    belief = make_event_belief(contract, contract.event_rules)
    detector = EventDetector(contract.labels, contract.event_rules, contract.step_seconds)
    samples, changes = audio.read(SOUND, 16000), []
    samples = np.rint(samples * 32768).clip(-32768, 32767).astype(np.float32) / np.float32(32768)
    for begin in range(0, len(samples) - 4095, 4096):
        step = samples[begin : begin + 4096]
        (decision,) = classifier.push(step)
        changes += detector.update(decision.time, belief.update(decision.logits), measure_level(step))
    lines = []
    for event in changes + detector.finish():
        time, what = (event.start, "start") if event.end is None else (event.end, "end")
        lines.append(f"{time:.3f} s: {what} of {event.label}, {100 * event.peak:.0f} %")
    return [*lines, f"decision: {decision.answer}, {100 * decision.confidence:.0f} %"]


def test_firmware_prints_what_python_finds(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, folder, ignore=shutil.ignore_patterns("build"))
    settings = (f"MODEL={model}", f"SOUND={SOUND}", f"PYTHON={sys.executable}")
    built = subprocess.run(["make", "-C", str(folder), *settings], capture_output=True, text=True, env=ENVIRONMENT)
    assert built.returncode == 0, built.stderr
    assert "warning" not in built.stderr
    ran = subprocess.run(
        ["make", "-s", "-C", str(folder), *settings, "run"],
        capture_output=True,
        text=True,
        timeout=300,
        env=ENVIRONMENT,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    *lines, memory, longest = ran.stdout.splitlines()
    assert lines == expected_lines(model / "fuse-int8.c")
    assert re.fullmatch(r"memory of a stream: \d{5} bytes", memory)
    assert re.fullmatch(r"longest push: \d+ ticks", longest)


def test_the_readme_is_short_and_shows_the_output() -> None:
    text = (FIRMWARE / "README.md").read_text()
    assert len(text.splitlines()) < 60
    for printed in re.findall(r'print\("([a-z :]+: ?)', (FIRMWARE / "main.c").read_text()):
        assert printed.strip() in text
