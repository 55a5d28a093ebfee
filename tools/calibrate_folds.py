"""Choose the threshold for events of a cross-validated model on streams that its folds hold out.

python tools/calibrate_folds.py RUN DATA BACKGROUND [--hours 6] [--per-day 50]

RUN is the folder of a cross-validated training, with the float TFLite artefact of each fold in RUN/fold1/artefact and
so on (`edge-asc export RUN/fold1 --format tflite --output RUN/fold1/artefact`). Each fold's model follows a stream of
the clips that it has not seen. The threshold of all streams together is written to RUN/checkpoint.json, with the
false alarms a day that each fold has with the threshold of the other folds.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_asc.detection.rules import EventRules, default_rules
from edge_asc.engine import open_runtime
from edge_asc.evaluation.endless import DAY, Followed, LabelScore, calibrate, follow, score_stream
from edge_asc.evaluation.mixing import mix_stream
from edge_asc.evaluation.soundscape import Interval, Mixture
from edge_asc.files import write_json
from edge_asc.jsonobject import JsonObject
from edge_asc.rule import parse_rule
from edge_asc.training.checkpoint import METADATA, read_metadata
from edge_asc.unknown import UnknownRule

Part = tuple[Followed, list[Interval]]


def follow_fold(
    run: Path, data: Path, background: Path, fold: int, mixture: Mixture, rules: EventRules, unknown: UnknownRule | None
) -> Part:
    """Return what a fold's model finds in a stream of the clips that the fold holds out."""
    soundscape = mix_stream(data, fold, background, replace(mixture, seed=fold))
    runtime = open_runtime(run / f"fold{fold}" / "artefact")
    # The rule for unknown sounds comes from all folds together, so that none of them has it.
    runtime.contract = replace(runtime.contract, unknown=unknown)
    (followed,) = follow(soundscape, [(runtime, runtime.contract.live, rules)])
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
    parser.add_argument("--per-day", type=float, default=50.0, help="false alarms of all labels together")
    parser.add_argument("--event-decision", type=parse_rule, help="decision rule of events")
    parser.add_argument("--other-odds", type=float, help="factor on the odds of the label for unknown sounds")
    parser.add_argument("--minimum", type=float, help="shortest event, s")
    options = parser.parse_args()
    folds = sorted(int(path.name[4:]) for path in options.run.glob("fold[0-9]"))
    mixture = Mixture(3600.0 * options.hours)
    checkpoint = read_metadata(options.run)
    unknown = checkpoint["unknown"]
    rule = None if unknown is None else UnknownRule.from_json(JsonObject(unknown, "unknown"))
    rules = default_rules(tuple(checkpoint["labels"]), rule)
    given = {"decision": options.event_decision, "other_odds": options.other_odds, "minimum": options.minimum}
    rules = replace(rules, **{name: value for name, value in given.items() if value is not None})
    parts = [follow_fold(options.run, options.data, options.background, k, mixture, rules, rule) for k in folds]
    measured_on = (
        f"{options.hours * len(folds):g} h of held-out clips of {options.data.name} over held-out clips of "
        f"{options.background.name}, {len(folds)} folds, pauses of {mixture.pause:g} s between either"
    )
    total, seconds = LabelScore(0, 0, 0), 0.0
    for i, (followed, intervals) in enumerate(parts):
        others = join([part for k, part in enumerate(parts) if k != i])
        score = score_stream(followed, intervals, calibrate(*others, rules, options.per_day, measured_on))
        total, seconds = total + score.total, seconds + score.seconds
    judged = total.false_alarms * DAY / seconds
    rules = replace(calibrate(*join(parts), rules, options.per_day, measured_on), false_alarms_per_day=round(judged, 1))
    print(f"threshold {rules.threshold}")
    print(
        f"each fold with the threshold of the others: {judged:.1f} false alarms a day, "
        f"{total.detected} of {total.sounds} sounds detected, {total.delay} s to detection"
    )
    write_json(options.run / METADATA, {**checkpoint, "events": rules.to_json()})


if __name__ == "__main__":
    main()
