"""Checkpoints: metadata, weights, and weights whose digest in the metadata fits them; opened in PyTorch and streamed.

Metadata hold no digest of themselves, so that other numbers in them are another model.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import torch

from artefacts import checkpoint
from edge_asc.files import sha256
from edge_asc.training.checkpoint import METADATA, WEIGHTS, Checkpoint
from fuzz.mutations import mutate_bytes, mutate_json
from fuzz.reading import stream
from fuzz.target import Seeds, Target

RESEALED = f"resealed-{WEIGHTS}"
HEAD = 8  # bytes of the length of the weights' JSON head


def seeds(folder: Path) -> Seeds:
    checkpoint().save(folder)
    weights = (folder / WEIGHTS).read_bytes()
    return {METADATA: (folder / METADATA).read_bytes(), WEIGHTS: weights, RESEALED: weights}


def mutate(random: Random, data: bytes, seeds: Seeds) -> bytes:
    """Damage metadata; of weights, mostly the head, where names, types and shapes are."""
    if data.startswith(b"{"):
        return mutate_json(random, data, seeds)
    if random.random() < 0.2:
        return mutate_bytes(random, data, seeds)
    end = HEAD + int.from_bytes(data[:HEAD], "little")
    return mutate_bytes(random, data[:end], seeds) + data[end:]


def read(path: Path) -> str:
    """Stream the checkpoint whose one file is at `path`, the other one from the whole inputs."""
    torch.set_num_threads(1)
    whole = path.parents[1] / "seeds"
    files = {name: (whole / name).read_bytes() for name in (METADATA, WEIGHTS)}
    files[path.name.removeprefix("resealed-")] = path.read_bytes()
    with TemporaryDirectory(dir=path.parents[1] / "work") as name:
        folder = Path(name)
        for key, data in files.items():
            (folder / key).write_bytes(data)
        if path.name == RESEALED:
            value = json.loads(files[METADATA])
            (folder / METADATA).write_text(json.dumps({**value, "weights_sha256": sha256(folder / WEIGHTS)}))
        Checkpoint.load(folder)  # as `export` and `train --from` do; `open_runtime` has a net of its own
        return stream(folder)


TARGET = Target(seeds, read, mutate, other_answers=True)
