"""Data sets of Hugging Face's library `datasets`, written as a folder that edge-asc reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edge_asc import audio
from edge_asc.data.dataset import Dataset
from edge_asc.errors import DatasetError
from edge_asc.files import write_bytes
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress


class Rows(Protocol):
    """One part of such a data set: rows with a column of audio and one of labels, and the names of the labels."""

    @property
    def features(self) -> Mapping[str, object]:
        """What each column holds, by its name."""
        ...

    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[Mapping[str, Any]]: ...


def write_rows(
    given: Rows | Mapping[str, Rows],
    folder: Path,
    columns: tuple[str, str] = ("audio", "label"),
    progress: Progress = SILENT,
) -> Dataset:
    """Write a `datasets.Dataset`, or a `datasets.DatasetDict` of parts such as train and test, and open the folder.

    Each row becomes a WAV file of its sample rate, and the table metadata.csv lists them in the layout audiofolder.

    Args:
        given: its rows hold decoded audio.
        folder: new or empty.
        columns: of audio and labels.
        progress: one unit for each clip.

    Raises:
        DatasetError: the folder is not empty, or a column is missing.
    """
    if folder.exists() and any(folder.iterdir()):
        raise DatasetError(f"{folder}: is not empty; expected a new folder: choose another one")
    parts = given if isinstance(given, Mapping) else {"": given}
    lines: list[tuple[str, str, str]] = []
    for part, rows in parts.items():
        if missing := [column for column in columns if column not in rows.features]:
            raise DatasetError(
                f"the data set has no column {' or '.join(missing)}; got {', '.join(rows.features)}: name its columns "
                "of audio and labels"
            )
        title = f"Writing {part or 'clips'}"
        names = getattr(rows.features[columns[1]], "names", None)
        for number, row in enumerate(progress.track(rows, title, len(rows))):
            file, label = f"{part or 'audio'}/{number:06}.wav", row[columns[1]]
            sound = row[columns[0]]
            audio.write(folder / file, _to_mono(sound["array"]), int(sound["sampling_rate"]), subtype="FLOAT")
            lines.append((file, str(names[label] if names else label), part or "all"))
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("file_name", "label", "split"), *lines])
    write_bytes(folder / "metadata.csv", text.getvalue().encode())
    return Dataset.open(folder)


def _to_mono(samples: Any) -> Array:
    """Return samples, (n,) or (channels, n), as mono."""
    array = np.asarray(samples, np.float32)
    mono: Array = array if array.ndim == 1 else array.mean(axis=0)
    return mono
