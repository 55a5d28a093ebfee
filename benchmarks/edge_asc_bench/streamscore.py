"""Scores of models on an endless stream, as a result holds them."""

from __future__ import annotations

from edge_asc_bench.part import Count, NotNegative, Part, Positive, Share


class StreamScore(Part, frozen=True, kw_only=True):
    """Decisions and events of a model on an endless stream; see `edge_asc.evaluation.endless.StreamScore`.

    Attributes:
        decision: rule of the decisions.
        seconds: of the stream.
        sounds, detected: number of sounds, and of those that an event overlaps.
        false_alarms, false_alarms_per_day: events that overlap no sound of their label.
        seconds_to_detection: median; None where nothing was detected.
        error_rate: share of the steps within sounds whose decision is another label.
        changes_per_minute: of the decision.
        float_twin: name of the float artefact of the same checkpoint; None for a float model, or without one.
        matched_false_alarms: at thresholds that detect at least as many sounds as the twin; None where there are none.
        twin_false_alarms: false alarms of the twin.
    """

    decision: str
    seconds: Positive
    sounds: Count
    detected: Count
    false_alarms: Count
    false_alarms_per_day: NotNegative
    seconds_to_detection: NotNegative | None
    error_rate: Share
    changes_per_minute: NotNegative
    float_twin: str | None
    matched_false_alarms: Count | None
    twin_false_alarms: Count | None


class Stream(Part, frozen=True, kw_only=True):
    """An endless stream that models were measured on.

    Attributes:
        data: data set of the sounds.
        fold: whose held-out clips were used; None for all clips.
        background: data set of the background; None for faint noise.
        background_pause: mean time between two of its clips, s.
        seconds: length.
        seed: of everything random.
        sounds: number of sounds.
        sha256: over labels and times of the sounds; two results with the same hash are about the same stream.
    """

    data: str
    fold: int | None
    background: str | None
    background_pause: NotNegative
    seconds: Positive
    seed: Count
    sounds: Count
    sha256: str
