from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from edge_asc import audio
from edge_asc.data.dataset import Dataset
from edge_asc.data.generated import write_scenes
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.scenes import generate_scene
from edge_asc.errors import DatasetError
from edge_asc.frontend import FrontEnd, LogMel


@pytest.mark.parametrize("label", TAU_LABELS)
def test_scene(label: str) -> None:
    scenes = [generate_scene(label, seed, seconds=2.0) for seed in range(8)]
    for seed, scene in enumerate(scenes):
        assert scene.dtype == np.float32
        assert scene.shape == (32000,)
        assert np.abs(scene).max() < 1
        assert -45.1 < 20 * np.log10(np.sqrt(np.mean(scene**2))) < -24.9
        np.testing.assert_array_equal(scene, generate_scene(label, seed, seconds=2.0))
    correlations = np.abs(np.corrcoef(scenes) - np.eye(8))
    assert correlations.max() < 0.5


def test_levels_are_spread() -> None:
    levels = [20 * np.log10(np.std(generate_scene("park", seed, seconds=0.5))) for seed in range(60)]
    assert min(levels) < -43
    assert max(levels) > -27


@pytest.mark.parametrize(("seconds", "rate", "count"), [(0.01, 16000, 160), (1.5, 48000, 72000), (1.0, 8000, 8000)])
def test_any_duration_and_rate(seconds: float, rate: int, count: int) -> None:
    for label in TAU_LABELS:
        scene = generate_scene(label, 3, seconds, rate)
        assert scene.shape == (count,)
        assert np.isfinite(scene).all()


def test_place_shapes_the_background() -> None:
    def spectrum(seed: int, place: int) -> npt.NDArray[np.float32]:
        frames = LogMel(FrontEnd(mels=32))(generate_scene("bus", seed, 4.0, place=place))[4:]
        mean: npt.NDArray[np.float32] = frames.mean(0)
        return mean

    def distance(one: npt.NDArray[np.float32], two: npt.NDArray[np.float32]) -> float:
        return float(np.std(one - two))

    same = [distance(spectrum(i, i), spectrum(i + 100, i)) for i in range(8)]
    other = [distance(spectrum(i, i), spectrum(i + 100, i + 1)) for i in range(8)]
    assert np.mean(same) < 0.8 * np.mean(other)


def test_speed() -> None:
    generate_scene("park", 0)
    start = time.process_time()
    for label in TAU_LABELS:
        generate_scene(label, 1)
    assert time.process_time() - start < 10 * 0.1


