"""The document about models on labelled clips, and what a training leaves of it: read, and shown as a page."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edge_asc.data.dataset import Clip
from edge_asc.evaluation.accuracy import Accuracy, LengthResult, Tally
from edge_asc.evaluation.document import Evaluation
from edge_asc.evaluation.predictions import Ends, Predictions
from edge_asc_bench import page
from fuzz.mutations import mutate_json
from fuzz.target import Seeds, Target

LABELS = ("cat", "dog")


def seeds(folder: Path) -> Seeds:
    targets = np.array([0, 0, 1, 1])
    ends = Ends(LABELS, 1.5, np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]]))
    length = LengthResult.of(1.0, ends.probabilities.argmax(1), targets, LABELS)
    tally = Tally(decision="last", count_by_class=length.count_by_class, right_by_class=length.right_by_class)
    result = Accuracy("tiny", "torch", 4, LABELS, "last", 0.0, (length,), tally)
    clips = [Clip(f"{LABELS[k]}/{i}.wav", LABELS[k], "", "", 5.0 * i, 5.0 * i + 5) for i, k in enumerate(targets)]
    predictions = Predictions.of("tiny", ends, clips, [1, 1, 2, 2], held_out=True)
    document = Evaluation("sounds", folder, None, (result,), (predictions,))
    return {"evaluation.json": json.dumps(document.to_json()).encode()}


def read(path: Path) -> str:
    return page.to_html(page.load([path]))


TARGET = Target(seeds, read, mutate_json, other_answers=True)
