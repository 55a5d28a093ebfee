from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_asc import audio
from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import Crop, default_cache
from edge_asc.data.generated import write_scenes
from edge_asc.errors import DatasetError, EdgeAscError
from edge_asc.files import sha256 as files_sha256
from edge_asc.frontend import FrontEnd, LogMel
from recording import RecordingProgress

FRONT_END = FrontEnd(mels=16)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return write_scenes(tmp_path / "scenes", 2, seed=1, seconds=0.2)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", FRONT_END)


def files(cache: FeatureCache) -> list[Path]:
    return sorted(path for path in cache.directory.rglob("*") if path.is_file())


def refuse_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, sample_rate: int) -> None:
        raise AssertionError(f"{path} was read although it is cached")

    monkeypatch.setattr(audio, "stream", read)


def test_raw_log_mel(dataset: Dataset, tmp_path: Path) -> None:
    normalised = FRONT_END.with_normalisation(np.ones(16), np.full(16, 2.0))
    features = FeatureCache(tmp_path, normalised).features(dataset, dataset.clips)
    assert len(features) == len(dataset.clips)
    for clip, frames in zip(dataset.clips, features, strict=True):
        np.testing.assert_array_equal(frames, LogMel(FRONT_END)(audio.read(dataset.path(clip))))
        assert isinstance(frames, np.memmap)
        assert frames.dtype == np.float32
        assert not frames.flags.writeable


def test_sequence(dataset: Dataset, cache: FeatureCache) -> None:
    features = cache.features(dataset, dataset.clips[3:6])
    np.testing.assert_array_equal(features[-1], features[2])
    assert [len(part) for part in (features[1:], features[5:])] == [2, 0]
    np.testing.assert_array_equal(features[1:][0], features[1])
    with pytest.raises(IndexError):
        features[3]


