"""Sound files of every container and codec: decoded block by block, as `classify` does."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from edge_asc import audio
from fuzz.target import Seeds, Target

ENCODINGS = (
    *(("wav", "PCM_16"), ("wav", "FLOAT"), ("wav", "ULAW"), ("wav", "GSM610"), ("wav", "IMA_ADPCM")),
    *(("rf64", "PCM_24"), ("w64", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("ogg", "OPUS")),
    *(("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16"), ("au", "PCM_16"), ("caf", "PCM_16")),
)
FRAMES = 4800


def seeds(folder: Path) -> Seeds:
    """Encode 0.3 s of noise in each encoding: stereo but for the codec of telephones."""
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, (FRAMES, 2)).astype(np.float32)
    files = {}
    for container, subtype in ENCODINGS:
        file = BytesIO()
        channels = samples[:, :1] if subtype == "GSM610" else samples
        soundfile.write(file, channels, 16000, format=container.upper(), subtype=subtype)
        files[f"{subtype}.{container}"] = file.getvalue()
    return files


def read(path: Path) -> str:
    digest, frames = hashlib.sha256(), 0
    for block in audio.stream(path):
        assert np.isfinite(block).all()
        digest.update(block.tobytes())
        frames += len(block)
    return f"{frames} {digest.hexdigest()}"


# Most encodings hold no checksum, so that damaged samples are other samples.
TARGET = Target(seeds, read, other_answers=True)