def ridge_accuracy(features: npt.NDArray[np.float64]) -> float:
    """Accuracy on the last third of (labels, clips, values) of least squares fitted to the rest."""
    labels, clips, values = features.shape
    parts = np.split(features, [2 * clips // 3], axis=1)
    train, test = (part.reshape(-1, values) for part in parts)
    answers = [np.repeat(np.arange(labels), part.shape[1]) for part in parts]
    mean, scale = train.mean(0), train.std(0)
    train, test = ((part - mean) / scale for part in (train, test))
    targets = np.eye(labels)[answers[0]] - 1 / labels
    weights = np.linalg.solve(train.T @ train + 100 * np.eye(values), train.T @ targets)
    return float(np.mean((test @ weights).argmax(1) == answers[1]))


def test_ten_seconds_tell_more_than_one() -> None:
    log_mel = LogMel(FrontEnd(mels=32))
    clips = [[log_mel(generate_scene(label, seed)) for seed in range(30)] for label in TAU_LABELS]
    frames = np.array(clips)

    def accuracy(seconds: int) -> float:
        part = frames[:, :, : seconds * 16000 // 512].astype(np.float64)
        shape = part.mean(2) - part.mean((2, 3))[..., None]
        return ridge_accuracy(np.concatenate((shape, part.std(2)), axis=2))

    one, ten = accuracy(1), accuracy(10)
    assert one > 0.18
    assert one < ten - 0.2
    assert 0.65 < ten < 0.97


def test_write_scenes(tmp_path: Path) -> None:
    root = tmp_path / "tau2019"
    dataset = write_scenes(root, 6, seed=5, seconds=0.3)
    assert dataset == Dataset.open(root)
    assert (dataset.name, dataset.labels, tuple(dataset.folds)) == ("generated", TAU_LABELS, (1,))
    assert len(dataset.clips) == 60
    dataset.check()
    train, evaluate = dataset.split(1, "train"), dataset.split(1, "evaluate")
    assert (len(train), len(evaluate)) == (40, 20)
    assert {clip.label for clip in train} == {clip.label for clip in evaluate} == set(TAU_LABELS)
    assert {clip.group for clip in train}.isdisjoint(clip.group for clip in evaluate)
    assert len({clip.group for clip in dataset.clips}) == 30
    listed = (root / "evaluation_setup/fold1_test.csv").read_text().split()
    assert listed == ["filename", *(clip.filename for clip in evaluate)]
    info = soundfile.info(dataset.path(evaluate[0]))
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16000, 1, "PCM_16", 4800)
    sounds = {audio.read(dataset.path(clip)).tobytes() for clip in dataset.clips}
    assert len(sounds) == 60


@pytest.mark.parametrize(("clips", "folds"), [(2, 1), (2, 2), (3, 3), (9, 4)])
def test_folds(tmp_path: Path, clips: int, folds: int) -> None:
    dataset = write_scenes(tmp_path, clips, seed=0, seconds=0.05, folds=folds)
    dataset.check()
    assert tuple(dataset.folds) == tuple(range(1, folds + 1))
    for fold in dataset.folds:
        for part in (dataset.split(fold, "train"), dataset.split(fold, "evaluate")):
            assert {clip.label for clip in part} == set(TAU_LABELS)
    evaluated = [clip.filename for fold in dataset.folds for clip in dataset.split(fold, "evaluate")]
    assert len(set(evaluated)) == len(evaluated)
    if folds > 1:
        assert len(evaluated) == len(dataset.clips)


def test_interrupted_scenes_are_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = audio.write
    written: list[Path] = []

    def interrupted(path: Path, samples: npt.NDArray[np.float32], sample_rate: int) -> None:
        if len(written) == 7:
            raise KeyboardInterrupt
        write(path, samples, sample_rate)
        written.append(path)

    root = tmp_path / "scenes"
    with monkeypatch.context() as patch:
        patch.setattr(audio, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_scenes(root, 2, seed=0, seconds=0.05)
    assert not (root / "meta.csv").exists()
    times = [path.stat().st_mtime_ns for path in written]
    taken_up = write_scenes(root, 2, seed=0, seconds=0.05)
    taken_up.check()
    assert [path.stat().st_mtime_ns for path in written] == times
    at_once = write_scenes(tmp_path / "other", 2, seed=0, seconds=0.05)
    for clip in at_once.clips:
        assert taken_up.path(clip).read_bytes() == at_once.path(clip).read_bytes()


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 2, seed=0, seconds=0.05)
    with pytest.raises(DatasetError, match="choose another folder"):
        write_scenes(tmp_path / "scenes", 2, seed=1, seconds=0.05)
    with pytest.raises(DatasetError, match="not empty, and not written by this generator"):
        write_scenes(tmp_path, 2, seed=0, seconds=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "moon"}, "no generated scenes for label 'moon'"),
        ({"seconds": 0.0}, "expected a positive duration"),
        ({"seconds": float("nan")}, "expected a positive duration"),
        ({"sample_rate": 0}, "expected a positive duration"),
        ({"seed": -1}, "seed of at least 0"),
        ({"place": -1}, "seed of at least 0"),
    ],
)
def test_bad_scene(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        generate_scene(**{"label": "bus", "seed": 0, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "arguments", [{"clips": 1}, {"clips": 2, "folds": 3}, {"folds": 0}, {"seconds": -1.0}, {"seed": -1}]
)
def test_bad_set_of_scenes(tmp_path: Path, arguments: dict[str, float]) -> None:
    arguments = {"clips": 4, "seed": 0, **arguments}
    root = tmp_path / "scenes"
    with pytest.raises(DatasetError, match="expected"):
        write_scenes(root, arguments.pop("clips"), **arguments)  # type: ignore[arg-type]
    assert not root.exists()
