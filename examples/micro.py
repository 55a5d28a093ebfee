"""Stream a WAV file through a TFLite artefact in TensorFlow Lite for Microcontrollers, as firmware does.

    pip install tflite-micro
    python micro.py FOLDER FILE.wav

FOLDER holds an artefact that takes samples (edge-asc export --input samples); the file is mono, 16 bits, 16 kHz.
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
from tflite_micro.python.tflite_micro import runtime

ARENA = 400_000  # bytes; the interpreter prints how much of it is used

folder, path = map(Path, sys.argv[1:])
files = json.loads((folder / "manifest.json").read_text())["files"]
name, contract = next((name, entry["contract"]) for name, entry in files.items() if entry["format"] == "tflite")
interpreter = runtime.Interpreter.from_file(str(folder / name), arena_size=ARENA)
(step,) = contract["signatures"]


def start(spec):
    """Return an input at the start of a stream: zeros, or the zero point of an integer type."""
    zero = spec["quantisation"]["zero_point"] if spec["quantisation"] else 0
    return np.full(spec["shape"], zero, spec["dtype"])


with wave.open(str(path)) as file:
    if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (16000, 1, 2):
        sys.exit(f"{path}: expected mono, 16 bits, 16 kHz; convert it first")
    pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
samples = pcm if contract["input"] == "int16" else pcm.astype(np.float32) / 32768

inputs = {spec["name"]: start(spec) for spec in step["inputs"]}
total, size = np.zeros(len(contract["labels"])), step["samples"]
for n in range(1, len(samples) // size + 1):
    inputs["samples"] = samples[None, (n - 1) * size : n * size]
    for i, spec in enumerate(step["inputs"]):  # all of them: the arena reuses the memory of inputs
        interpreter.set_input(inputs[spec["name"]], i)
    interpreter.invoke()
    results = {spec["name"]: interpreter.get_output(i) for i, spec in enumerate(step["outputs"])}
    inputs |= {spec["feeds"]: results[spec["name"]].copy() for spec in step["outputs"] if spec["feeds"]}
    total += results["logits"][0]  # the rule for a clip: the mean over all steps
    powers = np.exp((total - total.max()) / n / contract["temperature"])
    best = powers.argmax()
    print(f"{n * size / 16000:.3f} {contract['labels'][best]} {powers[best] / powers.sum():.6f}")
interpreter.print_allocations()
