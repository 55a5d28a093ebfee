"""Model cards: what a checkpoint is, how good it is, and what it was made of."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_asc.data.dataset import OTHER, Credits
from edge_asc.errors import OutputError
from edge_asc.files import write_bytes
from edge_asc.models import ModelConfig
from edge_asc.models.complexity import complexity
from edge_asc.training.checkpoint import Checkpoint

DECISIONS = {"mean": "the mean of log-softmax since the reset", "last": "the last output"}
HEADS = {"gru": "CRNN", "linear": "CNN with a linear layer on each embedding", "gap": "CNN with global average pooling"}
# Backbones of the paper.
PAPER = ("resnet", "bcresnet", "fuse")

# Names of a card, the first that no other text has.
CARDS = ("README.md", "MODEL_CARD.md")
CREDITS = ("CREDITS.md", "MODEL_CREDITS.md")
# The last line of a card, with the SHA-256 of all before it: a card that somebody has edited is not overwritten.
MARK = re.compile(rb"<!-- written by edge-asc train: ([0-9a-f]{64}) -->\n")


def find_card_path(folder: Path, names: tuple[str, ...] = CARDS) -> Path:
    """Return where the model card of a checkpoint in a folder belongs; nothing that edge-asc did not write is there.

    Args:
        names: of the card, or of the credits, in the order of preference.

    Raises:
        OutputError: every name is taken by a text of somebody else.
    """
    for name in names:
        if not os.path.lexists(folder / name) or _is_own(folder / name):
            return folder / name
    raise OutputError(
        f"{folder}: {' and '.join(names)} are not cards of edge-asc; move one of them, or choose another --output"
    )


def write_card(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the model card of a checkpoint into its folder, with the credits of its training clips beside it.

    Returns:
        The path of the card; see `find_card_path`.
    """
    path, credited = find_card_path(folder), find_card_path(folder, CREDITS)
    if listed := credits(checkpoint):
        _write_marked(credited, listed)
    _write_marked(path, card(checkpoint, credited.name))
    return path


def _write_marked(path: Path, text: str) -> None:
    data = text.encode()
    write_bytes(path, data + f"<!-- written by edge-asc train: {hashlib.sha256(data).hexdigest()} -->\n".encode())


def _is_own(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    data = path.read_bytes()
    start = data.rfind(b"<!-- ")
    match = MARK.fullmatch(data, max(start, 0))
    return match is not None and match[1].decode() == hashlib.sha256(data[:start]).hexdigest()


def card(checkpoint: Checkpoint, credited: str = CREDITS[0]) -> str:
    """The model card, in Markdown: purpose, accuracy, limits and training.

    Args:
        credited: name of the file of credits.
    """
    config, cost = checkpoint.model.config, complexity(checkpoint.model)
    size = f"{cost.parameters_deployed:,} parameters at inference"
    if cost.macs_step:
        size += f", {cost.macs_step / 1e6:.2f} M multiply-accumulates a step of 256 ms"
    known = [label for label in checkpoint.labels if label != OTHER]
    lines = [
        f"# {checkpoint.name}",
        "",
        f"Tells {len(known)} sounds apart: {', '.join(known)}."
        + (f" Says `{OTHER}` where it hears none of them." if OTHER in checkpoint.labels else ""),
        "",
        f"{config.form.capitalize()} {HEADS[config.head]}, backbone {_describe_backbone(config)}: {size}. "
        f"Input: 16 kHz mono. Decision: {DECISIONS[checkpoint.decision]}.",
        "",
        "## Accuracy",
        "",
        *_accuracy(checkpoint),
        *_streams(checkpoint),
        "## Limits",
        "",
        ("" if OTHER in checkpoint.labels else "One of the labels is always chosen, also for sounds of none of them. ")
        + "Accuracy is lower for recordings made with other equipment or in other places than the training clips. "
        "Measure it on your own recordings (`edge-asc evaluate`), and do not use the model where an error does harm.",
        "",
        "## Training",
        "",
        *_training(checkpoint, credited),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _describe_backbone(config: ModelConfig) -> str:
    """The name of the backbone, its source where it is one of the paper's, and sizes that differ from the default."""
    sizes = [f"{config.mels} mel bins"] if config.mels != ModelConfig.mels else []
    sizes += [f"{config.width:g} times its channels"] if config.width != ModelConfig.width else []
    sources = ["Choi & Chang, Interspeech 2022; layers partly inferred"] if config.backbone in PAPER else []
    described = "; ".join([*sources, *sizes])
    return f"{config.backbone} ({described})" if described else config.backbone


def credits(checkpoint: Checkpoint) -> str:
    """The recordings that the training clips were cut from, by licence and author, in Markdown; "" without any."""
    recordings: Credits = checkpoint.training.get("credits") or {}
    if not recordings:
        return ""
    lines = [f"# Credits of {checkpoint.name}", "", "The training clips were cut from these recordings.", ""]
    for licence, authors in recordings.items():
        lines += [f"## {licence or 'No licence given'} ({sum(map(len, authors.values()))} recordings)", ""]
        for author, urls in authors.items():
            links = ", ".join(f"[{url.rstrip('/').rsplit('/', 1)[-1]}]({url})" for url in urls)
            lines.append(f"- {author}: {links}")
        lines.append("")
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
    rows = [_row("0 dB, % [95 % interval]", (_cell(row) for row in lengths))]
    for level, result in levels.items():
        if level != "0":
            rows.append(_row(f"{level} dB", (f"{100 * row['accuracy']:.1f}" for row in result["lengths"])))
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


def _streams(checkpoint: Checkpoint) -> list[str]:
    """How the model decides in a stream without an end, and when a label is an event."""
    if checkpoint.model.config.form != "causal":
        return []
    lines = ["## Streams", "", f"In a stream without an end the decision rule is `{checkpoint.live}`.", ""]
    if (events := checkpoint.events) is not None and events.false_alarms_per_day is not None:
        lines += [
            f"Events (`edge-asc listen`): {events.false_alarms_per_day:g} false alarms a day on {events.measured_on}.",
            "",
        ]
    return lines


def _row(name: str, cells: Iterable[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _cell(row: dict[str, Any]) -> str:
    return f"{100 * row['accuracy']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def _training(checkpoint: Checkpoint, credited: str) -> list[str]:
    training = checkpoint.training
    sources = _describe_clips(training) + "".join(
        f"; started from {earlier['name']} ({_describe_clips(earlier)})" for earlier in training.get("before", ())
    )
    if training.get("teachers"):
        sources += f"; distilled from {', '.join(training['teachers'])}"
    if training.get("left_out"):
        sources += f"; no recording and no author of the {training['left_out']} is among them"
    # Version 0.1 had recipes of one stage, without a name.
    stages = ", then ".join(
        f"{stage.get('name', 'all')} ({stage['epochs']} epochs, {stage['optimizer']})"
        for stage in checkpoint.recipe.get("stages", [checkpoint.recipe])
    )
    lines = [f"{sources}.", "", f"Stages: {stages}. All settings: `recipe` in `checkpoint.json`."]
    if training.get("credits"):
        lines += ["", f"The recordings and their authors: [{credited}]({credited})."]
    return lines


def _describe_clips(training: dict[str, Any]) -> str:
    licences = f", licences {' and '.join(training['licences'])} only" if training.get("licences") else ""
    count, sounds = training["clips"], training.get("other")
    if not sounds:
        return f"{count} clips of {training['data']}{licences}"
    foreign = training["per_class"][OTHER]
    return (
        f"{count - foreign} clips of {training['data']} and {foreign} of other sounds ({sounds['data']} and synthetic)"
        f"{licences}"
    )
