"""Rewrite the golden vectors from the present code: python tests/golden/make.py.

Only for a deliberate change of the numbers: every published model depends on the front end's.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from edge_asc import StreamingClassifier
from edge_asc.frontend import LogMel

HERE = Path(__file__).parent
ENGINES = {"onnx": "fuse-int8-step.onnx", "tflite": "fuse-int8.tflite"}


def signal(count: int) -> npt.NDArray[np.int16]:
    """Return `count` 16-bit samples of two tones in noise."""
    time = np.arange(count) / 16000
    noise = np.random.default_rng(0).normal(0.0, 0.02, count)
    mixed = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * np.sin(2 * np.pi * 5000 * time) + noise
    return np.round(mixed * 32768).astype(np.int16)


def write_logmel() -> None:
    """Write 4096 samples and the 8 raw log-mel frames that they give."""
    samples = signal(4096)
    np.savez_compressed(HERE / "logmel.npz", samples=samples, frames=LogMel()(samples / np.float32(32768)))


def write_stream() -> None:
    """Export the pretrained FUSE model to int8; write both artefacts, 2 s of samples and each engine's logits."""
    samples = signal(32768)
    logits: dict[str, npt.ArrayLike] = {}
    with TemporaryDirectory() as folder:
        program = "from edge_asc.cli import main; main()"
        command = [sys.executable, "-c", program, "export", "fuse", "--quantize", "int8", "--output", folder]
        subprocess.run(command, check=True)
        for engine, name in ENGINES.items():
            shutil.copy(Path(folder) / name, HERE / name)
            classifier = StreamingClassifier.from_artefact(HERE / name)
            logits[engine] = np.stack([result.logits for result in classifier.push(samples / np.float32(32768))])
    np.savez_compressed(HERE / "stream.npz", samples=samples, onnx=logits["onnx"], tflite=logits["tflite"])


if __name__ == "__main__":
    write_logmel()
    write_stream()
