"""Data sets made ready for training: groups, duplicates, pieces of long recordings, folds, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edge_asc import audio
from edge_asc.data import FeatureCache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.data.folds import make_folds, write_folds
from edge_asc.data.groups import name_group, regroup
from edge_asc.data.preparation import FEW_CLIPS, Prepared, Settings, prepare, read_features
from edge_asc.errors import DatasetError, EdgeAscError
from edge_asc.frontend import FrontEnd
from recording import RecordingProgress


def record(path: Path, seconds: float = 0.5, rate: int = 8000) -> None:
    """Write noise that differs from that of any other path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(path.as_posix().encode())).normal(0.0, 0.1, round(seconds * rate))
    audio.write(path, noise.astype(np.float32), rate)


def make(root: Path, files: Mapping[str, float]) -> Dataset:
    for name, seconds in files.items():
        record(root / name, seconds)
    return Dataset.open(root)


def plain(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 10) -> Dataset:
    return make(root, {f"{label}/{label}{number}.wav": 0.5 for label in classes for number in range(count)})


def groups(dataset: Dataset) -> dict[str, str]:
    return {clip.filename: clip.group for clip in dataset.clips}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("dog/rec12_3.wav", "dog/rec12"),
        ("dog/rec12 (3).wav", "dog/rec12"),
        ("audio/1-100032-A-0.wav", "audio/1-100032-A"),
        ("dog/dog12.wav", "dog/dog12"),
        ("dog/bark.wav", "dog/bark"),
        ("dog2/bark_1.wav", "dog2/bark_1"),
    ],
)
def test_group_by_name(name: str, group: str) -> None:
    assert name_group(name) == group


def test_names_group_a_class_unless_they_leave_one_group(tmp_path: Path) -> None:
    dataset = make(tmp_path, dict.fromkeys(["dog/r1_1.wav", "dog/r1_2.wav", "dog/r2_1.wav"], 0.5))
    dataset = make(tmp_path, dict.fromkeys(["cat/2024_1.wav", "cat/2024_2.wav"], 0.5))
    assert groups(regroup(dataset)) == {
        "cat/2024_1.wav": "cat/2024_1",
        "cat/2024_2.wav": "cat/2024_2",
        "dog/r1_1.wav": "dog/r1",
        "dog/r1_2.wav": "dog/r1",
        "dog/r2_1.wav": "dog/r2",
    }
    assert set(groups(regroup(dataset, "name")).values()) == {"cat/2024", "dog/r1", "dog/r2"}
    assert len(set(groups(regroup(dataset, "file")).values())) == 5


def test_a_column_groups(tmp_path: Path) -> None:
    for name in "abc":
        record(tmp_path / f"{name}.wav")
    (tmp_path / "labels.csv").write_text("file,label,Recorded By\na.wav,dog,ann\nb.wav,dog,ann\nc.wav,cat,\n")
    dataset = Dataset.open(tmp_path)
    assert groups(regroup(dataset, "recorded by")) == {
        "a.wav": "recorded by ann",
        "b.wav": "recorded by ann",
        "c.wav": "c",
    }
    with pytest.raises(
        DatasetError, match=r"no column speaker; expected file, name, or .* \(file, label, recorded_by\)"
    ):
        prepare(dataset, Settings(group="speaker"))


def clips(counts: Mapping[str, Mapping[str, int]]) -> list[Clip]:
    """Clips by label, group and number."""
    return [
        Clip(f"{group}-{number}.wav", label, group)
        for label, by_group in counts.items()
        for group, count in by_group.items()
        for number in range(count)
    ]


