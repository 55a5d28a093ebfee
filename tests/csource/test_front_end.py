"""The front end in C gives the features of Python's, on every compiler the same ones."""

import ctypes
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from csource.build import COMPILERS, PREFIX, compile_library, compiler, join
from edge_asc import audio
from edge_asc.errors import ExportError
from edge_asc.frontend import FrontEnd, LogMel, hann_window
from edge_asc_export.c.front_end import generate_front_end

POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
Samples = npt.NDArray[np.int16]
Features = Callable[[Samples], npt.NDArray[np.float32]]

NORMALISED = FrontEnd().with_normalisation(np.linspace(-8, -16, 256), np.linspace(0.16, 0.3, 256))
ENTRY = """
void toy_run(const int16_t *samples, size_t frames, float *features);
void toy_run(const int16_t *samples, size_t frames, float *features)
{
    static int16_t audio[TOY_WINDOW];
    memset(scratch, 0xA5, sizeof scratch);
    for (size_t i = 0; i < frames; i++) {
        memcpy(audio, samples + i * TOY_HOP, sizeof audio);
        toy_frame(audio, features + i * TOY_MELS);
    }
}

float toy_log(float x);
float toy_log(float x) { return natural_log(x); }
"""


def build(front_end: FrontEnd, folder: Path, cc: str = "gcc", *flags: str) -> Features:
    """Return a function from samples to the features of all frames, by compiled C."""
    library = compile_library(join([generate_front_end(PREFIX, front_end)], ENTRY), folder, cc, *flags)

    def run(samples: Samples) -> npt.NDArray[np.float32]:
        frames = len(samples) // front_end.hop
        padded = np.concatenate((np.zeros(front_end.window - front_end.hop, np.int16), samples)).astype(np.int16)
        features = np.empty((frames, front_end.mels), np.float32)
        library.toy_run(padded.ctypes.data_as(POINTER), SIZE(frames), features.ctypes.data_as(POINTER))
        return features

    return run


def expected(front_end: FrontEnd, samples: Samples) -> npt.NDArray[np.float32]:
    return LogMel(front_end)(samples.astype(np.float32) / np.float32(32768.0))


def check(features: npt.NDArray[np.float32], front_end: FrontEnd, samples: Samples) -> None:
    """Compare features with Python's, which transforms in double precision.

    Single precision leaves noise in all bins, 3e-7 of the amplitude of the loudest one.
    """
    before = np.zeros(front_end.window - front_end.hop)
    windows = sliding_window_view(np.concatenate((before, samples / 32768.0)), front_end.window)[:: front_end.hop]
    amplitude = np.abs(np.fft.rfft(windows * hann_window(front_end.window)))
    noise = 3e-7 * amplitude.max(axis=1, keepdims=True)
    filters = front_end.mel_matrix.T.astype(np.float64)
    relative = ((2 * amplitude * noise + noise**2) @ filters) / (amplitude**2 @ filters + front_end.floor)
    tolerance = np.asarray(front_end.scale or 1.0) * (1e-5 + relative)
    assert (np.abs(features - expected(front_end, samples)) <= tolerance).all()


def to_int16(samples: npt.NDArray[np.floating]) -> Samples:
    integers: Samples = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return integers


def signals() -> dict[str, Samples]:
    """Signals of 2 s that are hard on a front end."""
    rng, time = np.random.default_rng(0), np.arange(32000) / 16000.0
    impulse = np.zeros(32000)
    impulse[5000::3333] = 1.0
    return {
        "silence": np.zeros(32000, np.int16),
        "least": rng.integers(-1, 2, 32000).astype(np.int16),
        "noise": rng.integers(-32768, 32768, 32000).astype(np.int16),
        "lowest": np.full(32000, -32768, np.int16),
        "square": np.where(time * 1000 % 1 < 0.5, 32767, -32768).astype(np.int16),
        "alternating": np.where(np.arange(32000) % 2, 32767, -32768).astype(np.int16),
        "tone": to_int16(np.sin(2 * np.pi * 440.0 * time)),
        "high tone": to_int16(0.03 * np.sin(2 * np.pi * 7990.0 * time)),
        "impulses": to_int16(impulse),
    }


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return build(NORMALISED, tmp_path_factory.mktemp("front_end"))


@pytest.mark.parametrize("name", signals())
def test_hard_signals_have_the_features_of_python(name: str, features: Features) -> None:
    samples = signals()[name]
    check(features(samples), NORMALISED, samples)


