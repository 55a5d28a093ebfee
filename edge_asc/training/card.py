"""Model cards: what a checkpoint is, how good it is, and what it was made of."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from edge_asc.data.dataset import Credits
from edge_asc.errors import OutputError
from edge_asc.files import write_bytes
from edge_asc.models import CRNN
from edge_asc.models.complexity import complexity
from edge_asc.training.checkpoint import Checkpoint

# Names of a card, the first that no other text has.
CARDS = ("README.md", "MODEL_CARD.md")
# The last line of a card, with the SHA-256 of all before it: a card that somebody has edited is not overwritten.
MARK = re.compile(rb"<!-- written by edge-asc train: ([0-9a-f]{64}) -->\n")


def find_card_path(folder: Path) -> Path:
    """Return where the model card of a checkpoint in a folder belongs; nothing that edge-asc did not write is there.

    Raises:
        OutputError: every name of a card is taken by a text of somebody else.
    """
    for name in CARDS:
        if not os.path.lexists(folder / name) or _is_own(folder / name):
            return folder / name
    raise OutputError(
        f"{folder}: {' and '.join(CARDS)} are not cards of edge-asc; move one of them, or choose another --output"
    )


def write_card(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write the model card of a checkpoint into its folder, and return its path; see `find_card_path`."""
    path, text = find_card_path(folder), card(checkpoint).encode()
    write_bytes(path, text + f"<!-- written by edge-asc train: {hashlib.sha256(text).hexdigest()} -->\n".encode())
    return path


def _is_own(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    data = path.read_bytes()
    start = data.rfind(b"<!-- ")
    match = MARK.fullmatch(data, max(start, 0))
    return match is not None and match[1].decode() == hashlib.sha256(data[:start]).hexdigest()


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
