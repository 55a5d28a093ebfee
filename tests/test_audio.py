import logging
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, Self

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge_asc import audio
from edge_asc.audio.microphone import BACKLOG
from edge_asc.contract import AnyArray
from edge_asc.errors import AudioError, MissingExtraError

HEADER = 44  # bytes before the samples of a plain WAV


Blocks = Sequence[Sequence[float]] | AnyArray
finite = st.floats(-1, 1, width=32)


def tone(frequency: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> AnyArray:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


def noise(frames: int = 16000, level: float = 0.1) -> AnyArray:
    return np.random.default_rng(0).uniform(-level, level, frames)


def rms(samples: AnyArray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def saved(path: Path, samples: AnyArray, rate: int = 16000, **options: str) -> Path:
    soundfile.write(path, samples, rate, **options)
    return path


def wav(
    path: Path,
    riff: int | None = None,
    data: int | None = None,
    keep: int | None = None,
    order: Literal["little", "big"] = "little",
) -> Path:
    """A mono 16-bit WAV of 1 s whose header claims `riff` and `data` bytes, cut to `keep` bytes."""
    content = bytearray(saved(path, noise(), subtype="PCM_16", endian=order.upper()).read_bytes())
    for offset, size in ((4, riff), (HEADER - 4, data)):
        if size is not None:
            content[offset : offset + 4] = size.to_bytes(4, order)
    path.write_bytes(content[:keep])
    return path


def refusal(path: Path, call: Callable[[Path], object] = audio.read) -> str:
    with pytest.raises(AudioError) as caught:
        call(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "expected" in message
    return message


@pytest.mark.parametrize(
    ("subtype", "step"),
    [
        ("PCM_U8", 2**-7),
        ("PCM_16", 2**-15),
        ("PCM_24", 2**-23),
        ("PCM_32", 2**-24),
        ("FLOAT", 2**-25),
        ("DOUBLE", 2**-25),
    ],
)
def test_every_bit_depth_keeps_samples_to_one_step(tmp_path: Path, subtype: str, step: float) -> None:
    samples = tone(1000, 16000, level=0.9)
    read = audio.read(saved(tmp_path / "a.wav", samples, subtype=subtype))
    assert read.dtype == np.float32
    assert read.shape == samples.shape
    np.testing.assert_allclose(read, samples, rtol=0, atol=step)


@pytest.mark.parametrize("channels", range(1, 7))
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_tone_keeps_its_frequency_and_level_at_any_rate(tmp_path: Path, rate: int, channels: int) -> None:
    samples = np.repeat(tone(1000, rate)[:, None], channels, axis=1)
    read = audio.read(saved(tmp_path / "a.wav", samples, rate, subtype="FLOAT"))
    assert len(read) == 16000
    # Beyond the ends of the resampler's filter, the very tone in the very phase.
    np.testing.assert_allclose(read[1000:-1000], tone(1000, 16000)[1000:-1000], rtol=0, atol=1e-4)


def test_tone_above_the_new_nyquist_vanishes(tmp_path: Path) -> None:
    samples = tone(12000, 48000)
    read = audio.read(saved(tmp_path / "a.wav", samples, 48000, subtype="FLOAT"))
    assert rms(read[1000:-1000]) < 1e-5 * rms(samples)


def test_other_target_rate(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", tone(1000, 16000), subtype="FLOAT")
    read = audio.read(path, 48000)
    np.testing.assert_allclose(read[3000:-3000], tone(1000, 48000)[3000:-3000], rtol=0, atol=1e-4)


@pytest.mark.parametrize("channels", [2, 3, 6])
def test_channels_are_averaged(tmp_path: Path, channels: int) -> None:
    samples = np.random.default_rng(1).uniform(-1, 1, (1000, channels)).astype(np.float32)
    read = audio.read(saved(tmp_path / "a.wav", samples, subtype="FLOAT"))
    np.testing.assert_allclose(read, samples.mean(axis=1, dtype=np.float64), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_quiet_audio_passes_unscaled(tmp_path: Path, rate: int) -> None:
    level = 10 ** (-57 / 20)
    samples = tone(1000, rate, level=level * np.sqrt(2))
    read = audio.read(saved(tmp_path / "a.wav", samples, rate, subtype="PCM_24"))
    assert rms(read[1000:-1000]) == pytest.approx(level, rel=1e-3)


def test_full_scale_and_beyond_pass_unscaled(tmp_path: Path) -> None:
    extremes = np.tile(np.array([-32768, 32767], np.int16), 1000)
    np.testing.assert_array_equal(audio.read(saved(tmp_path / "a.wav", extremes)), extremes / np.float32(32768))
    loud = np.tile(np.array([-3.25, 1.0], np.float32), 1000)
    np.testing.assert_array_equal(audio.read(saved(tmp_path / "b.wav", loud, subtype="FLOAT")), loud)


FORMATS = [
    ("WAV", "PCM_16"),
    ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"),
    ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
    ("CAF", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_every_container_reads_whole(tmp_path: Path, container: str, subtype: str) -> None:
    samples = tone(1000, 16000, seconds=3)
    path = saved(tmp_path / "a.bin", samples, format=container, subtype=subtype)
    read = audio.read(str(path))
    assert read.shape == samples.shape
    assert rms(read - samples) < 0.05 * rms(samples)
    assert audio.duration(str(path)) == 3.0


@pytest.mark.parametrize("part", [0.2, 0.7, 0.999])
@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_every_container_cut_short_is_refused(tmp_path: Path, container: str, subtype: str, part: float) -> None:
    path = saved(tmp_path / "a.bin", noise(48000), format=container, subtype=subtype)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    message = refusal(path)
    assert "is truncated: got " in message or "cannot be decoded" in message


@settings(deadline=None)
@given(hnp.arrays(np.float32, st.integers(1, 200), elements=finite))
def test_mono_float_wav_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, samples: AnyArray) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.wav"
    audio.write(path, samples, subtype="FLOAT")
    np.testing.assert_array_equal(audio.read(path), samples)


@settings(deadline=None)
@given(hnp.arrays(np.int16, st.integers(1, 200)))
def test_16_bit_wav_round_trip_is_exact(tmp_path_factory: pytest.TempPathFactory, codes: AnyArray) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip-16.wav"
    samples = codes / np.float32(32768)
    audio.write(path, samples)
    np.testing.assert_array_equal(audio.read(path), samples)


@settings(deadline=None)
@given(st.integers(0, 1043))
def test_wav_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, keep: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.wav"
    audio.write(path, noise(500))
    path.write_bytes(path.read_bytes()[:keep])
    refusal(path)
    refusal(path, audio.duration)


@pytest.mark.parametrize("call", [audio.read, audio.duration])
def test_missing_file(tmp_path: Path, call: Callable[[Path], object]) -> None:
    assert "no such file" in refusal(tmp_path / "none.wav", call)


def test_directory(tmp_path: Path) -> None:
    assert "is a folder" in refusal(tmp_path)


def test_file_of_0_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    assert "is empty (0 bytes)" in refusal(tmp_path / "a.wav")


@pytest.mark.parametrize("container", ["WAV", "AIFF", "W64"])
def test_file_of_0_frames(tmp_path: Path, container: str) -> None:
    path = saved(tmp_path / "a.bin", np.zeros(0), format=container, subtype="PCM_16")
    assert "is empty (0 frames)" in refusal(path)
    assert "is empty (0 frames)" in refusal(path, audio.duration)


def test_file_shorter_than_one_sample_of_the_new_rate(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", np.zeros(1), 192000)
    assert "lasts 1 frames at 192000 Hz" in refusal(path)


def test_text_named_wav(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_text("not audio at all\n" * 100)
    assert "Format not recognised" in refusal(path)


def test_raw_samples(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(bytes(1000))
    assert "no header" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_nan_and_infinities(tmp_path: Path, value: float, rate: int) -> None:
    samples = np.stack([noise(), noise()], axis=1)
    samples[100:103, 1] = value
    path = saved(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    assert "holds 3 NaN or infinite samples" in refusal(path)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("call", [audio.read, audio.duration])
def test_wav_whose_header_promises_more_than_it_holds(
    tmp_path: Path, order: Literal["little", "big"], call: Callable[[Path], object]
) -> None:
    message = refusal(wav(tmp_path / "cut.wav", keep=20000, order=order), call)
    assert "is truncated: got 20000 bytes; expected at least 32044" in message
    assert "data chunk" in refusal(wav(tmp_path / "data.wav", data=32002, order=order), call)
    assert "got 44 bytes" in refusal(wav(tmp_path / "header.wav", keep=HEADER, order=order), call)
    call(wav(tmp_path / "riff.wav", riff=40000, order=order))  # the RIFF size is informational


def test_truncation_is_found_behind_other_chunks(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", riff=0xFFFFFFFF)
    content = path.read_bytes()
    # Longer than the log in which libsndfile itself notes the shortfall, and odd, hence padded.
    note = b"bext" + struct.pack("<I", 5001) + b"note" * 1250 + b"e\0"
    path.write_bytes(content[:36] + note + content[36:])
    assert len(audio.read(path)) == 16000
    path.write_bytes(path.read_bytes()[:-2])
    assert "data chunk" in refusal(path)


@pytest.mark.parametrize("riff", [None, 0, 0xFFFFFFFF])
def test_wav_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, riff: int | None) -> None:
    path = wav(tmp_path / "a.wav", riff=riff, data=0xFFFFFFFF)
    np.testing.assert_allclose(audio.read(path), noise(), rtol=0, atol=2**-15)
    assert audio.duration(path) == 1.0


def test_rf64_whose_64_bit_size_promises_more_than_it_holds(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", noise(), format="RF64", subtype="PCM_16")
    content = bytearray(path.read_bytes())
    assert content[12:16] == b"ds64"
    content[28:36] = (1000000).to_bytes(8, "little")
    path.write_bytes(content)
    assert "data chunk" in refusal(path)


def test_ogg_cut_between_pages(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ogg", noise(160000), format="OGG", subtype="VORBIS")
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"OggS")])
    assert soundfile.info(path).frames > 0
    assert "marked as the end of the stream" in refusal(path)


@pytest.mark.parametrize("riff", [0, 8, 36, 0x80000024, 0xFFFFFFFF])
@pytest.mark.parametrize("data", [0, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF, 0xFFFFFFDB])
def test_wav_whose_length_was_never_filled_in_is_read_to_its_end(
    tmp_path: Path, riff: int, data: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = wav(tmp_path / "a.wav", riff=riff, data=data)
    np.testing.assert_allclose(audio.read(path), noise(), rtol=0, atol=2**-15)
    assert [r.message for r in caplog.records] == [f"{path}: its header leaves the length open; it is read to its end"]


def test_wav_of_no_data_before_another_chunk_is_empty(tmp_path: Path) -> None:
    path = wav(tmp_path / "a.wav", data=0, keep=HEADER)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert "is empty (0 frames)" in refusal(path)


def test_wav_without_its_pad_byte_is_whole(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.wav", noise(999), subtype="PCM_U8")
    content = path.read_bytes()
    assert len(content) == HEADER + 1000
    path.write_bytes(content[:-1])
    assert len(audio.read(path)) == 999


def flac(path: Path, total: int) -> Path:
    """A FLAC of 1 s whose header claims `total` frames."""
    content = bytearray(saved(path, noise(), format="FLAC").read_bytes())
    assert content[:5] == b"fLaC\0"
    bits = int.from_bytes(content[18:26], "big")
    content[18:26] = (bits >> 36 << 36 | total).to_bytes(8, "big")
    path.write_bytes(content)
    return path


def test_flac_whose_header_claims_another_length(tmp_path: Path) -> None:
    assert len(audio.read(flac(tmp_path / "a.flac", 16000))) == 16000
    assert len(audio.read(flac(tmp_path / "b.flac", 0))) == 16000
    assert len(audio.read(flac(tmp_path / "e.flac", 1000))) == 16000
    refusal(flac(tmp_path / "c.flac", 17000))
    refusal(flac(tmp_path / "d.flac", 2**36 - 1))


def test_damaged_flac(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.flac", noise())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "cannot be decoded" in refusal(path)


def test_write_makes_folders_and_clips(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.wav"
    audio.write(path, np.array([0.0, 2.5, -2.5]), 8000)
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.samplerate, info.channels) == ("WAV", "PCM_16", 8000, 1)
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], [0, 32767, -32768])


@pytest.mark.parametrize("samples", [np.array([0.0, np.nan]), np.zeros((2, 2)), np.zeros(4, np.int16)])
def test_write_refuses_and_leaves_the_old_file(tmp_path: Path, samples: AnyArray) -> None:
    path = tmp_path / "a.wav"
    audio.write(path, noise())
    before = path.read_bytes()
    with pytest.raises(AudioError, match="expected"):
        audio.write(path, samples)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="subtype"):
        audio.write(tmp_path / "a.wav", noise(), subtype="NONE")  # type: ignore[arg-type]  # wrong on purpose
    assert not list(tmp_path.iterdir())


class FakeSoundDevice(ModuleType):
    """Plays `blocks` to the callback as soon as the stream starts, and more when told."""

    class PortAudioError(Exception):
        pass

    def __init__(self, blocks: Blocks, error: Exception | None) -> None:
        super().__init__("sounddevice")
        self.blocks, self.error, self.closed = blocks, error, False
        self.rates = {8000, 16000, 96000}

    def check_input_settings(self, device: object, channels: int, dtype: str, samplerate: int) -> None:
        if samplerate not in self.rates:
            raise self.PortAudioError("Invalid sample rate")

    def query_devices(self, device: object, kind: str) -> dict[str, float]:
        return {"default_samplerate": 48000.0, "max_input_channels": 2}

    def InputStream(self, **options: Any) -> Self:
        if self.error:
            raise self.error
        self.options = options
        return self

    def __enter__(self) -> None:
        for block in self.blocks:
            self.play(block)

    def __exit__(self, *_: object) -> None:
        self.closed = True
        self.stop()

    def play(self, block: Sequence[float] | AnyArray, overflow: bool = False) -> None:
        buffer = np.repeat(np.array(block, np.float32)[:, None], self.options["channels"], axis=1)
        self.options["callback"](buffer, len(buffer), None, SimpleNamespace(input_overflow=overflow))
        buffer[:] = np.nan  # PortAudio reuses its buffer

    def stop(self) -> None:
        self.options["finished_callback"]()


def plug_in(monkeypatch: pytest.MonkeyPatch, blocks: Blocks, error: Exception | None = None) -> FakeSoundDevice:
    fake = FakeSoundDevice(blocks, error)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    return fake


def test_microphone_yields_blocks_and_closes_the_device(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    played = np.random.default_rng(2).uniform(-1, 1, (3, 8)).astype(np.float32)
    fake = plug_in(monkeypatch, played)
    with closing(audio.microphone(8000, 8, device="usb")) as blocks:  # type: ignore[type-var]  # a generator
        heard = [next(blocks) for _ in played]
        assert not fake.closed
    assert fake.closed
    np.testing.assert_array_equal(heard, played)
    assert all(block.shape == (8,) and block.dtype == np.float32 for block in heard)
    options = fake.options
    assert (options["samplerate"], options["blocksize"], options["device"]) == (8000, 8, "usb")
    assert (options["channels"], options["dtype"]) == (1, "float32")
    assert not caplog.records


def test_microphone_of_another_rate_is_resampled_and_mixed_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The device refuses mono at 16 kHz and offers 48 kHz in stereo."""
    played = tone(440, 48000).astype(np.float32).reshape(-1, 480)
    fake = plug_in(monkeypatch, [])
    fake.rates = {48000}
    with closing(audio.microphone(block=480)) as blocks:  # type: ignore[type-var]  # a generator
        fake.blocks = played[: BACKLOG - 4]
        recorded: list[AnyArray] = []
        while sum(len(block) for block in recorded) < 8000:
            recorded.append(next(blocks))
        assert not fake.closed
    assert fake.closed
    assert (fake.options["samplerate"], fake.options["channels"]) == (48000, 2)
    assert [r.message for r in caplog.records] == [
        "microphone: does not record mono at 16000 Hz; it is opened at 48000 Hz"
    ]
    samples = np.concatenate(recorded)[1000:7000]
    np.testing.assert_allclose(samples, tone(440, 16000)[1000:7000], atol=1e-3)


def test_microphone_warns_of_an_overflow_before_the_block_that_follows(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = plug_in(monkeypatch, [[0.0]])
    with (
        closing(audio.microphone(block=1)) as blocks,  # type: ignore[type-var]  # a generator
        caplog.at_level(logging.WARNING),
    ):
        next(blocks)
        fake.play([0.1], overflow=True)
        fake.play([0.2])
        assert not caplog.records
        assert next(blocks) == np.float32(0.1)
        assert [r.message for r in caplog.records] == ["microphone: overflow, audio was lost before this block"]
        assert next(blocks) == np.float32(0.2)
        assert len(caplog.records) == 1


def test_microphone_drops_what_a_slow_reader_leaves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fake = plug_in(monkeypatch, [[i] for i in range(BACKLOG + 5)])
    with closing(audio.microphone(block=1)) as blocks:  # type: ignore[type-var]  # a generator
        assert [int(next(blocks)[0]) for _ in range(BACKLOG)] == list(range(BACKLOG))
        assert not caplog.records
        fake.play([-1.0])
        assert next(blocks) == -1.0
        assert len(caplog.records) == 1


def test_microphone_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = plug_in(monkeypatch, [[0.0]])
    blocks = audio.microphone(block=1)
    next(blocks)
    fake.stop()
    with pytest.raises(AudioError, match="the device stopped; expected"):
        next(blocks)
    assert fake.closed


def test_microphone_that_falls_silent_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unplugged device may call back no more, without saying that it has ended."""
    monkeypatch.setattr(sys.modules["edge_asc.audio.microphone"], "STALL", 0.05)
    plug_in(monkeypatch, [[0.0]])
    blocks = audio.microphone(block=1)
    next(blocks)
    with pytest.raises(AudioError, match="the device stopped; expected"):
        next(blocks)


def test_devices_are_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    fake, calls = plug_in(monkeypatch, []), []
    fake._terminate = lambda: calls.append("end")  # type: ignore[attr-defined]
    fake._initialize = lambda: calls.append("start")  # type: ignore[attr-defined]
    audio.refresh_devices()
    assert calls == ["end", "start"]


@pytest.mark.parametrize("error", [FakeSoundDevice.PortAudioError("Invalid sample rate"), ValueError("No input")])
def test_microphone_that_cannot_record(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    plug_in(monkeypatch, [], error)
    with pytest.raises(AudioError, match=rf"microphone 3: {error}; expected .* at 96000 Hz: .*sounddevice"):
        next(audio.microphone(96000, device=3))


def test_microphone_without_sounddevice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(MissingExtraError, match=r"sounddevice is not installed.*edge-asc\[microphone\]"):
        next(audio.microphone())


def test_microphone_without_portaudio(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    with pytest.raises(AudioError, match=r"PortAudio library not found; expected .*libportaudio2"):
        next(audio.microphone())


def test_import_is_light() -> None:
    heavy = {"soundfile", "soxr", "sounddevice", "scipy"}
    code = f"import sys, edge_asc.audio; assert not {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def pcm(
    channels: int = 1, rate: int = 16000, bits: int = 16, frame: int = 2, byte_rate: int = 32000, samples: int = 8000
) -> bytes:
    """A PCM WAV file with the numbers of its format chunk as given."""
    data = bytes(2 * samples)
    chunk = struct.pack("<HHIIHH", 1, channels, rate, byte_rate, frame, bits)
    body = b"WAVEfmt " + struct.pack("<I", 16) + chunk + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 2}, "contradicts itself: got 2 channels"),
        ({"bits": 24}, "contradicts itself: got 1 channels of 24 bits"),
        ({"rate": 1, "byte_rate": 2}, "says 1 Hz; expected 1000 to 768000"),
    ],
)
def test_a_header_that_lies_about_its_format_is_refused(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    path = tmp_path / "lie.wav"
    path.write_bytes(pcm())
    assert len(audio.read(path)) == 8000
    path.write_bytes(pcm(byte_rate=16000))
    assert len(audio.read(path)) == 8000  # the byte rate is informational
    path.write_bytes(pcm(**changes))
    assert message in refusal(path)


def test_unscaled_samples_are_refused_by_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "loud.wav", np.full(16000, 20000.0, np.float32), format="WAV", subtype="FLOAT")
    assert "samples reach 20000" in refusal(path)