@pytest.mark.parametrize("level", [0, -30, -60])
def test_recordings_have_the_features_of_python(level: int, features: Features, scenes10: Path) -> None:
    paths = sorted(scenes10.glob("**/*.wav")) or sorted(scenes10.glob("**/*.flac"))
    differences = []
    for path in paths[:: len(paths) // 20]:
        whole = audio.read(path, 16000)
        samples = to_int16(whole / max(np.abs(whole).max(), 1e-9) * 10 ** (level / 20))
        differences.append(np.abs(features(samples) - expected(NORMALISED, samples)))
    joined = np.concatenate(differences)
    # At full scale, single precision shows in quiet bins beside loud ones.
    assert joined.max() < (1e-3 if level == 0 else 1e-4)
    assert np.quantile(joined, 0.999) < (1e-4 if level == 0 else 1e-5)
    assert np.median(joined) < 1e-6


@pytest.mark.parametrize(
    "front_end",
    [
        FrontEnd(),
        FrontEnd(mels=64, floor=1e-10),
        FrontEnd(mels=40, low=50.0, high=7600.0),
        FrontEnd(mels=700),  # most filters of low frequencies read no bin
        FrontEnd(mels=1, low=100.0, high=3000.0),
        FrontEnd(window=1024, hop=256, mels=128),
        FrontEnd(window=512, hop=160, mels=80),
        FrontEnd(window=4096, hop=1024),
        FrontEnd(window=512, hop=512, mels=32),
        FrontEnd(window=16, hop=7, mels=4),
        FrontEnd(sample_rate=32000, high=16000.0),
        FrontEnd(mels=64, clip=1.5).with_normalisation(np.full(64, -9.0), np.full(64, 0.3)),
    ],
    ids=str,
)
def test_other_front_ends_have_the_features_of_python(front_end: FrontEnd, tmp_path: Path) -> None:
    run = build(front_end, tmp_path)
    for samples in signals().values():
        check(run(samples), front_end, samples)


@pytest.mark.parametrize("window", [2000, 1536, 8, 65536])
def test_other_windows_are_refused(window: int) -> None:
    with pytest.raises(ExportError, match=f"{window} samples; expected a power of two from 16 to 32768"):
        generate_front_end(PREFIX, FrontEnd(window=window, hop=4))


def test_all_compilers_compute_the_same_bits(tmp_path: Path) -> None:
    samples = np.concatenate(list(signals().values()))
    results = []
    for cc in COMPILERS:
        for flags in ("-O0", "-O2", "-O3 -march=native", "-Os -funroll-loops"):
            results.append(build(NORMALISED, tmp_path, cc, *flags.split())(samples).tobytes())
    assert len(set(results)) == 1


def test_the_logarithm_is_exact_to_one_in_a_million(tmp_path: Path) -> None:
    library = compile_library(join([generate_front_end(PREFIX, FrontEnd())], ENTRY), tmp_path, "gcc")
    library.toy_log.restype, library.toy_log.argtypes = ctypes.c_float, (ctypes.c_float,)
    rng = np.random.default_rng(0)
    near_one = 1.0 + rng.uniform(-1e-3, 1e-3, 2000)
    x = np.concatenate((10.0 ** rng.uniform(-30, 9, 5000), near_one, [0.5, 2.0, 0.70710677, 0.7071068, 1e-30]))
    x = x.astype(np.float32)[x.astype(np.float32) != 1.0]
    logs = np.array([library.toy_log(float(value)) for value in x])
    np.testing.assert_allclose(logs, np.log(x.astype(np.float64)), rtol=1e-6)
    assert library.toy_log(1.0) == 0.0


@pytest.mark.parametrize("cc", COMPILERS)
def test_it_is_small_and_calls_nothing_but_the_memory_functions(cc: str, tmp_path: Path) -> None:
    file, compiled = tmp_path / "toy.c", tmp_path / "toy.o"
    file.write_text(join([generate_front_end(PREFIX, NORMALISED)], ENTRY))
    subprocess.run([compiler(cc), "-std=c99", "-Os", "-ffreestanding", "-c", file, "-o", compiled], check=True)
    symbols = subprocess.run([compiler("nm"), "-S", compiled], check=True, capture_output=True, text=True).stdout
    lines = [line.split() for line in symbols.splitlines()]
    assert {line[-1] for line in lines if line[-2] == "U"} <= {"memcpy", "memset", "_GLOBAL_OFFSET_TABLE_"}
    tables = sum(int(line[1], 16) for line in lines if line[-2] == "r" and len(line) == 4)
    assert 25_000 < tables < 31_000
