"""Labels as users write them: names of folders and cells of tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edge_asc.data.dataset import OTHER
from edge_asc.detection.rules import BACKGROUND
from edge_asc.tensors import LONGEST_NAME

TRAINING = frozenset({"train", "training"})
VALIDATION = frozenset({"dev", "val", "valid", "validation"})
EVALUATION = frozenset({"eval", "evaluation", "test", "testing"})
SPLITS = TRAINING | VALIDATION | EVALUATION


def read_label(text: str) -> str:
    """Return the label that a name means: `other` for a name of the class that is none, such as `_Silence_`."""
    text = text.strip()
    return OTHER if text.strip("_ ").casefold() in BACKGROUND else text


def find_label_problems(labels: Iterable[str]) -> Iterator[str]:
    """Yield a sentence for each label that a model cannot carry."""
    for label in labels:
        if not label.isprintable():
            yield f"label {label!r}: holds a line end or another control character; expected one line: rename it"
        elif len(label) > LONGEST_NAME:
            yield f"label {label[:40]!r}…: has {len(label)} characters; expected at most {LONGEST_NAME}: rename it"
