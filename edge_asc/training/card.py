"""Model cards: what a checkpoint is, how good it is, and what it was made of."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_asc.data.dataset import Credits
from edge_asc.files import write_bytes
from edge_asc.models import CRNN
from edge_asc.models.complexity import complexity
from edge_asc.training.checkpoint import Checkpoint

CARD = "README.md"


def write_card(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the model card of a checkpoint into its folder."""
    write_bytes(folder / CARD, card(checkpoint).encode())


def card(checkpoint: Checkpoint) -> str:
    """The model card, in Markdown."""
    config, cost = checkpoint.model.config, complexity(checkpoint.model)
    kind = "CRNN" if isinstance(checkpoint.model, CRNN) else "CNN with global average pooling"
    size = f"{cost.parameters_deployed:,} parameters at inference"
    if cost.macs_step:
        size += f", {cost.macs_step / 1e6:.2f} M multiply-accumulates a step of 256 ms"
    lines = [
        f"# {checkpoint.name}",
        "",
        f"{config.form.capitalize()} {kind} with a {config.backbone} backbone (Choi & Chang, Interspeech 2022; layers "
        f"partly inferred): {size}. Input: 16 kHz mono. The decision is "
        + ("the running mean of log-softmax since reset." if checkpoint.decision == "mean" else "the last output."),
        "",
        f"Labels: {', '.join(checkpoint.labels)}.",
        "",
        "## Accuracy",
        "",
        *_accuracy(checkpoint),
        "## Intended use and limits",
        "",
        f"To tell these {len(checkpoint.labels)} labels apart, on audio like that it was trained on. "
        + ("" if "other" in checkpoint.labels else "One of them is always chosen, also for sounds of none of them. ")
        + "Expect lower accuracy on recordings made with other equipment "
        "or in other places than the training clips, try it on your own before you rely on it, and do not use it where "
        "an error does harm.",
        "",
        "## Training",
        "",
        *_training(checkpoint),
    ]
    if credits := checkpoint.training.get("credits"):
        lines += ["## Credits", "", *_credits(credits)]
    return "\n".join(lines).rstrip() + "\n"


def _accuracy(checkpoint: Checkpoint) -> list[str]:
    evaluation = checkpoint.evaluation
    if not evaluation:
        return ["Not evaluated on held-out clips.", ""]
    levels = evaluation["levels_db"]
    lengths = levels["0"]["lengths"]
    header = [
        "| | " + " | ".join(f"{row['seconds']} s" for row in lengths) + " |",
        "|---" * (len(lengths) + 1) + "|",
    ]
    rows = [_row("0 dB: accuracy, % [95 % interval]", (_cell(row) for row in lengths))]
    for rule in ("mean", "last"):
        shares = (f"{100 * row[f'right_{rule}'] / row['count']:.1f}" for row in lengths)
        rows.append(_row(f"0 dB, decision by {'running mean' if rule == 'mean' else 'last output'}", shares))
    for level, result in levels.items():
        if level != "0":
            rows.append(_row(f"input at {level} dB", (f"{100 * row['accuracy']:.1f}" for row in result["lengths"])))
    lines = [f"On {evaluation['data']}: {evaluation['protocol']}.", "", *header, *rows, ""]
    if calibration := evaluation.get("calibration"):
        lines += [
            f"Confidence: the expected calibration error is {calibration['ece_before']:.3f}, and "
            f"{calibration['ece_after']:.3f} with the logits divided by a temperature that other folds gave "
            f"({checkpoint.temperature:.2f} from all of them).",
            "",
        ]
    if other := evaluation.get("other"):
        lines += [
            f"Unknown sounds ({', '.join(other['labels'])}, {other['unknown_clips']} clips that no stage has seen) "
            f"against known ones: AUROC {other['auroc']:.3f}. {100 * other['unknown_decided_other']:.0f} % of them and "
            f"{100 * other['known_decided_other']:.0f} % of the known clips, are called other.",
            "",
        ]
    if rule := checkpoint.unknown:
        text = (
            f"A decision is unknown where the probability of {rule.label} is at least {rule.threshold:.4f}. This "
            f"threshold was chosen for {100 * rule.false_alarm_rate:.0f} % false alarms on {rule.measured_on}."
        )
        if reached := evaluation.get("unknown"):
            rate = 100 * reached["false_alarm_rate"]
            text += f" With the threshold that other folds gave, {rate:.1f} % of these clips are called unknown"
            recognised = f", and {100 * other['unknown_recognised']:.0f} % of the unknown ones" if other else ""
            text += f"{recognised}."
        lines += [text, ""]
    return lines


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _cell(row: dict[str, Any]) -> str:
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _training(checkpoint: Checkpoint) -> list[str]:
    training = checkpoint.training
    lines = [
        f"{_describe_clips(training)}; auxiliary stream {'on' if checkpoint.model.config.auxiliary else 'off'}, "
        f"dropout {checkpoint.model.config.dropout}"
        + "".join(
            f"; started from {earlier['name']} ({_describe_clips(earlier)})" for earlier in training.get("before", ())
        )
        + (f"; distilled from {', '.join(training['teachers'])}" if training.get("teachers") else "")
        + ".",
        "",
    ]
    # Version 0.1 had recipes of one stage, without a name.
    for stage in checkpoint.recipe.get("stages", [checkpoint.recipe]):
        augmentation = ", ".join(f"{k} {v}" for k, v in stage["augmentation"].items())
        settings = ", ".join(f"{k} {v}" for k, v in stage.items() if k not in ("name", "augmentation"))
        lines += [f"Stage {stage['name']}: {settings}." if "name" in stage else f"Recipe: {settings}.", ""]
        lines += [f"Augmentation: {augmentation}.", ""]
    return lines


def _describe_clips(training: dict[str, Any]) -> str:
    licences = f", licences {' and '.join(training['licences'])} only" if training.get("licences") else ""
    return f"{training['clips']} clips of {training['data']}{licences}"


def _credits(credits: Credits) -> list[str]:
    lines = []
    for licence, authors in credits.items():
        lines += [f"{licence or 'No licence given'} ({sum(map(len, authors.values()))} recordings):", ""]
        for author, urls in authors.items():
            links = ", ".join(f"[{url.rstrip('/').rsplit('/', 1)[-1]}]({url})" for url in urls)
            lines.append(f"- {author}: {links}")
        lines.append("")
    return lines
