"""Synthetic sounds that belong to no scene: silence, hum, noise, tones and clicks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from edge_asc.data.dataset import Clip
from edge_asc.frontend import Array, FrontEnd, LogMel

SECONDS = 5.0
Samples = npt.NDArray[np.float32]
Generator = np.random.Generator


def _silence(count: int, rate: int, generator: Generator) -> npt.NDArray[np.float64]:
    return np.zeros(count)


def _hum(count: int, rate: int, generator: Generator) -> npt.NDArray[np.float64]:
    """Mains hum at 50 or 60 Hz with falling harmonics, in a little noise."""
    time = np.arange(count) / rate
    base = generator.choice([50.0, 60.0]) * generator.uniform(0.995, 1.005)
    slope = generator.uniform(0.3, 2.0)
    waves = (
        np.sin(2.0 * np.pi * (base * n * time + generator.random())) * generator.uniform(0.2, 1.0) / n**slope
        for n in range(1, int(generator.integers(4, 40)))
    )
    return sum(waves, np.zeros(count)) + generator.normal(0.0, 10.0 ** generator.uniform(-4.0, -1.5), count)


def _noise(count: int, rate: int, generator: Generator) -> npt.NDArray[np.float64]:
    """Stationary noise with a power density of frequency ** -slope, from blue to brown."""
    spectrum = np.fft.rfft(generator.normal(size=count))
    frequencies = np.maximum(np.fft.rfftfreq(count, 1.0 / rate), 20.0)
    slope = generator.uniform(-1.0, 2.0)
    shaped: npt.NDArray[np.float64] = np.fft.irfft(spectrum * frequencies ** (-slope / 2.0), count)
    return shaped


def _white(count: int, rate: int, generator: Generator) -> npt.NDArray[np.float64]:
    return generator.normal(size=count)


def _tones(count: int, rate: int, generator: Generator) -> npt.NDArray[np.float64]:
    """One to four steady or slowly gliding tones."""
    time = np.arange(count) / rate
    total = np.zeros(count)
    for _ in range(int(generator.integers(1, 5))):
        first = np.exp(generator.uniform(np.log(80.0), np.log(6000.0)))
        glide = generator.choice([0.0, 1.0]) * generator.uniform(-0.1, 0.1) * first
        total += np.sin(2.0 * np.pi * (first + 0.5 * glide * time) * time) * generator.uniform(0.2, 1.0)
    return total + generator.normal(0.0, 10.0 ** generator.uniform(-4.0, -1.5), count)


def _clicks(count: int, rate: int, generator: Generator) -> npt.NDArray[np.float64]:
    """Clicks of a few samples, regular or at random, over faint noise."""
    total = generator.normal(0.0, 10.0 ** generator.uniform(-5.0, -2.5), count)
    every = generator.uniform(0.05, 1.0) * rate
    regular = np.arange(generator.uniform(0.0, every), count, every)
    times = regular if generator.random() < 0.5 else generator.uniform(0.0, count, max(1, len(regular)))
    width = int(generator.integers(1, 40))
    for first in times.astype(int):
        shape = generator.normal(size=width) * np.exp(-np.arange(width) / (width / 4.0))
        total[first : first + width] += shape[: max(0, count - first)]
    return total


KINDS: dict[str, Callable[[int, int, Generator], npt.NDArray[np.float64]]] = {
    "silence": _silence,
    "hum": _hum,
    "noise": _noise,
    "white": _white,
    "tones": _tones,
    "clicks": _clicks,
}


def synthesise(kind: str, number: int, rate: int = 16000, seconds: float = SECONDS) -> Samples:
    """Samples, (seconds · rate,), of one sound; kind and number determine it. Its peak is 0.5, or 0 of silence."""
    generator = np.random.default_rng([list(KINDS).index(kind), number])
    samples = KINDS[kind](round(rate * seconds), rate, generator)
    scaled: Samples = (0.5 * samples / max(np.abs(samples).max(), 1e-9)).astype(np.float32)
    return scaled


def synthesise_clips(each: int, label: str, front_end: FrontEnd, first: int = 0) -> tuple[list[Clip], list[Array]]:
    """`each` sounds of every kind: clips under `label`, and their raw log-mel, (frames, mels).

    Args:
        first: number of the first sound of a kind; other numbers give other sounds.
    """
    names = [(kind, number) for kind in KINDS for number in range(first, first + each)]
    clips = [Clip(f"synthetic/{kind}-{number}", label, f"{kind}-{number}", "") for kind, number in names]
    extract = LogMel(front_end.raw)
    return clips, [extract(synthesise(kind, number, front_end.sample_rate)) for kind, number in names]
