"""What a training has come to, for a terminal: accuracy, errors, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_asc.backbone import is_reference
from edge_asc.cli.console import echo, out, print_json, quote
from edge_asc.cli.errors import describe_page, print_confusions, print_suspicious
from edge_asc.data.dataset import OTHER
from edge_asc.training.listener import Listener

if TYPE_CHECKING:
    from edge_asc.evaluation.document import Evaluation
    from edge_asc.evaluation.predictions import Predictions
    from edge_asc.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Trained:
    """The result of a training.

    Attributes:
        checkpoint: the model.
        output: its folder.
        is_own: whether the data are not in TAU layout.
        predictions: the decisions on its clips, where it was cross-validated.
    """

    checkpoint: Checkpoint
    output: Path
    is_own: bool = False
    predictions: tuple[Predictions, ...] = ()


class Judge(Listener):
    """Keeps the decisions of a cross-validation."""

    def __init__(self) -> None:
        self.predictions: tuple[Predictions, ...] = ()

    def evaluated(self, evaluation: Evaluation) -> None:
        """Keep them."""
        self.predictions = evaluation.predictions


def print_trained(trained: Trained, *, as_json: bool) -> None:
    """Print the result of a training."""
    checkpoint, output = trained.checkpoint, trained.output
    evaluation = checkpoint.evaluation
    if as_json:
        print_json({"output": str(output), "training": checkpoint.training, "evaluation": evaluation})
        return
    _print_accuracy(checkpoint)
    for level, result in evaluation.get("levels_db", {}).items():
        shares = ", ".join(f"{row['seconds']} s {100 * row['accuracy']:.1f} %" for row in result["lengths"])
        out.print(f"accuracy at {level} dB: {shares}")
    if scores := evaluation.get("other"):
        out.print(f"unknown against known sounds: AUROC {scores['auroc']:.3f}")
    if scores := evaluation.get("calibration"):
        out.print(
            f"calibration error: {scores['ece_before']:.3f}; {scores['ece_after']:.3f} with the temperature "
            f"{checkpoint.temperature:.2f}"
        )
    if rule := checkpoint.unknown:
        rate = evaluation["unknown"]["false_alarm_rate"]
        out.print(f"unknown from {rule.label} {rule.threshold:.1%} on: {rate:.1%} of held-out known clips")
    for predictions in trained.predictions:
        print_suspicious(predictions)
    out.print(f"written to {output}")
    _print_next_steps(trained)


def _print_accuracy(checkpoint: Checkpoint) -> None:
    """Print the accuracy by length, and the largest confusions."""
    from rich.table import Table

    evaluation = checkpoint.evaluation
    if not (level := evaluation.get("levels_db", {}).get("0")):
        return
    lengths = Table(title=f"Accuracy on held-out clips of {evaluation['data']}")
    for column in ("after", "clips", "accuracy, %", "95 % interval"):
        lengths.add_column(column, justify="right")
    for row in level["lengths"]:
        interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
        lengths.add_row(f"{row['seconds']:g} s", str(row["count"]), f"{100 * row['accuracy']:.1f}", interval)
    out.print(lengths)
    if not (counted := evaluation.get("confusions")):
        return
    from edge_asc.evaluation.confusions import Confusions

    print_confusions(Confusions(tuple(counted["labels"]), tuple(map(tuple, counted["counts"]))))


def _print_next_steps(trained: Trained) -> None:
    """Print the commands that come after a training."""
    from edge_asc.evaluation.document import HELD_OUT

    labels, output = trained.checkpoint.labels, trained.output
    steps = []
    if (output / HELD_OUT).is_file():
        steps.append(describe_page(output))
    if trained.is_own:
        if OTHER not in labels:
            echo(
                f"the model always chooses one of its {len(labels)} classes; a folder {OTHER} of other sounds lets it "
                "say none of them"
            )
        bundle, backbone = quote(output / "int8"), trained.checkpoint.model.config.backbone
        trusted = f" --backbone {backbone}" if is_reference(backbone) else ""
        steps.append(f"edge-asc export {quote(output)} --quantize int8 --output {bundle}{trusted}")
        steps.append(f"edge-asc classify RECORDING --model {bundle}")
    if steps:
        echo("next:")
    for step in steps:
        echo(f"  {step}")
