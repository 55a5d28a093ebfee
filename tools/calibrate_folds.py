"""Choose the thresholds for events of a cross-validated model on streams that its folds hold out.

python tools/calibrate_folds.py RUN DATA BACKGROUND [--hours 6] [--per-day 10]

RUN is the folder of a cross-validated training, with the float TFLite artefact of each fold in RUN/fold1/artefact and
so on (`edge-asc export RUN/fold1 --format tflite --output RUN/fold1/artefact`). Each fold's model follows a stream of
the clips that it has not seen. The thresholds of all streams together are written to RUN/checkpoint.json; those of the
other folds judge each fold.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_asc.detection.rules import EventRules
from edge_asc.engine import open_runtime
from edge_asc.evaluation.endless import DAY, Followed, LabelScore, calibrate, follow, score_stream
from edge_asc.evaluation.mixing import mix_stream
from edge_asc.evaluation.soundscape import Interval, Mixture
from edge_asc.files import write_json
from edge_asc.rule import DecisionRule, parse_rule
from edge_asc.training.checkpoint import METADATA, read_metadata

Part = tuple[Followed, list[Interval]]


def follow_fold(run: Path, data: Path, background: Path, fold: int, mixture: Mixture, decision: DecisionRule) -> Part:
    """Return what a fold's model finds in a stream of the clips that the fold holds out."""
    soundscape = mix_stream(data, fold, background, replace(mixture, seed=fold))
    (followed,) = follow(soundscape, [(open_runtime(run / f"fold{fold}" / "artefact"), decision)])
    return followed, list(soundscape.intervals)


def join(parts: Sequence[Part]) -> Part:
    """Return several streams as one, one after another."""
    intervals: list[Interval] = []
    offset = 0.0
    for followed, own in parts:
        intervals += [replace(each, start=each.start + offset, end=each.end + offset) for each in own]
        offset += followed.seconds
    whole = replace(
        parts[0][0],
        probabilities=np.concatenate([followed.probabilities for followed, _ in parts]),
        answers=np.concatenate([followed.answers for followed, _ in parts]),
    )
    return whole, intervals


def main() -> None:
    """Calibrate, judge, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("background", type=Path)
    parser.add_argument("--hours", type=float, default=6.0, help="of each fold's stream")
    parser.add_argument("--per-day", type=float, default=10.0, help="false alarms of all labels together")
    parser.add_argument("--decision", type=parse_rule, required=True)
    options = parser.parse_args()
    folds = sorted(int(path.name[4:]) for path in options.run.glob("fold[0-9]"))
    mixture = Mixture(3600.0 * options.hours)
    parts = [follow_fold(options.run, options.data, options.background, k, mixture, options.decision) for k in folds]
    first = open_runtime(options.run / f"fold{folds[0]}" / "artefact").contract.event_rules
    first = replace(first, threshold=EventRules.threshold, thresholds={})
    measured_on = (
        f"{options.hours * len(folds):g} h of held-out clips of {options.data.name} over held-out clips of "
        f"{options.background.name}, {len(folds)} folds"
    )
    total, seconds = LabelScore(0, 0, 0), 0.0
    for i, (followed, intervals) in enumerate(parts):
        others = join([part for k, part in enumerate(parts) if k != i])
        score = score_stream(followed, intervals, calibrate(*others, first, options.per_day, measured_on))
        total, seconds = total + score.total, seconds + score.seconds
    rules = calibrate(*join(parts), first, options.per_day, measured_on)
    print(rules.thresholds)
    print(
        f"each fold with the thresholds of the others: {total.false_alarms * DAY / seconds:.1f} false alarms a day, "
        f"{total.detected} of {total.sounds} sounds detected, {total.delay} s to detection"
    )
    value = read_metadata(options.run)
    write_json(options.run / METADATA, {**value, "live": options.decision.to_json(), "events": rules.to_json()})


if __name__ == "__main__":
    main()