def test_computed_once(dataset: Dataset, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [np.array(frames) for frames in cache.features(dataset, dataset.clips)]
    refuse_to_read(monkeypatch)
    again = cache.features(dataset, dataset.clips)
    for before, after in zip(first, again, strict=True):
        np.testing.assert_array_equal(before, after)


def test_key(dataset: Dataset, cache: FeatureCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.features(dataset, dataset.clips)
    others = [FrontEnd(mels=17), FrontEnd(mels=16, hop=256), FrontEnd(mels=16, floor=1e-6)]
    directories = {FeatureCache(tmp_path / "cache", other).directory for other in others}
    assert len(directories - {cache.directory}) == 3
    refuse_to_read(monkeypatch)
    normalised = FRONT_END.with_normalisation(np.ones(16), np.ones(16))
    assert FeatureCache(tmp_path / "cache", normalised).features(dataset, dataset.clips)


def test_equal_audio_is_stored_once(dataset: Dataset, cache: FeatureCache) -> None:
    one, two, *_ = dataset.clips
    shutil.copyfile(dataset.path(one), dataset.path(two))
    features = cache.features(dataset, (one, two))
    np.testing.assert_array_equal(features[0], features[1])
    assert len(files(cache)) == 1


def test_changed_audio_is_computed_again(dataset: Dataset, cache: FeatureCache) -> None:
    clip = dataset.clips[0]
    cache.features(dataset, [clip])
    audio.write(dataset.path(clip), np.zeros(1024, np.float32))
    (frames,) = cache.features(dataset, [clip])
    np.testing.assert_array_equal(frames, np.full((2, 16), np.log(np.float32(FRONT_END.floor))))


def flip(content: bytes) -> bytes:
    """Change one bit of the last frame, which is a valid number all the same."""
    damaged = bytearray(content)
    damaged[-40] ^= 1
    return bytes(damaged)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "header cut": lambda file: file.write_bytes(file.read_bytes()[:60]),
    "empty": lambda file: file.write_bytes(b""),
    "garbage": lambda file: file.write_bytes(b"x" * 4000),
    "float64": lambda file: np.save(file, np.zeros((6, 16))),
    "one bit": lambda file: file.write_bytes(flip(file.read_bytes())),
    "other mels": lambda file: np.save(file, np.zeros((6, 15), np.float32)),
    "scalar": lambda file: np.save(file, np.float32(0)),
    "archive": lambda file: file.write_bytes(b"PK\x03\x04 and no more"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_computed_again(dataset: Dataset, cache: FeatureCache, damage: str) -> None:
    clips = dataset.clips[:1]
    expected = np.array(cache.features(dataset, clips)[0])
    (file,) = files(cache)
    DAMAGES[damage](file)
    np.testing.assert_array_equal(cache.features(dataset, clips)[0], expected)
    assert files(cache) == [file]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interruption(
    dataset: Dataset,
    cache: FeatureCache,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException],
) -> None:
    save = np.save
    saved: list[Path] = []

    def interrupted(path: Path, frames: Any) -> None:
        if len(saved) == 2:
            path.write_bytes(b"\x93NUMPY half of a header")
            raise interruption
        save(path, frames)
        saved.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(np, "save", interrupted)
        with pytest.raises(interruption):
            cache.features(dataset, dataset.clips)
    done = files(cache)
    assert [file.suffix for file in done] == [".npy", ".npy"]
    times = [file.stat().st_mtime_ns for file in done]
    assert len(cache.features(dataset, dataset.clips)) == len(dataset.clips)
    assert [file.stat().st_mtime_ns for file in done] == times


def test_unreadable_clips_are_listed_at_once(dataset: Dataset, cache: FeatureCache) -> None:
    gone, broken, short, *fine = dataset.clips
    dataset.path(gone).unlink()
    dataset.path(broken).write_bytes(b"no audio")
    audio.write(dataset.path(short), np.zeros(100, np.float32))
    with pytest.raises(DatasetError) as caught:
        cache.features(dataset, dataset.clips)
    message = str(caught.value)
    assert "clips that cannot be read (3)" in message
    for clip in (gone, broken, short):
        assert clip.filename in message
    assert "expected at least 512 samples" in message
    assert len(files(cache)) == len(fine)


def test_more_clips_than_descriptors(dataset: Dataset, cache: FeatureCache) -> None:
    resource = pytest.importorskip("resource", reason="only POSIX limits the open files of a process")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 10, hard))
    try:
        features = cache.features(dataset, dataset.clips)
        total = sum(len(frames) for frames in features)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(dataset.clips) > 10
    assert total == len(dataset.clips) * (3200 // 512)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files that were written a moment ago for settled."""
    monkeypatch.setattr("edge_asc.data.cache.SETTLED_NS", -(10**18))


def test_other_audio_of_the_same_size_and_time_is_computed_again(
    dataset: Dataset, cache: FeatureCache, settled: None
) -> None:
    clip = dataset.clips[0]
    path = dataset.path(clip)
    before, status = np.array(cache.features(dataset, [clip])[0]), path.stat()
    path.write_bytes(dataset.path(dataset.clips[1]).read_bytes())
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (status.st_size, status.st_mtime_ns)
    (after,) = cache.features(dataset, [clip])
    assert not np.array_equal(after, before)
    np.testing.assert_array_equal(after, LogMel(FRONT_END)(audio.read(path)))


def test_files_are_hashed_once(
    dataset: Dataset, cache: FeatureCache, settled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.features(dataset, dataset.clips)
    hashed: list[Path] = []

    def sha256(path: Path) -> str:
        hashed.append(path)
        return files_sha256(path)

    monkeypatch.setattr("edge_asc.data.cache.sha256", sha256)
    again = cache.features(Dataset.open(dataset.root), dataset.clips)
    assert hashed == []
    changed = dataset.path(dataset.clips[3])
    audio.write(changed, np.zeros(3200, np.float32))
    found = cache.features(dataset, dataset.clips)
    assert [path for path in hashed if path.suffix == ".wav"] == [changed]
    assert not np.array_equal(found[3], again[3])
    np.testing.assert_array_equal(found[2], again[2])


def test_a_damaged_list_of_hashes_is_made_again(dataset: Dataset, cache: FeatureCache, settled: None) -> None:
    before = cache.features(dataset, dataset.clips)
    (known,) = (cache.directory.parent / "digests").iterdir()
    whole = known.read_text()
    known.write_text(whole[: len(whole) // 2])
    after = cache.features(dataset, dataset.clips)
    np.testing.assert_array_equal(after[0], before[0])
    assert known.read_text() == whole


def test_crops_are_cut_from_the_samples(tmp_path: Path, cache: FeatureCache) -> None:
    dataset = write_scenes(tmp_path / "long", 2, seed=1, seconds=1.0)
    crop = Crop(0.5, seed=3)
    cropped = cache.features(dataset, dataset.clips, crop=crop)
    starts = set()
    for clip, frames in zip(dataset.clips, cropped, strict=True):
        samples = audio.read(dataset.path(clip))
        begin, end = crop.span(len(samples), 16000, files_sha256(dataset.path(clip)))
        cut = samples[begin:end]
        assert len(cut) == 8000
        (start,) = (i for i in range(8001) if np.array_equal(samples[i : i + 8000], cut))
        starts.add(start)
        np.testing.assert_array_equal(frames, LogMel(FRONT_END)(cut))
    assert len(starts) > 15
    other = cache.features(dataset, dataset.clips, crop=Crop(0.5, seed=4))
    assert not np.array_equal(other[0], cropped[0])
    whole = cache.features(dataset, dataset.clips, crop=Crop(5.0, seed=3))
    np.testing.assert_array_equal(whole[0], cache.features(dataset, dataset.clips)[0])


def test_progress(dataset: Dataset, cache: FeatureCache, capsys: pytest.CaptureFixture[str]) -> None:
    cache.features(dataset, dataset.clips[:4])
    progress = RecordingProgress()
    cache.features(dataset, dataset.clips, progress)
    assert progress.phases == [["Computing features", len(dataset.clips) - 4, len(dataset.clips) - 4]]
    cache.features(dataset, dataset.clips, progress)
    assert len(progress.phases) == 1
    assert capsys.readouterr() == ("", "")


def test_default_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("EDGE_ASC_CACHE", raising=False)
    assert default_cache() == Path("/home/ann/.cache/edge-asc")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Path("/xdg/edge-asc")
    monkeypatch.setenv("EDGE_ASC_CACHE", "/own")
    assert default_cache() == Path("/own")
    monkeypatch.setenv("EDGE_ASC_CACHE", "~/own")
    assert default_cache() == Path("/home/ann/own")


@pytest.mark.parametrize("folder", [None, "~/own"])
def test_cache_without_a_home(monkeypatch: pytest.MonkeyPatch, folder: str | None) -> None:
    def fail(*_: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("EDGE_ASC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if folder:
        monkeypatch.setenv("EDGE_ASC_CACHE", folder)
    monkeypatch.setattr(Path, "home", fail)
    monkeypatch.setattr(Path, "expanduser", fail)
    with pytest.raises(EdgeAscError, match="set EDGE_ASC_CACHE"):
        default_cache()


def test_a_tilde_in_the_name_of_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("EDGE_ASC_CACHE", "~/own")
    assert default_cache() == tmp_path / "own"
    monkeypatch.setenv("EDGE_ASC_CACHE", "~no-such-user/own")
    with pytest.raises(EdgeAscError, match="expected a home folder: set EDGE_ASC_CACHE"):
        default_cache()


def test_cache_in_a_folder_that_cannot_be_made(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EdgeAscError, match="set EDGE_ASC_CACHE"):
        FeatureCache(tmp_path / "file", FRONT_END).features(dataset, dataset.clips)


def test_real_recordings(scenes10: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(scenes10)
    features = FeatureCache(tmp_path, FrontEnd()).features(dataset, dataset.clips[::64])
    assert [frames.shape for frames in features] == [(156, 256)] * 5
    assert all(np.isfinite(frames).all() and frames.std() > 0.5 for frames in features)
