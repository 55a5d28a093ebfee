import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asc.contract import AnyArray
from edge_asc.errors import AudioError, ContractError
from edge_asc.frontend import Array, FrontEnd, LogMel

GOLDEN = Path(__file__).parent / "golden" / "logmel.npz"


def noise(frames: int = 16000, level: float = 0.1, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0.0, level, frames).astype(np.float32)


def tone(frequency: float, level: float = 0.5, frames: int = 16000) -> Array:
    return (level * np.sin(2 * np.pi * frequency * np.arange(frames) / 16000)).astype(np.float32)


def import_librosa() -> Any:
    return pytest.importorskip("librosa", reason="librosa, the reference, comes with edge-asc[dev]")


def reference(samples: Array) -> Any:
    librosa = import_librosa()
    padded = np.pad(samples, (1536, 0))
    power = librosa.feature.melspectrogram(
        y=padded, sr=16000, n_fft=2048, hop_length=512, n_mels=256, center=False, power=2.0, window="hann"
    )
    return np.log(power.T + 1e-8)


def normalised() -> FrontEnd:
    rng = np.random.default_rng(3)
    return FrontEnd().with_normalisation(rng.normal(-6, 2, 256), rng.uniform(0.1, 2, 256))


def test_mel_matrix_is_librosas() -> None:
    expected = import_librosa().filters.mel(sr=16000, n_fft=2048, n_mels=256)
    matrix = FrontEnd().mel_matrix
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, expected, rtol=0, atol=1e-7)


@pytest.mark.parametrize("level", [0.3, 0.03, 1.4e-3, 0.0])
def test_log_mel_of_noise_is_librosas(level: float) -> None:
    samples = noise(160000, level)
    np.testing.assert_allclose(LogMel()(samples), reference(samples), rtol=0, atol=1e-5)


def test_log_mel_of_a_tone_is_librosas() -> None:
    # Bins far from the tone hold float32 rounding alone, which librosa's own order of sums changes: they are
    # compared as power, against the tone's.
    samples = tone(1000)
    ours, theirs = LogMel()(samples), reference(samples)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-3)
    np.testing.assert_allclose(np.exp(ours), np.exp(theirs), rtol=0, atol=1e-6 * np.exp(theirs.max()))


def test_golden_vector() -> None:
    with np.load(GOLDEN) as golden:
        samples, expected = golden["samples"], golden["frames"]
    assert samples.dtype == np.int16
    assert expected.shape == (8, 256)
    np.testing.assert_allclose(LogMel()(samples / np.float32(32768)), expected, rtol=0, atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.integers(0, 14000), max_size=12), st.booleans())
def test_any_chunking_gives_the_same_frames_bit_for_bit(cuts: list[int], normalise: bool) -> None:
    samples = noise(14000)
    config = normalised() if normalise else FrontEnd()
    stream = LogMel(config)
    chunks = np.split(samples, sorted(cuts))
    frames = np.concatenate([stream.push(chunk) for chunk in chunks])
    assert frames.tobytes() == LogMel(config)(samples).tobytes()


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 40), st.integers(0, 40))
def test_single_samples_give_the_same_frames_bit_for_bit(size: int, lead: int) -> None:
    samples = noise(2000)
    stream = LogMel()
    chunks = [samples[:lead], *np.split(samples[lead:], range(size, 2000 - lead, size)), samples[:0]]
    frames = np.concatenate([stream.push(chunk) for chunk in chunks])
    assert frames.tobytes() == LogMel()(samples).tobytes()


def test_a_frame_for_every_512_samples() -> None:
    stream = LogMel()
    assert stream.push(noise(511)).shape == (0, 256)
    assert stream.push(noise(1)).shape == (1, 256)
    assert LogMel()(noise(512)).shape == (1, 256)
    assert LogMel()(noise(160000)).shape == (312, 256)
    assert LogMel()(np.zeros(0)).shape == (0, 256)


def test_a_frame_never_waits_for_later_audio() -> None:
    samples = noise(5120)
    later = samples.copy()
    later[2048:] = 0
    before, after = LogMel()(samples), LogMel()(later)
    np.testing.assert_array_equal(before[:4], after[:4])
    assert (before[4:] != after[4:]).any(axis=1).all()


def test_first_frame_stands_on_zeros() -> None:
    samples = noise(512)
    padded = np.concatenate((np.zeros(1536, np.float32), samples))
    np.testing.assert_array_equal(LogMel()(samples)[0], LogMel()(padded)[3])


def test_reset_forgets_all_audio() -> None:
    stream = LogMel()
    first = stream.push(noise(3000))
    assert not np.array_equal(stream.push(noise(3000))[:5], first)
    stream.reset()
    np.testing.assert_array_equal(stream.push(noise(3000)), first)


