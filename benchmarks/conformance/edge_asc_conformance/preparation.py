"""Golden vectors on real recordings: artefacts that take samples, in each format, and Python's results."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_asc import audio
from edge_asc.demo import Recording, list_recordings
from edge_asc.errors import EdgeAscError
from edge_asc.progress import SILENT, Progress
from edge_asc.zoo import locate_model, zoo
from edge_asc_bench import golden
from edge_asc_bench.golden import Clip, GoldenVectors, Pcm
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.format import default_formats
from edge_asc_export.scheme import SCHEMES

# Bundles in the folder, by the scheme of quantisation.
BUNDLES = {"none": "float", "int8-dynamic": "int8-dynamic", "int8": "int8"}
WAV = "samples.wav"


def prepare(
    model: str, output: Path, schemes: Sequence[str] = tuple(BUNDLES), progress: Progress = SILENT
) -> GoldenVectors:
    """Write artefacts that take samples, recordings, and Python's results on them. The folder appears whole or not.

    Args:
        model: a causal checkpoint, or the name of a pretrained model.
        output: folder, replaced if it holds golden vectors or nothing.
        schemes: of quantisation, some of BUNDLES.
        progress: receives the phases.

    Raises:
        EdgeAscError: no such model, it cannot be exported, or `output` holds other files.
    """
    checkpoint = locate_model(model)
    if checkpoint is None:
        raise EdgeAscError(f"{model}: no such checkpoint; expected a folder or one of {', '.join(zoo())}")
    if output.exists() and not (output / golden.DOCUMENT).exists() and any(output.iterdir()):
        raise EdgeAscError(f"{output}: holds other files than golden vectors; choose a new folder, or empty this one")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".golden-", dir=output.parent) as temporary:
        root = Path(temporary) / "golden"
        artefacts = []
        for scheme in map(SCHEMES.__getitem__, schemes):
            request = ExportRequest(checkpoint, scheme, default_formats(scheme), input="samples")
            bundle = root / BUNDLES[scheme.name]
            artefacts += [bundle / file for file in export(request, bundle, progress=progress).files]
        pcm, clips = read_recordings()
        audio.write(root / WAV, pcm.astype(np.float32) / np.float32(32768))
        document = golden.write(root, artefacts, pcm, clips, has_states=False)
        if output.exists():
            shutil.move(output, Path(temporary) / "before")
        root.rename(output)
    return document


def read_recordings() -> tuple[Pcm, tuple[Clip, ...]]:
    """Return the recordings of the demonstration, one after another, as 16-bit samples, (n,), with their credits."""
    parts, clips, begin = [], [], 0
    for recording in list_recordings():
        samples = np.round(audio.read(recording.path) * 32768).clip(-32768, 32767).astype(np.int16)
        clips.append(Clip(recording.label, begin, begin + len(samples), _credit(recording)))
        parts.append(samples)
        begin += len(samples)
    return np.concatenate(parts), tuple(clips)


def _credit(recording: Recording) -> str:
    return f"{recording.author}, {recording.licence}, {recording.url}"
