"""The golden vectors of the app's tests: Python's results on a generated clip."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_asc.contract import InputKind
from edge_asc.errors import EdgeAscError
from edge_asc.progress import SILENT, Progress
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import locate_model, zoo
from edge_asc_android.assets import generate_clip, list_artefacts
from edge_asc_bench import golden
from edge_asc_export.artefact import Draft
from edge_asc_export.artefact import write as write_artefacts
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

SECONDS = 4
# Scheme and input of the artefacts of each model that take samples.
SAMPLE_EXPORTS: tuple[tuple[str, InputKind], ...] = (("none", "samples"), ("int8", "int16"))


def write(bundles: Path, models: Sequence[str], output: Path, progress: Progress = SILENT) -> None:
    """Write vectors for the ONNX artefacts of some models.

    Args:
        bundles: folder with `MODEL/float` and `MODEL/int8` of each model.
        models: their names.
        output: folder, replaced.
        progress: receives a unit of work for each model.

    Raises:
        EdgeAscError: the artefacts of a model are missing.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    pcm = np.concatenate([generate_clip("park", SECONDS // 2), generate_clip("tram", SECONDS // 2)])
    artefacts = []
    for model in progress.track(models, "Writing golden vectors"):
        copies = [Path(shutil.copy(path, output)) for path in list_artefacts(bundles, model)]
        artefacts += [path for path in copies if path.suffix == ".onnx"]
        artefacts += _export_samples(model, output)
    golden.write(output, artefacts, pcm)


def _export_samples(model: str, output: Path) -> list[Path]:
    """Write the ONNX artefacts of a model that take samples, float and int16, and return their paths."""
    folder = locate_model(model)
    if folder is None:
        raise EdgeAscError(f"{model}: no such pretrained model; expected one of {', '.join(zoo())}")
    checkpoint, paths = Checkpoint.load(folder), []
    for scheme, kind in SAMPLE_EXPORTS:
        plan = Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES[scheme])
        for artefact in write_artefacts(Draft(checkpoint, "", plan, input=kind), "onnx"):
            paths.append(output / artefact.name)
            paths[-1].write_bytes(artefact.data)
    return paths
