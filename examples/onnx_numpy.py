"""Stream a WAV file through an ONNX artefact with numpy and onnxruntime alone.

    python onnx_numpy.py FOLDER FILE.wav

FOLDER holds an artefact that takes samples (edge-asc export --input samples); the file is mono, 16 bits, 16 kHz.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
import onnxruntime

folder, path = map(Path, sys.argv[1:])
files = json.loads((folder / "manifest.json").read_text())["files"]
name, contract = next((name, entry["contract"]) for name, entry in files.items() if entry["format"] == "onnx")
session = onnxruntime.InferenceSession(folder / name, providers=["CPUExecutionProvider"])
(step,) = contract["signatures"]


def start(spec):
    """Return an input at the start of a stream: zeros, or the zero point of an integer type."""
    zero = spec["quantisation"]["zero_point"] if spec["quantisation"] else 0
    return np.full(spec["shape"], zero, spec["dtype"])


with wave.open(str(path)) as file:
    if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (16000, 1, 2):
        sys.exit(f"{path}: expected mono, 16 bits, 16 kHz; convert it first")
    samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.float32) / 32768

inputs = {spec["name"]: start(spec) for spec in step["inputs"]}
outputs = [spec["name"] for spec in step["outputs"]]
total, size = np.zeros(len(contract["labels"])), step["samples"]
for n in range(1, len(samples) // size + 1):
    inputs["samples"] = samples[None, (n - 1) * size : n * size]
    results = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    inputs |= {spec["feeds"]: results[spec["name"]] for spec in step["outputs"] if spec["feeds"]}
    total += results["logits"][0]  # the rule for a clip: the mean over all steps
    powers = np.exp((total - total.max()) / n / contract["temperature"])
    best = powers.argmax()
    print(f"{n * size / 16000:.3f} {contract['labels'][best]} {powers[best] / powers.sum():.6f}")
