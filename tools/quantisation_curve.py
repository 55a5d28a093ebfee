"""Draw what each scheme of quantisation costs and keeps: divergence from float against instructions, with file sizes.

    python tools/quantisation_curve.py DATA --output docs/quantisation.svg [--models fuse,bcresnet]

Schemes are written as TFLite and run on all clips of DATA. The line has plans that `--quantize auto` searches among,
simulated on at most 128 clips. Instructions are those of LiteRT's call, predicted (`edge_asc_export.cost`). A table of
the schemes is printed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from edge_asc.data.recordings import Recordings
from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import stream_logits
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.frontend import Array
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import find_checkpoint
from edge_asc_export.artefact import Draft, write
from edge_asc_export.cost import count_instructions
from edge_asc_export.format import FORMATS
from edge_asc_export.lowering import lower_step
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.search import Search

NAMES = ("int8", "int8-dynamic", "fp16")
BOARDS = {"cortex-a72": "Cortex-A72", "cortex-a76": "Cortex-A76"}
# Plans of a search that are simulated.
PLANS = 6


@dataclass(frozen=True)
class Point:
    """A scheme: its name, divergence from float in nats, agreement, bytes, millions of instructions by processor."""

    name: str
    kl: float
    agreement: float
    size: int
    millions: dict[str, float]


def measure_schemes(checkpoint: Checkpoint, plan: Plan, features: Sequence[Array], folder: Path) -> Iterator[Point]:
    """Yield each scheme's artefact, run on all clips."""
    expected: list[Array] = []
    for name in ("none", *NAMES):
        scheme = SCHEMES[name]
        chosen = plan.with_scheme(scheme) if scheme.static else Plan(scheme)
        (artefact,) = write(Draft(checkpoint, "", chosen), "tflite")
        (folder / artefact.name).write_bytes(artefact.data)
        logits = stream_logits(open_runtime(folder / artefact.name), features)
        expected = expected or logits
        near = measure_closeness(expected, logits, checkpoint.decision)
        assert isinstance(checkpoint.model, CRNN)
        lowered = run_passes(Lowered.of(lower_step(checkpoint.model), chosen), FORMATS.load("tflite").passes)
        millions = {board: count_instructions(lowered, board) / 1e6 for board in BOARDS}
        yield Point(name, near.kl, near.agreement, len(artefact.data), millions)


def draw_model(axes: Any, points: Sequence[Point], line: Sequence[tuple[float, float]]) -> None:
    """Draw the schemes of one model, and the line of plans between int8 and float."""
    axes.plot(*zip(*line, strict=True), "-", color="#888888", lw=1, label="plans of auto")
    for point in points:
        if point.name in NAMES:
            at = (point.millions["cortex-a76"], max(point.kl, 1e-7))
            axes.plot(*at, "o", ms=5)
            axes.annotate(
                f"{point.name}, {point.size / 1000:.0f} KB", at, (5, 4), textcoords="offset points", fontsize=7
            )
    axes.set_yscale("log")
    axes.margins(0.28, 0.1)
    axes.set_xlabel("million instructions of a step, Cortex-A76")


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--models", default="fuse,bcresnet,resnet")
    arguments = parser.parse_args()
    models, recordings = arguments.models.split(","), Recordings.open(arguments.data)
    figure = Figure(figsize=(3.6 * len(models), 3.2), layout="constrained")
    print("| model | scheme | KB | agreement | KL, nats | " + " | ".join(BOARDS.values()) + " |")
    print("|---|---|---|---|---|---|---|")
    for i, name in enumerate(models):
        checkpoint = Checkpoint.load(find_checkpoint(name))
        plan = Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES["int8"])
        features = recordings.features(checkpoint.front_end)
        with tempfile.TemporaryDirectory() as folder:
            points = list(measure_schemes(checkpoint, plan, features, Path(folder)))
        for point in points:
            costs = (f"{point.millions[board]:.2f}" for board in BOARDS)
            cells = (name, point.name, f"{point.size / 1000:.0f}", f"{point.agreement:.4f}", f"{point.kl:.2g}", *costs)
            print(f"| {' | '.join(cells)} |")
        search = Search(checkpoint, plan, features, "cortex-a76")
        picked = search.proposals[:: max(1, len(search.proposals) // PLANS)]
        line = [(each.instructions / 1e6, search.simulate(each.scheme).kl) for each in picked]
        axes = figure.add_subplot(1, len(models), i + 1, title=name)
        draw_model(axes, points, line)
        if i == 0:
            axes.set_ylabel("divergence from float, nats")
            axes.legend(fontsize=7, frameon=False)
    with mpl.rc_context({"svg.fonttype": "none"}):
        figure.savefig(arguments.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