def test_folds_hold_out_each_group_once_and_each_class_evenly() -> None:
    given = clips({"dog": {f"d{i}": 1 + i % 3 for i in range(20)}, "cat": {f"c{i}": 2 for i in range(8)}})
    folds = make_folds(given, 4, seed=0)
    assert list(folds) == [1, 2, 3, 4]
    held = [clip for fold in folds.values() for clip in fold.evaluate]
    assert Counter(held) == Counter(given)
    for fold in folds.values():
        assert not {clip.group for clip in fold.train} & {clip.group for clip in fold.evaluate}
        assert len(fold.train) + len(fold.evaluate) == len(given)
        labels = Counter(clip.label for clip in fold.evaluate)
        assert labels["cat"] == 4
        assert labels["dog"] in (9, 10)
    again = make_folds(given[::-1], 4, seed=0)
    assert {n: set(fold.evaluate) for n, fold in again.items()} == {n: set(fold.evaluate) for n, fold in folds.items()}
    other = make_folds(given, 4, seed=1)
    assert {n: set(fold.evaluate) for n, fold in other.items()} != {n: set(fold.evaluate) for n, fold in folds.items()}


def test_the_only_group_of_a_class_is_never_held_out() -> None:
    given = clips({"dog": {"d": 5}, "cat": {"a": 2, "b": 2, "c": 1}, "cow": {"x": 1, "y": 1}})
    folds = make_folds(given, 4, seed=0)
    assert len(folds) == 3  # as many as the class with most groups has
    assert {clip.label for fold in folds.values() for clip in fold.evaluate} == {"cat", "cow"}
    assert all(sum(clip.label == "dog" for clip in fold.train) == 5 for fold in folds.values())
    assert make_folds(clips({"dog": {"d": 5}, "cat": {"c": 5}}), 4, seed=0) == {}


def test_written_folds_make_a_tau_data_set_of_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "my data"
    prepared = prepare(
        make(root, {"cat/a b.wav": 0.5, "cat/ü.wav": 0.5, "dog/a b.wav": 2.6, "dog/c.wav": 0.5}), Settings(1.0)
    )
    dataset = prepared.dataset
    assert len(dataset.clips) == 6
    path = write_folds(tmp_path / "model", dataset)
    assert write_folds(tmp_path / "model", dataset) == path  # the same again is no error
    assert sorted(file.name for file in (tmp_path / "model").iterdir()) == ["split"]
    for file in path.rglob("*.csv"):
        target = root / file.relative_to(path)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(file.read_bytes())
    copied = Dataset.open(root)
    copied.check()
    assert copied.layout == "tau"
    assert groups(copied) == groups(dataset)
    assert {n: {clip.filename for clip in fold.evaluate} for n, fold in copied.folds.items()} == {
        n: {clip.filename for clip in fold.evaluate} for n, fold in dataset.folds.items()
    }
    (path / "meta.csv").write_text("other")
    with pytest.raises(EdgeAscError, match=r"split: holds the folds of other clips"):
        write_folds(tmp_path / "model", dataset)


def test_long_recordings_are_cut_into_clips_of_one_group(tmp_path: Path) -> None:
    prepared = prepare(
        make(tmp_path, {"dog/long.wav": 5.4, "dog/b.wav": 2.0, "cat/a.wav": 5.6, "cat/b.wav": 1.0}), Settings(1.0)
    )
    pieces = {
        name: [(clip.start, clip.end) for clip in prepared.dataset.clips if clip.filename == name]
        for name in prepared.dataset.by_filename
    }
    assert pieces["dog/b.wav"] == [(0.0, None)]
    assert pieces["dog/long.wav"] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, None)]  # the rest is 0.4 s
    assert len(pieces["cat/a.wav"]) == 6
    assert {clip.group for clip in prepared.dataset.clips if clip.filename == "dog/long.wav"} == {"dog/long"}
    lengths = [prepared.seconds(clip) for clip in prepared.dataset.clips if clip.filename == "dog/long.wav"]
    assert lengths == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.4])
    for fold in prepared.dataset.folds.values():
        for part in (fold.train, fold.evaluate):
            assert sum(clip.filename == "dog/long.wav" for clip in part) in (0, 5)


