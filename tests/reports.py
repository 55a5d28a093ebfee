"""Documents that a report shows: a measured benchmark, a training with its recordings, and a classified recording."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from artefacts import Artefacts, clips
from edge_asc.data.dataset import Clip
from edge_asc.evaluation.accuracy import Accuracy, LengthResult, Tally
from edge_asc.evaluation.document import Evaluation
from edge_asc.evaluation.predictions import Ends, Predictions
from edge_asc.manifest import SCHEMA_VERSION as MANIFEST_VERSION
from edge_asc.training.listener import Epoch
from edge_asc.training.log import write_log
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import Benchmark, bench
from edge_asc_bench.targets.local import LocalTarget

LABELS = ("cat", "dog <b>", "rain")
HOSTILE = 'x"><script>alert(1)</script>.wav'
# File, label, decided label, probability; piece of the file.
CLIPS = [
    ("cat/a b#1.wav", "cat", "dog <b>", 0.98, 0.0, None),
    ("cat/long.wav", "cat", "rain", 0.6, 5.0, 10.0),
    ("dog/1.wav", "dog <b>", "dog <b>", 0.9, 0.0, None),
    ("rain/1.wav", "rain", "rain", 0.9, 0.0, None),
    (HOSTILE, "rain", "cat", 0.65, 0.0, None),
    ("cat/gone.wav", "cat", "rain", 0.5, 0.0, None),
]


def measure(artefacts: Artefacts) -> dict[str, Any]:
    """Measure models on a labelled data set: a reference, steps in float and int8, and windows."""
    models = [("torch", artefacts.steps["torch"]), ("float.tflite", artefacts.steps["tflite"])]
    models += [(name, artefacts.folder / name) for name in ("step-int8.tflite", "windows.tflite")]
    audio = Clips("noise", clips(3, 80), artefacts.causal.labels, (0, 1, 2), "digest")
    settings = Settings((1, 2), rounds=1, duration=0.01, warm_up=1, lead=1, burst=3, window_burst=2)
    benchmark = Benchmark(models, audio, settings, "edge-asc bench torch --output x.json")
    (measured,) = bench(benchmark, [LocalTarget()])
    document: dict[str, Any] = json.loads(json.dumps(measured.to_json()))
    return document


def add_instructions(document: dict[str, Any]) -> dict[str, Any]:
    """Return a benchmark with counts of instructions of two artefacts: int8 is dearer on one processor."""

    def count(total: float) -> dict[str, int]:
        parts = {"front_end": 900_000, "model": int(total) - 900_000, "total": int(total)}
        return {**parts, "runtime": 1_000_000, "dot_products": 200_000, "matrix_products": 0}

    counts = copy.deepcopy(document)
    counts["variants"][1]["instructions"] = {"cortex-a72": count(3e6), "cortex-a76": count(3e6)}
    counts["variants"][2]["instructions"] = {"cortex-a72": count(3.5e6), "cortex-a76": count(2e6)}
    return counts


def make_conformance() -> dict[str, Any]:
    """Return the document of an artefact on two processors; on one of them it is beyond its tolerance."""
    row = {"artefact": "a", "engine": "litert", "processor": "cortex-a72", "equal": True, "max_error": 0.0}
    row |= {"agreement": 1.0, "tolerance": 0.0, "holds": True}
    other = {**row, "processor": "cortex-a76", "equal": False, "max_error": 0.25, "holds": False}
    return {
        "kind": "conformance",
        "schema_version": 1,
        "here": {"machine": "x86_64", "engines": ["litert"]},
        "front_end": {"tolerance": 1e-3, "max_error": {"cortex-a72": 1e-6}},
        "holds": False,
        "comparisons": [row, other],
    }


def make_ends(clips: list[tuple[Any, ...]]) -> Ends:
    rows = np.array([[(1 - share) / 2] * 3 for _, _, _, share, *_ in clips])
    for row, (_, _, decided, share, *_) in zip(rows, clips, strict=True):
        row[LABELS.index(decided)] = share
    return Ends(LABELS, 1.25, rows)


def make_evaluation(folder: Path, clips: list[tuple[Any, ...]]) -> Evaluation:
    targets = np.array([LABELS.index(clip[1]) for clip in clips])
    ends = make_ends(clips)
    length = LengthResult.of(1.0, ends.probabilities.argmax(1), targets, LABELS)
    tally = Tally(decision="last", count_by_class=length.count_by_class, right_by_class=length.right_by_class)
    result = Accuracy("tiny", "torch", len(clips), LABELS, "last", 0.0, (length,), tally)
    listed = [Clip(file, label, file, start=start, end=end) for file, label, _, _, start, end in clips]
    predictions = Predictions.of("tiny", ends, listed, [1] * len(clips), held_out=True)
    return Evaluation("sounds", folder, None, (result,), (predictions,))


def write_run(folder: Path) -> Path:
    """Write recordings, and the folder of a training on them with logs of the model and of a fold; return it."""
    sounds, run = folder / "my sounds", folder / "runs/my"
    for file, _, _, _, _, end in CLIPS:
        if "gone" not in file:
            path = sounds / file
            path.parent.mkdir(parents=True, exist_ok=True)
            samples = np.random.default_rng(0).normal(0, 0.1, round((end or 0.5) * 8000))
            soundfile.write(path, samples.astype(np.float32), 8000, format="WAV")
    make_evaluation(sounds, CLIPS).write(run)
    first, last = Epoch(1, "trunk", 1.5, 0.25, 0.1, 1, 1), Epoch(2, "head", 0.5, 0.75, 0.1, 1, 1)
    write_log(run, [first, last])
    (run / "fold1").mkdir()
    write_log(run / "fold1", [replace(first, validation=0.5), replace(last, loss=0.6, validation=0.625)])
    return run


def make_classification(source: Path, *labels: str, model: str = "tiny", seconds: float = 0.5) -> dict[str, Any]:
    """Return the document of a classification that decides these labels, one after another."""
    known = ["cat", "dog", "rain"]
    decisions = [
        {
            "time": seconds * (i + 1),
            "label": label,
            "unknown": False,
            "probabilities": [0.8 if name == label else 0.1 for name in known],
        }
        for i, label in enumerate(labels)
    ]
    head = {"kind": "classification", "schema_version": 1, "source": str(source), "model": model}
    return {**head, "engine": "litert 2.1", "scheme": "int8", "labels": known, "decisions": decisions}


def make_export(shares: dict[str, float]) -> dict[str, Any]:
    """Return the manifest of a bundle with artefacts that agree with PyTorch in these shares of 100 decisions."""

    def make_file(share: float) -> dict[str, Any]:
        errors = dict.fromkeys(("max_error", "mean_error", "max_error_first", "max_error_last"), 0.1)
        parity = {"audio": "scenes", "steps": 100, "agreement": share, "agreement_by_length": {"1": 1.0, "2": share}}
        return {"engine": "litert 2.1", "bytes": 200_000, "contract": {"measured": {"parity": parity | errors}}}

    files = {name: make_file(share) for name, share in shares.items()}
    return {"kind": "export", "schema_version": MANIFEST_VERSION, "name": "tiny", "files": files}
