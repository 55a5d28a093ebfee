"""One sound event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from edge_asc.jsonobject import JsonValue


@dataclass(frozen=True)
class SoundEvent:
    """One event of one label.

    Attributes:
        label: of the sound.
        start: seconds of audio from the start of the stream.
        end: the same; None while the event lasts.
        peak, mean: highest and mean probability of the label since the start, 0 to 1.
        began: wall-clock time of the start, with its time zone; None where nobody knows it, as of a file.
    """

    label: str
    start: float
    end: float | None
    peak: float
    mean: float
    began: datetime | None = None

    @property
    def duration(self) -> float | None:
        """Seconds from start to end; None while the event lasts."""
        return None if self.end is None else self.end - self.start

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object of the event."""
        return {
            "event": "start" if self.end is None else "end",
            "label": self.label,
            "start": round(self.start, 3),
            "end": None if self.end is None else round(self.end, 3),
            "peak": round(self.peak, 4),
            "mean": round(self.mean, 4),
            "time": None if self.began is None else self.began.isoformat(timespec="milliseconds"),
        }