def test_a_piece_has_the_frames_of_its_file(tmp_path: Path) -> None:
    prepared = prepare(make(tmp_path / "data", {"dog/a.wav": 3.1, "dog/b.wav": 1.0, "cat/a.wav": 1.0}), Settings(1.0))
    dataset = prepared.dataset
    cache, progress = FeatureCache(tmp_path / "cache", FrontEnd(mels=16)), RecordingProgress()
    features = cache.features(dataset, dataset.clips, progress)
    assert progress.phases == [["Computing features", 3, 3.0]]  # each file once
    whole = cache.features(dataset, [Clip("dog/a.wav", "dog", "x")])[0]
    parts = [features[i] for i, clip in enumerate(dataset.clips) if clip.filename == "dog/a.wav"]
    assert [len(part) for part in parts] == [31, 31, len(whole) - 62]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert features.digest() != cache.features(dataset, dataset.clips[:-1]).digest()
    first, second = (cache.features(dataset, [dataset.clips[i]]).digest() for i in (2, 3))
    assert dataset.clips[2].filename == dataset.clips[3].filename
    assert first != second


def test_files_of_equal_content_are_one_group(tmp_path: Path) -> None:
    plain(tmp_path)
    content = (tmp_path / "cat/cat0.wav").read_bytes()
    (tmp_path / "cat/copy.wav").write_bytes(content)
    (tmp_path / "dog/copy.wav").write_bytes(content)
    prepared = prepare(Dataset.open(tmp_path))
    assert (
        len({clip.group for clip in prepared.dataset.clips if "copy" in clip.filename or "cat0" in clip.filename}) == 1
    )
    same, labels = [warning for warning in prepared.warnings if "same audio" in warning]
    assert (
        same
        == "2 files hold the same audio as another one, such as cat/cat0.wav and cat/copy.wav; they are in one group"
    )
    assert labels.startswith("the same audio has different labels in 1 cases, such as cat/cat0.wav and dog/copy.wav")
    for fold in prepared.dataset.folds.values():
        assert not {clip.group for clip in fold.train} & {clip.group for clip in fold.evaluate}


def problems(prepared: Prepared) -> str:
    with pytest.raises(DatasetError) as caught:
        prepared.check()
    return str(caught.value)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    text = problems(prepare(plain(tmp_path, ("dog",), 3)))
    assert "only the class dog has a file that can be used; expected two classes or more" in text


def test_files_that_cannot_be_used_are_all_listed(tmp_path: Path) -> None:
    plain(tmp_path)
    (tmp_path / "dog/empty.wav").write_bytes(b"")
    (tmp_path / "cat/text.mp3").write_bytes(b"no audio at all, only text" * 10)
    record(tmp_path / "cat/click.wav", 0.1)
    dataset = Dataset.open(tmp_path)
    text = problems(prepare(dataset))
    assert "problems found (3)" in text
    assert "empty.wav: is empty (0 bytes)" in text
    assert "text.mp3" in text
    assert "cat/click.wav: lasts 0.100 s; expected at least 0.3 s" in text
    prepared = prepare(dataset, Settings(skip=True))
    prepared.check()
    assert len(prepared.dataset.clips) == 20
    assert any(warning.startswith("files left out (3): ") for warning in prepared.warnings)


