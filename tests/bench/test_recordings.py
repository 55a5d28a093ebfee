"""One recording on a page: its spectrogram, and what each model decides."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
import soundfile

from edge_asc_bench import spectrogram, timeline
from edge_asc_bench.kinds import Classification
from edge_asc_bench.players import Players
from edge_asc_bench.recordings import make_recordings
from edge_asc_bench.spectrogram import compute_spectrogram
from reports import make_classification


def read(source: Path, *labels: str, model: str = "tiny") -> Classification:
    return msgspec.convert(make_classification(source, *labels, model=model), Classification)


def write_tone(path: Path, hertz: float, seconds: float) -> Path:
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(16_000 * seconds)) / 16_000)
    soundfile.write(path, samples.astype(np.float32), 16_000)
    return path


def test_the_spectrogram_shows_pitch_and_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tone(tmp_path / "a.wav", 1000, 2.0)
    drawn = compute_spectrogram(path)
    assert drawn is not None
    assert drawn.levels.shape == (spectrogram.MELS, 62)
    assert drawn.seconds == pytest.approx(2.0, abs=0.05)
    assert drawn.bins[drawn.levels[:, 30].argmax()] == pytest.approx(1000, rel=0.05)
    monkeypatch.setattr(spectrogram, "COLUMNS", 10)
    pooled = compute_spectrogram(path)
    assert pooled is not None
    assert 10 <= pooled.levels.shape[1] <= 20
    assert pooled.seconds == pytest.approx(2.0, abs=0.15)
    monkeypatch.setattr(spectrogram, "LONGEST", 1.0)
    assert compute_spectrogram(path) is None
    (tmp_path / "b.wav").write_bytes(b"no sound")
    assert compute_spectrogram(tmp_path / "b.wav") is None


def test_models_on_one_recording_share_a_section(tmp_path: Path) -> None:
    sound, gone = write_tone(tmp_path / "a.wav", 500, 2.0), tmp_path / "gone.wav"
    documents = [read(sound, "cat", "cat", "rain"), read(gone, "dog"), read(sound, "rain", model="other"), read(gone)]
    first, second = make_recordings(documents, Players(tmp_path / "page.html"), charts=True)
    assert (first.name, second.name) == ("a.wav", "gone.wav")
    assert first.player.source == "a.wav"
    assert second.player.source == ""
    assert first.picture is not None
    assert second.picture is not None
    assert [key.name for key in first.picture.keys] == ["cat", "rain"]
    assert "data:image/png" in first.picture.svg
    assert "data:image/png" not in second.picture.svg
    assert "the sound file is not there" in second.picture.caption.note.casefold()
    assert first.runs[0].rows == [(0.0, 1.0, "cat"), (1.0, 1.5, "rain")]
    assert second.runs[1].note == "No decision: the recording is too short."


def test_recordings_are_found_in_the_folder_that_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    folder.mkdir()
    write_tone(folder / "a.wav", 500, 0.5)
    players = Players(tmp_path / "page.html", folder)
    (section,) = make_recordings([read(Path("old/place/a.wav"), "cat")], players, charts=False)
    assert section.player.source == "moved/a.wav"
    assert section.picture is None


@pytest.mark.parametrize("source", ["\0", "x" * 5000, ".", "-"])
def test_names_that_no_recording_has(source: str) -> None:
    (section,) = make_recordings([read(Path(source), "cat")], Players(), charts=False)
    assert section.player.source == ""


def test_long_recordings_are_drawn_in_means(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MOST_POINTS", 4)
    x, y = timeline.thin(np.arange(10.0), np.arange(10.0) * 2)
    assert len(x) == len(y) == 4
    np.testing.assert_allclose(y, 2 * x)
    monkeypatch.setattr(timeline, "MOST_SPANS", 2)
    spans = timeline.list_spans(read(Path("a.wav"), "cat", "rain", "rain", "dog", "dog", "dog"))
    assert [(span.start, span.end, span.label) for span in spans] == [(0.0, 1.5, "rain"), (1.5, 3.0, "dog")]
    assert spans[0].text == "0.0 to 1.5 s: rain in 2 of 3 decisions"
