"""The sections of a page about single recordings: what models decide on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from edge_asc_bench.kinds import Classification
from edge_asc_bench.legend import make_label
from edge_asc_bench.pictures import Caption, Picture
from edge_asc_bench.players import Player, Players
from edge_asc_bench.spectrogram import compute_spectrogram
from edge_asc_bench.timeline import (
    MOST_MODELS,
    Recording,
    choose_labels,
    describe_model,
    draw_timeline,
    list_runs,
    name_probabilities,
)
from edge_asc_bench.verdict import Verdict, judge_recording

# Rows of the table of a model; the last row of a longer one says how many follow.
MOST_RUNS = 200


@dataclass(frozen=True)
class Runs:
    """The decisions of one model: start and end, s, and label of each run, and the number of runs left out."""

    model: str
    rows: list[tuple[float, float, str]]
    more: int
    note: str


@dataclass(frozen=True)
class RecordingSection:
    """One recording.

    Attributes:
        name: of its file.
        verdict: on it.
        picture: None where no model made a decision, or nothing is drawn.
        player: of its sound.
        runs: of each model.
    """

    name: str
    verdict: Verdict
    picture: Picture | None
    player: Player
    runs: list[Runs]


def make_recordings(
    classifications: Sequence[Classification], players: Players, *, charts: bool
) -> list[RecordingSection]:
    """Return a section for each recording, with all models that were run on it."""
    sources: dict[str, list[Classification]] = {}
    for each in classifications:
        sources.setdefault(each.source, []).append(each)
    return [_make_section(source, each, players, charts=charts) for source, each in sources.items()]


def _make_section(
    source: str, classifications: Sequence[Classification], players: Players, *, charts: bool
) -> RecordingSection:
    decided = [each for each in classifications if each.decisions]
    path = players.find_recording(source)
    return RecordingSection(
        name=PurePath(source).name or source,
        verdict=judge_recording(classifications),
        picture=_draw(decided[:MOST_MODELS], source, players) if decided and charts else None,
        player=Player() if path is None else players.make_recording(path),
        runs=[_list_runs(each) for each in classifications],
    )


def _draw(decided: Sequence[Classification], source: str, players: Players) -> Picture:
    path = players.find_recording(source)
    spectrogram = None if path is None else compute_spectrogram(path)
    recording = Recording(decided, choose_labels(decided), spectrogram)
    notes = []
    if spectrogram:
        notes.append("Top: the sound, by time and frequency; brighter is louder.")
    notes.append("For each model: the strip is the label that it decides, the lines are the probabilities of labels.")
    if not all(map(name_probabilities, decided)):
        notes.append("A document that does not name its labels has one line, the highest probability.")
    if path is None:
        notes.append("The sound file is not there, so its spectrogram is left out.")
    caption = Caption("What was decided when?", "", " ".join(notes))
    keys = [make_label(i, label) for i, label in enumerate(recording.labels)]
    return Picture.of(caption, lambda frame: draw_timeline(frame, recording), keys)


def _list_runs(classification: Classification) -> Runs:
    rows = list(list_runs(classification))
    note = "" if rows else "No decision: the recording is too short."
    return Runs(describe_model(classification), rows[:MOST_RUNS], max(0, len(rows) - MOST_RUNS), note)
