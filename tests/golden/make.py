"""Rewrite the golden vectors from the present code: python tests/golden/make.py.

Only for a deliberate change of the numbers: every published model depends on the front end's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_asc.frontend import LogMel

HERE = Path(__file__).parent


def logmel() -> None:
    """4096 16-bit samples of two tones in noise, and the 8 raw log-mel frames that they give."""
    time = np.arange(4096) / 16000
    noise = np.random.default_rng(0).normal(0.0, 0.02, len(time))
    signal = 0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * np.sin(2 * np.pi * 5000 * time) + noise
    samples = np.round(signal * 32768).astype(np.int16)
    np.savez_compressed(HERE / "logmel.npz", samples=samples, frames=LogMel()(samples / np.float32(32768)))


if __name__ == "__main__":
    logmel()
