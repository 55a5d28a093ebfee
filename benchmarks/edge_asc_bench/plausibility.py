"""Whether the documents of a page, beside results of benchmarks, agree with themselves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from edge_asc.data.dataset import is_inside
from edge_asc.evaluation.predictions import Predictions
from edge_asc.reproduction.figure3 import Figure3
from edge_asc.reproduction.figure4 import CARRIES, Curve, Figure4
from edge_asc.reproduction.table1 import Table1
from edge_asc_bench.consistency import check_accuracy, check_closeness

if TYPE_CHECKING:
    from edge_asc_bench.kinds import Classification, Conformance, Evaluation, Export

LONGEST = 1e9  # s, of a recording: thirty years
SPACES = 2  # that a model of Figure 3 is mapped in
# Settings of a stage that the page shows.
STAGE = {"optimizer", "learning_rate", "epochs", "batch"}


def check_classification(value: Classification) -> None:
    """Check that times increase, and that all decisions have as many probabilities."""
    times = [decision.time for decision in value.decisions]
    if any(time <= before for before, time in zip([0.0, *times], times, strict=False)):
        raise ValueError("decisions: their times do not increase from above 0 s")
    if times and times[-1] > LONGEST:
        raise ValueError(f"decisions: got a time of {times[-1]:g} s, expected {LONGEST:g} s at most")
    for i, decision in enumerate(value.decisions):
        shares = decision.probabilities
        if not shares or len(shares) != len(value.decisions[0].probabilities) or not all(0 <= p <= 1 for p in shares):
            raise ValueError(f"decisions[{i}].probabilities: expected a share from 0 to 1 for each label")


def check_evaluation(value: Evaluation) -> None:
    """Check the accuracy of each model, and its decisions on single clips."""
    for i, accuracy in enumerate(value.results):
        check_accuracy(f"results[{i}] ({accuracy.model})", accuracy)
    for i, predictions in enumerate(value.predictions):
        _check_predictions(f"predictions[{i}] ({predictions.model})", predictions)


def _check_predictions(place: str, value: Predictions) -> None:
    """Check that clips are inside the folder and have probabilities, and that the confusions count them."""
    labels, counts = value.confusions.labels, value.confusions.counts
    if {len(labels)} != {len(counts), *map(len, counts)} or any(count < 0 for row in counts for count in row):
        raise ValueError(f"{place}.confusions: expected a row of {len(labels)} counts for each of as many labels")
    left = [list(row) for row in counts]
    for i, clip in enumerate(value.clips):
        where = f"{place}.clips[{i}]"
        if not is_inside(clip.file):
            raise ValueError(f"{where}.file: got {clip.file[:80]!r}, expected a path inside the data set")
        if not 0 <= clip.start < (math.inf if clip.end is None else clip.end):
            raise ValueError(f"{where}.start: got {clip.start:g}, expected 0 s or later, and before the end")
        shares = list(clip.probabilities.values())
        if not shares or shares != sorted(shares, reverse=True) or not 0 <= min(*shares, clip.given) <= shares[0] <= 1:
            raise ValueError(f"{where}.probabilities: expected shares from 1 to 0 in descending order")
        if unknown := {clip.label, *clip.probabilities} - set(labels):
            raise ValueError(f"{where}: got {', '.join(sorted(unknown))[:80]!r}, expected labels of the confusions")
        row, column = labels.index(clip.label), labels.index(clip.decided)
        left[row][column] -= 1
        if left[row][column] < 0:
            raise ValueError(f"{where}: is a clip more than the confusions count")


def check_export(value: Export) -> None:
    """Check that there is an artefact, and that agreements are shares."""
    if not value.files:
        raise ValueError("files: got none, expected an artefact at least")
    for name, file in value.files.items():
        parity = file.contract.measured.parity
        if not all(0 <= share <= 1 for share in (parity.agreement, *parity.agreement_by_length.values())):
            raise ValueError(f"files ({name}): its agreement is not a share from 0 to 1")
        if parity.closeness is not None:
            check_closeness(f"files ({name}): closeness", parity.closeness, parity.steps)


def check_conformance(value: Conformance) -> None:
    """Check that agreements are shares, and that the whole holds if each part does."""
    for i, row in enumerate(value.comparisons):
        if not 0 <= row.agreement <= 1 or row.max_error < 0:
            raise ValueError(f"comparisons[{i}]: expected an agreement from 0 to 1, and an error of at least 0")
    if value.holds and not all(row.holds for row in value.comparisons):
        raise ValueError("holds: got true, but not all comparisons hold")


def check_table1(value: Table1) -> None:
    """Check that accuracies are shares, and that all rows or none have the paper's figures."""
    if value.seconds is None:
        raise ValueError("seconds: got nothing, expected the lengths of clips and crops")
    if not all(isinstance(stage, dict) and set(stage) >= STAGE for stage in value.stages):
        raise ValueError(f"recipe: expected stages with {', '.join(sorted(STAGE))}")
    if len({row.paper is None for row in value.rows}) > 1:
        raise ValueError("rows: some have the paper's figures and some do not")
    for i, row in enumerate(value.rows):
        if not all(0 <= share <= 1 for part in (row.whole, row.crop) for share in (*part.accuracies, part.mean)):
            raise ValueError(f"rows[{i}]: expected accuracies from 0 to 1")


def check_figure3(value: Figure3) -> None:
    """Check that each model has a point of a known label for each step that is drawn."""
    if not value.models or not value.label or not all(0 <= number < len(value.labels) for number in value.label):
        raise ValueError("label: expected an index into labels for each step, and a model at least")
    for i, model in enumerate(value.models):
        if len(model.maps) != SPACES or list(model.maps) != list(value.models[0].maps):
            raise ValueError(f"models[{i}].maps: expected the same {SPACES} spaces for each model")
        if any(len(each.points) != len(value.label) for each in model.maps.values()):
            raise ValueError(f"models[{i}].maps: expected {len(value.label)} points, one for each step")


def check_figure4(value: Figure4) -> None:
    """Check that curves have a value for each time, and are those of the model's form."""
    for i, model in enumerate(value.models):
        if not model.curves or model.form not in ("causal", "windowed"):
            raise ValueError(f"models[{i}]: expected curves of a causal or a windowed model")
        for k, curve in enumerate(model.curves):
            if problem := _find_problem(curve, model.form):
                raise ValueError(f"models[{i}].curves[{k}]: {problem}")


def _find_problem(curve: Curve, form: str) -> str:
    if (curve.seconds is None) != (form == "causal") or (form == "windowed" and curve.carry not in CARRIES):
        return f"expected a curve of a {form} model"
    if curve.seconds is not None and not 0 < curve.seconds < 10_000:
        return f"seconds: got {curve.seconds}, expected a length of a window"
    for values in (curve.recall, curve.macro_recall, curve.accuracy):
        if values is not None and (len(values) != len(curve.times) or not all(0 <= share <= 1 for share in values)):
            return f"expected {len(curve.times)} shares from 0 to 1, one for each time"
    return "" if curve.times else "times: got none"
