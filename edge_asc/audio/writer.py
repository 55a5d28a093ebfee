"""Writing of WAV files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy.typing as npt

from edge_asc.files import atomic_path
from edge_asc.frontend import check_samples


def write(
    path: str | Path,
    samples: npt.ArrayLike,
    sample_rate: int = 16000,
    subtype: Literal["PCM_16", "FLOAT"] = "PCM_16",
) -> None:
    """Write `samples`, (n,) float with full scale at ±1, to a mono WAV file, atomically.

    16-bit files clip at full scale; float files keep every value.

    Raises:
        AudioError: samples are not one-dimensional float, or hold NaN or infinities; nothing is written.
    """
    import soundfile

    samples = check_samples(samples)
    with atomic_path(Path(path)) as temporary:
        soundfile.write(temporary, samples, sample_rate, format="WAV", subtype=subtype)