def test_instances_are_independent() -> None:
    config = FrontEnd()
    left, right = LogMel(config), LogMel(config)
    ours, theirs = noise(4096, seed=1), noise(4096, seed=2)
    frames = [(left.push(a), right.push(b)) for a, b in zip(np.split(ours, 8), np.split(theirs, 8), strict=True)]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in frames]), LogMel()(ours))
    np.testing.assert_array_equal(np.concatenate([b for _, b in frames]), LogMel()(theirs))


def test_a_whole_signal_does_not_touch_the_stream() -> None:
    samples = noise(4096)
    stream = LogMel()
    stream.push(samples[:1000])
    stream(noise(5000, seed=1))
    np.testing.assert_array_equal(stream.push(samples[1000:]), LogMel()(samples)[1:])


def test_frames_and_samples_stay_the_callers() -> None:
    samples = noise(4096)
    before = samples.copy()
    stream = LogMel(normalised())
    first = stream.push(samples)
    kept = first.copy()
    np.testing.assert_array_equal(samples, before)
    samples[:] = 0
    second = stream.push(noise(4096, seed=1))
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(second, LogMel(normalised())(np.concatenate((before, noise(4096, seed=1))))[8:])


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.array([0.0, np.nan, np.inf, -np.inf]), "hold 3 NaN or infinite values; expected finite"),
        (np.zeros((2, 512), np.float32), r"shape \(2, 512\); expected one channel, .*downmix"),
        (np.float32(0), r"shape \(\); expected one channel"),
        (np.zeros(512, np.int16), "int16; expected float32 .*divide integers"),
        (np.zeros(512, np.complex64), "complex64; expected float32"),
    ],
)
def test_bad_samples_are_refused_and_the_stream_unchanged(bad: AnyArray, message: str) -> None:
    samples = noise(2048)
    stream = LogMel()
    first = stream.push(samples[:700])
    with pytest.raises(AudioError, match=message):
        stream.push(bad)
    frames = np.concatenate((first, stream.push(samples[700:])))
    np.testing.assert_array_equal(frames, LogMel()(samples))


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_are_taken(dtype: type[np.floating[Any]]) -> None:
    samples = noise(1024).astype(dtype)
    np.testing.assert_array_equal(LogMel()(samples), LogMel()(samples.astype(np.float32)))


def test_normalisation_and_clip() -> None:
    samples = np.concatenate((np.zeros(4096, np.float32), noise(4096)))
    config = normalised()
    raw = LogMel(config.raw)(samples)
    np.testing.assert_array_equal(raw, LogMel()(samples))
    expected = (raw - np.array(config.mean)) * np.array(config.scale)
    assert (np.abs(expected) > 4).any()
    assert (np.abs(expected) < 4).any()
    np.testing.assert_allclose(LogMel(config)(samples), np.clip(expected, -4, 4), rtol=0, atol=1e-5)


def test_raw_log_mel_is_not_clipped() -> None:
    assert LogMel()(np.zeros(512)).min() < -18


@pytest.mark.parametrize("config", [FrontEnd(), normalised(), FrontEnd(mels=128, low=50.0, clip=6.0)])
def test_json_round_trip(config: FrontEnd) -> None:
    again = FrontEnd.from_json(json.loads(json.dumps(config.to_json(), allow_nan=False)))
    assert again == config
    np.testing.assert_array_equal(LogMel(again)(noise()), LogMel(config)(noise()))


@pytest.mark.parametrize(("mean", "scale"), [(256, 0), (0, 256), (255, 255), (256, 255), (1, 1)])
def test_mean_and_scale_of_a_bad_length_are_refused(mean: int, scale: int) -> None:
    with pytest.raises(ContractError, match=f"mean has {mean} and scale {scale} values; expected 256 each"):
        FrontEnd().with_normalisation(np.zeros(mean), np.ones(scale))


@pytest.mark.parametrize("change", [{"mel_scale": "htk"}, {"mel_norm": "none"}, {"log": "log10"}])
def test_unknown_definitions_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ContractError, match=f"{next(iter(change.values()))!r}.* expected 'slaney', 'slaney', 'ln'"):
        FrontEnd(**change)


def test_quiet_audio_is_well_above_the_floor() -> None:
    level = 10 ** (-57 / 20)
    floor = np.log(1e-8)
    hiss = LogMel()(noise(160000, level))[3:]
    assert hiss.min() > floor + 1
    assert np.median(hiss) > floor + 5
    assert LogMel()(tone(1000, level * np.sqrt(2)))[3:].max() > floor + 15


def test_a_copy_of_a_stream_goes_on_by_itself() -> None:
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, 9000).astype(np.float32)
    first = LogMel()
    first.push(signal[:3000])
    copies = [copy.deepcopy(first), copy.copy(first), pickle.loads(pickle.dumps(first))]
    expected = first.push(signal[3000:])
    for other in copies:
        np.testing.assert_array_equal(other.push(signal[3000:]), expected)