def test_files_that_break_off_are_found_before_a_training(tmp_path: Path) -> None:
    dataset = plain(tmp_path / "data")
    flac = tmp_path / "data/dog/broken.flac"
    import soundfile

    soundfile.write(flac, np.random.default_rng(0).normal(0.0, 0.1, 16000), 16000)
    content = bytearray(flac.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 400] = bytes(400)
    flac.write_bytes(content)
    dataset = Dataset.open(tmp_path / "data")
    prepared = prepare(dataset)
    prepared.check()
    cache = FeatureCache(tmp_path / "cache", FrontEnd(mels=16))
    with pytest.raises(DatasetError, match=r"clips that cannot be read \(1\):\n  .*broken\.flac"):
        read_features(prepared, cache, skip=False)
    left = read_features(prepared, cache, skip=True)
    assert len(left.dataset.clips) == 20
    assert all(clip.filename != "dog/broken.flac" for fold in left.dataset.folds.values() for clip in fold.train)
    assert "files left out (1): " in left.warnings[-1]


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("dog\nbark", r"label 'dog\nbark': holds a line end or another control character"),
        ("x" * 300, "has 300 characters; expected at most 256"),
        ("", "1 files have no label, such as x.wav"),
    ],
)
def test_labels_that_a_model_cannot_carry(tmp_path: Path, label: str, message: str) -> None:
    for name in "xyz":
        record(tmp_path / f"{name}.wav")
    (tmp_path / "list.csv").write_text(f'file,label\nx.wav,"{label}"\ny.wav,cat\nz.wav,dog\n')
    assert message in problems(prepare(Dataset.open(tmp_path)))


def test_labels_with_brackets_are_labels(tmp_path: Path) -> None:
    prepared = prepare(plain(tmp_path, ("dog [loud]", "[red]cat")))
    prepared.check()
    assert prepared.dataset.labels == ("[red]cat", "dog [loud]")


def test_a_class_of_one_recording_is_a_warning(tmp_path: Path) -> None:
    plain(tmp_path, ("cat", "cow"))
    record(tmp_path / "dog/day.wav", 2.2)
    prepared = prepare(Dataset.open(tmp_path), Settings(1.0))
    prepared.check()
    assert any(
        warning.startswith("dog: all its clips come from one recording or group, so its held-out accuracy cannot be")
        for warning in prepared.warnings
    )
    assert any(warning.startswith("dog: has 1 file; expected 10 or more") for warning in prepared.warnings)
    assert {clip.label for fold in prepared.dataset.folds.values() for clip in fold.evaluate} == {"cat", "cow"}


def test_warnings_about_groups_and_rates(tmp_path: Path) -> None:
    plain(tmp_path, ("cat",))
    for number in range(10):
        record(tmp_path / f"dog/r{number // 2}_{number}.wav", rate=16000)
    prepared = prepare(Dataset.open(tmp_path))
    names, rates = prepared.warnings
    assert names.startswith("the file names of cat do not show which files come from one recording")
    assert rates.startswith("all files of cat have sample rates below 16 kHz, those of other classes do not")


def test_groups_in_both_parts_of_given_folds_are_a_warning(tmp_path: Path) -> None:
    dataset = make(
        tmp_path, dict.fromkeys(["train/dog/a.wav", "train/cat/a.wav", "test/dog/b.wav", "test/cat/b.wav"], 0.5)
    )
    (tmp_path / "test/dog/b.wav").write_bytes((tmp_path / "train/dog/a.wav").read_bytes())
    prepared = prepare(dataset)
    prepared.check()
    assert any(
        warning.startswith("fold 1: 1 recordings or groups are in both of its parts") for warning in prepared.warnings
    )
    assert not prepared.is_cross_validated


def test_many_files(tmp_path: Path) -> None:
    record(tmp_path / "source.wav", 0.4)
    content = (tmp_path / "source.wav").read_bytes()
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(2500):
            (tmp_path / f"data/{label}/x{number}.wav").write_bytes(
                content[:-4] + number.to_bytes(2, "little") + label.encode()[:2]
            )
    progress = RecordingProgress()
    prepared = prepare(Dataset.open(tmp_path / "data"), progress=progress)
    assert len(prepared.dataset.clips) == 5000 > FEW_CLIPS
    assert [len(fold.evaluate) for fold in prepared.dataset.folds.values()] == [1250] * 4
    assert not prepared.is_cross_validated
    assert progress.phases[0] == ["Measuring sound files", 5000, 5000.0]
