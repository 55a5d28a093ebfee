"""A measurement is a library call: from a script without a main guard, from stdin, and inside a running event loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from artefacts import Artefacts

CALL = """
import sys
from pathlib import Path
import numpy as np
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.targets.local import LocalTarget

def measure():
    clips = [np.random.default_rng(i).normal(-7, 2.5, (24, 256)).astype(np.float32) for i in range(2)]
    settings = Settings((1,), rounds=1, warm_up=1, lead=1, burst=2)
    benchmark = Benchmark([("int8", Path({model!r}))], Clips("noise", clips, (), (), "digest"), settings)
    (result,) = bench(benchmark, [LocalTarget()])
    print(result.complete, result.variants[0].name)
"""
PLAIN = CALL + "\nmeasure()\n"
# As a cell of a notebook runs.
LOOP = CALL + "\nasync def cell():\n    measure()\n\nimport asyncio\nasyncio.run(cell())\n"


@pytest.mark.parametrize(("source", "form"), [(PLAIN, "script"), (PLAIN, "stdin"), (LOOP, "stdin")])
def test_a_measurement_needs_no_guard_no_file_and_no_free_event_loop(
    source: str, form: str, artefacts: Artefacts, tmp_path: Path
) -> None:
    source = source.format(model=str(artefacts.folder / "step-int8.tflite"))
    (tmp_path / "main.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-W", "error", "main.py" if form == "script" else "-"],
        cwd=tmp_path,
        input=source,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "True int8\n", "once: no child runs the user's program"
