"""Measure the accuracy of adapted artefacts by the number of clips that they were fitted on.

    python tools/adapt_curves.py BASE DATA [--clips 5,10,20,all] [--seeds 5] [--json FILE]

BASE is an artefact that `edge-asc adapt` takes, best one that has heard none of the classes of DATA. For each fold of
DATA, so many clips of each class are drawn from those that the fold trains on; the layer that they give judges those
that it holds out. Accuracy is pooled over the folds, and averaged over the seeds of the draw, with the lowest and the
highest. All of it is computed as the file computes.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_asc.adaptation.adapter import LEVELS, Embeddings, fit_both
from edge_asc.adaptation.base import Base
from edge_asc.adaptation.material import Material
from edge_asc.adaptation.validation import HeldOut, hold_out
from edge_asc.cli.console import ConsoleProgress
from edge_asc.data.dataset import Dataset
from edge_asc.evaluation.logits import decide, steps_at
from edge_asc.files import write_json
from edge_asc.jsonobject import JsonValue

# What a column of the table shows: a length, s, from the start of each clip (all of it: 0), and a level, dB.
COLUMNS = ((1.0, 0.0), (0.0, 0.0), (0.0, LEVELS[-1]))


def draw(material: Material, indices: Sequence[int], count: int, seed: int) -> tuple[int, ...]:
    """Return `count` of the clips of each class, or all where there are fewer or `count` is 0."""
    generator = np.random.default_rng(seed)
    chosen: list[int] = []
    for target in range(len(material.labels)):
        clips = [index for index in indices if material.targets[index] == target]
        chosen += generator.permutation(clips)[: count or None].tolist()
    return tuple(chosen)


def score(held_out: HeldOut, seconds: float) -> float:
    """Return the share of clips that are decided correctly after so many seconds, or at their end."""
    steps = steps_at(seconds) or None
    decided = [decide(logits[:steps], held_out.decision)[-1] for logits in held_out.logits]
    return float((np.array(decided) == held_out.targets).mean())


def measure(base: Base, material: Material, embeddings: Embeddings, count: int, seeds: int) -> Mapping[str, JsonValue]:
    """Return the accuracies of each column, by seed, and the mean number of clips that a layer was fitted on."""
    scores: list[list[float]] = []
    fitted: list[int] = []
    for seed in range(seeds if count else 1):
        folds = tuple((draw(material, train, count, seed), held) for train, held in material.folds)
        fitted += [len(train) for train, _ in folds]
        layers = [fit_both(base, material, embeddings, train)[1] for train, _ in folds]
        drawn = replace(material, folds=folds)
        scores.append(
            [
                score(hold_out(drawn, layers, embeddings[level], base.contract.decision), seconds)
                for seconds, level in COLUMNS
            ]
        )
    return {"clips": count, "fitted_on": float(np.mean(fitted)), "scores": scores}


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("data", type=Path)
    parser.add_argument("--clips", default="5,10,20,all", help="of each class")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    counts = [0 if part == "all" else int(part) for part in options.clips.split(",")]
    base, progress = Base.open(options.base), ConsoleProgress()
    material = Material.read(Dataset.open(options.data), base.contract.front_end, progress)
    embeddings = {level: base.embed(material.features, gain=level, progress=progress) for level in LEVELS}
    rows = [measure(base, material, embeddings, count, options.seeds) for count in counts]
    print(f"{base.contract.name} {base.contract.scheme}, {len(material.targets)} clips of {material.name}")
    print("| clips a class | clips in all, mean | " + " | ".join(map(_title, COLUMNS)) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for row in rows:
        scores = 100.0 * np.array(row["scores"])
        cells = [
            f"{each.mean():.1f}" + (f" ({each.min():.1f} to {each.max():.1f})" if len(each) > 1 else "")
            for each in scores.T
        ]
        print(f"| {row['clips'] or 'all'} | {row['fitted_on']:.0f} | {' | '.join(cells)} |")
    if options.json:
        write_json(options.json, {"base": base.contract.to_json(), "data": material.name, "rows": rows})


def _title(column: tuple[float, float]) -> str:
    seconds, level = column
    return f"after {seconds:g} s" if seconds else "at the end" + (f", {level:g} dB" if level else "")


if __name__ == "__main__":
    main()
