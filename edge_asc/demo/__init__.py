"""Short recordings that come with the package; no pretrained model was trained on them or on others of their authors.

They lie in a folder for each label, as own recordings do. `credits.csv` names their authors.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Recording:
    """One recording.

    Attributes:
        path: FLAC, 16 kHz, mono, 5 s.
        label: of its sound.
        licence: such as "CC0".
        author, url: who made it, and where it was published.
    """

    path: Path
    label: str
    licence: str
    author: str
    url: str


def list_recordings() -> tuple[Recording, ...]:
    """Return the recordings, by their labels."""
    with (FOLDER / "credits.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    recordings = [
        Recording(
            FOLDER / row["filename"], Path(row["filename"]).parent.name, row["licence"], row["author"], row["url"]
        )
        for row in rows
    ]
    return tuple(sorted(recordings, key=lambda recording: recording.label))
