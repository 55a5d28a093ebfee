"""One reader for files and pipes: exact for any block, flat in memory, and nothing cut silently."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asc import audio
from edge_asc.audio import mpeg, part, reader
from edge_asc.audio.pcm import raw_format
from edge_asc.contract import AnyArray
from edge_asc.errors import AudioError, MissingExtraError
from edge_asc.frontend import check_samples


def noise(frames: int, channels: int = 1, seed: int = 0) -> AnyArray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (frames, channels)).astype(np.float32)


def encoded(container: str, subtype: str, frames: int, rate: int = 16000, channels: int = 1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, noise(frames, channels), rate, format=container, subtype=subtype)
    return file.getvalue()


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 30000),
    rate=st.sampled_from([8000, 16000, 22050, 44100, 48000]),
    channels=st.integers(1, 3),
    segments=st.integers(1, 9),
)
def test_blocks_equal_the_whole_signal_at_once(
    tmp_path_factory: pytest.TempPathFactory, frames: int, rate: int, channels: int, segments: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "blocks.wav"
    samples = noise(frames, channels)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    expected = soxr.resample(samples.mean(axis=1), rate, 16000, quality="HQ") if rate != 16000 else samples.mean(axis=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader, "FILE_BLOCK", 1024 * segments)
        if not len(expected):
            with pytest.raises(AudioError, match="expected at least one sample"):
                audio.read(path)
            return
        np.testing.assert_array_equal(audio.read(path), expected)


@pytest.mark.parametrize("piece", [1, 777, 65536])
def test_a_pipe_gives_what_the_file_gives(tmp_path: Path, piece: int) -> None:
    content = encoded("WAV", "PCM_16", 5000, 48000, 2)
    (tmp_path / "a.wav").write_bytes(content)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def write() -> None:
        with fifo.open("wb", buffering=0) as file:
            for begin in range(0, len(content), piece):
                file.write(content[begin : begin + piece])

    writer = threading.Thread(target=write)
    writer.start()
    np.testing.assert_array_equal(audio.read(fifo), audio.read(tmp_path / "a.wav"))
    writer.join()


def test_raw_samples_with_their_format(tmp_path: Path) -> None:
    codes = np.array([0, 16384, -32768, 32767], "<i2")
    (tmp_path / "a.raw").write_bytes(codes.tobytes())
    (samples,) = audio.stream(tmp_path / "a.raw", raw=raw_format("s16le", 16000, 1))
    np.testing.assert_array_equal(samples, codes / np.float32(32768))
    with pytest.raises(AudioError, match="no header"):
        audio.read(tmp_path / "a.raw")


@pytest.mark.parametrize(
    "subtype",
    ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "GSM610", "IMA_ADPCM", "MS_ADPCM"],
)
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_wav_samples_equal_those_of_libsndfile(tmp_path: Path, subtype: str, endian: str) -> None:
    if endian == "BIG" and "_U8" not in subtype and not subtype.startswith(("PCM", "FLOAT", "DOUBLE")):
        endian = "FILE"
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(3200), 16000, format="WAV", subtype=subtype, endian=endian)
    expected = soundfile.read(path, frames=3200, dtype="float32")[0] if subtype != "GSM610" else None
    read = audio.read(path)
    assert len(read) >= 3200
    if expected is not None:
        np.testing.assert_array_equal(read[:3200], expected)


def test_joined_files_are_read_whole(tmp_path: Path) -> None:
    parts = {
        "a.wav": [encoded("WAV", "PCM_16", 1600), encoded("WAV", "PCM_24", 4800, 48000, 2)],
        "a.ogg": [encoded("OGG", "VORBIS", 16000), encoded("OGG", "VORBIS", 44100, 44100), encoded("OGG", "OPUS", 960)],
        "a.mp3": [encoded("MP3", "MPEG_LAYER_III", 16000), encoded("MP3", "MPEG_LAYER_III", 44100, 44100, 2)],
    }
    for name, contents in parts.items():
        whole = []
        for index, content in enumerate(contents):
            path = tmp_path / f"{index}-{name}"
            path.write_bytes(content)
            whole.append(audio.read(path))
        (tmp_path / name).write_bytes(b"".join(contents))
        np.testing.assert_array_equal(audio.read(tmp_path / name), np.concatenate(whole))


def test_mp3_without_a_description_is_read_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = encoded("MP3", "MPEG_LAYER_III", 160000)
    first = mpeg.parse_frame(content[: mpeg.HEAD])
    assert first is not None
    assert first.information
    frames = content[first.size :]
    tag = b"ID3\3\0\0\0\0\0\x0a" + bytes(10)
    (tmp_path / "a.mp3").write_bytes(tag + frames + b"TAG" + bytes(125))
    assert len(audio.read(tmp_path / "a.mp3")) == first.promised * 576
    assert audio.duration(tmp_path / "a.mp3") == first.promised * 576 / 16000
    assert not caplog.records
    (tmp_path / "b.mp3").write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"is truncated: got .* MPEG frames"):
        audio.read(tmp_path / "b.mp3")


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_cancel_are_not_averaged(tmp_path: Path, channels: int, caplog: pytest.LogCaptureFixture) -> None:
    sound = noise(5000)
    samples = np.concatenate([sound, -sound] * (channels // 2), axis=1)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(tmp_path / "a.wav"), sound[:, 0])
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'a.wav'}: its channels cancel each other; channel 1 is read alone where they do"
    ]


def test_integers_that_were_not_divided_are_refused() -> None:
    with pytest.raises(AudioError, match="divide integer values by full scale"):
        check_samples(np.array([0.0, 3.0, -2.0, 1.0]))
    np.testing.assert_array_equal(check_samples(np.array([0.0, 1.5, -1.0])), [0.0, 1.5, -1.0])


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Stra\xdfe.wav"))
    path.write_bytes(encoded("WAV", "PCM_16", 1600))
    assert len(audio.read(path)) == 1600
    path.write_bytes(b"no audio at all")
    with pytest.raises(AudioError, match=r"Stra�e\.wav"):
        audio.read(path)


def test_a_format_of_another_library_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(struct.pack(">I", 32) + b"ftypM4A " + bytes(100))
    with pytest.raises(MissingExtraError, match=r"cannot decode MP4 or M4A; .*pip install 'edge-asc\[audio\]'"):
        audio.read(tmp_path / "a.m4a")


def test_blocks_are_whole_segments() -> None:
    assert part.FILE_BLOCK % 1024 == part.PIPE_BLOCK % 1024 == 0


def test_an_hour_through_a_pipe_takes_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="only POSIX tells the memory of a process")
    code = (
        "import resource, sys\n"
        "from edge_asc import audio\n"
        "from edge_asc.frontend import FrontEnd, LogMel\n"
        "extract, samples = LogMel(FrontEnd()), 0\n"
        "for block in audio.stream('-', 16000):\n"
        "    samples += len(block)\n"
        "    extract.push(block)\n"
        "print(samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    memory = {}
    for seconds in (60, 3600):
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            # As arecord writes it: the length is left at 2 GiB.
            process.stdin.write(b"RIFF\x24\0\0\x80WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 2, 16000, 64000, 4, 16))
            process.stdin.write(b"data\0\0\0\x80")
            second = np.random.default_rng(0).integers(-3000, 3000, 32000, np.int16).tobytes()
            for _ in range(seconds):
                process.stdin.write(second)
            process.stdin.close()
            samples, memory[seconds] = map(int, process.stdout.read().split())
            assert samples == seconds * 16000
    assert memory[3600] < memory[60] + 10 * 1024 * (1 if sys.platform != "darwin" else 1024)


def test_a_small_file_that_decodes_to_half_a_gigabyte_takes_little_memory(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="only POSIX tells the memory of a process")
    code = (
        "import resource, sys\n"
        "from edge_asc import audio\n"
        "samples = sum(len(block) for block in audio.stream(sys.argv[1], 16000))\n"
        "print(samples, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    memory, path, second = {}, tmp_path / "silence.flac", np.zeros((16000, 2), np.int16)
    for seconds in (10, 4000):
        with soundfile.SoundFile(path, "w", 16000, 2, subtype="PCM_16") as file:
            for _ in range(seconds):
                file.write(second)
        done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True)
        samples, memory[seconds] = map(int, done.stdout.split())
        assert samples == seconds * 16000
    assert path.stat().st_size < 2**20
    assert memory[4000] < memory[10] + 20 * 1024 * (1 if sys.platform != "darwin" else 1024)
