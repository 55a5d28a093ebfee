"""Generated scenes: sounds with the ten TAU labels, for tests and for trying the tools without a data set.

They are not realistic, and no figure measured on them says anything about real places. Labels of one family share their
background and differ by sparse events, so that accuracy grows with the length of audio.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.errors import DatasetError

Signal = npt.NDArray[np.floating[Any]]
Event = Callable[[np.random.Generator, int], Signal]

# Written into each folder of scenes: raise it when the same seed gives other samples.
VERSION = 1
SAMPLE_RATE = 16000


@dataclass(frozen=True)
class _Family:
    """A background: levels in dB at _KNOTS, and hum with harmonics of a fundamental somewhere in `hum` Hz."""

    levels: tuple[float, ...]
    hum: tuple[float, float]
    hum_level: float


@dataclass(frozen=True)
class _SceneRecipe:
    """A family and the events that distinguish the label, each with its mean number per second."""

    family: _Family
    events: tuple[tuple[Event, float], ...]


def generate_scene(
    label: str, seed: int, seconds: float = 10.0, sample_rate: int = SAMPLE_RATE, place: int | None = None
) -> npt.NDArray[np.float32]:
    """Generate an unrealistic scene: float32 in [−1, 1], shape (seconds · sample_rate,).

    A background of shaped noise and hum, whose spectrum belongs to the `place` (by default, each seed has its
    own), and events at random times. The level lies between −45 and −25 dBFS RMS. The same arguments give the
    same samples, up to rounding between platforms.

    Raises:
        DatasetError: an unknown label, a negative seed or place, or a duration without samples.
    """
    if label not in _RECIPES:
        raise DatasetError(f"no generated scenes for label {label!r}; expected one of {', '.join(TAU_LABELS)}")
    place = seed if place is None else place
    check_scene(min(seed, place), seconds, sample_rate)
    count = round(seconds * sample_rate)
    recipe = _RECIPES[label]
    number = TAU_LABELS.index(label)
    of_place = _generator(number, place, 0)
    of_scene = _generator(number, seed, 1)

    scene = _background(recipe.family, of_place, of_scene, count, sample_rate)
    for event, rate in recipe.events:
        for _ in range(of_scene.poisson(rate * seconds)):
            _add(scene, event(of_scene, sample_rate), of_scene)
    level = 10 ** (of_scene.uniform(-45, -25) / 20)
    scene *= level / _rms(scene)
    return np.clip(scene, -1, 1).astype(np.float32)


def check_scene(seed: int, seconds: float, sample_rate: int) -> None:
    """Check the arguments of `generate_scene`.

    Raises:
        DatasetError: a negative seed, or a duration without samples.
    """
    if seed < 0 or not math.isfinite(seconds) or seconds <= 0 or round(seconds * sample_rate) < 1:
        raise DatasetError(
            f"cannot generate {seconds} s at {sample_rate} Hz from seed {seed}; "
            "expected a positive duration and rate, and a seed of at least 0"
        )


def _generator(*seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


_KNOTS = np.array([31.25, 62.5, 125, 250, 500, 1000, 2000, 4000, 8000])


def _fast_length(count: int) -> int:
    """Return the least number of at least `count`, 1 or more, whose prime factors a Fourier transform is fast for."""
    for size in itertools.count(count):
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
    raise AssertionError("there is always a larger power of 2")


def _background(
    family: _Family, of_place: np.random.Generator, of_scene: np.random.Generator, count: int, rate: int
) -> Signal:
    """Noise and hum of unit RMS, (count,)."""
    size = _fast_length(count)
    levels = family.levels + of_place.normal(0, 4, len(_KNOTS)) + of_scene.normal(0, 2, len(_KNOTS))
    shape = np.interp(np.fft.rfftfreq(size, 1 / rate), _KNOTS, 10 ** (levels / 20)).astype(np.float32)
    spectrum = of_scene.standard_normal(2 * len(shape), np.float32).view(np.complex64)
    signal: Signal = np.fft.irfft(spectrum * shape, size)[:count]
    signal *= 1 + 0.3 * _sway(of_scene, count, rate)
    signal /= _rms(signal)

    turns = of_place.uniform(*family.hum) / rate * np.arange(count)
    turns -= np.floor(turns)
    phase = 2 * np.pi * (turns.astype(np.float32) + 0.2 * _sway(of_scene, count, rate))
    signal += family.hum_level * of_scene.uniform(0.5, 1.5) * _harmonics(phase, [1, 1 / 2, 1 / 3, 1 / 4])
    signal /= _rms(signal)
    return signal


def _rms(signal: Signal) -> float:
    return math.sqrt(np.mean(np.square(signal)))


def _sway(rng: np.random.Generator, count: int, rate: int) -> Signal:
    """A sine of a few seconds' period and random phase, (count,)."""
    turns = rng.uniform(0.1, 0.4) * count / rate
    start = rng.random()
    sine: Signal = np.sin(2 * np.pi * np.linspace(start, start + turns, count, dtype=np.float32))
    return sine


def _harmonics(phase: Signal, weights: Sequence[float]) -> Signal:
    """The sum of weights[k − 1] · sin(k · phase), by Clenshaw's recurrence from one sine and cosine."""
    cosine = 2 * np.cos(phase)
    last, total = np.zeros_like(phase), np.zeros_like(phase)
    for weight in reversed(weights):
        last, total = total, weight + cosine * total - last
    return total * np.sin(phase)


def _add(scene: Signal, event: Signal, rng: np.random.Generator) -> None:
    """Add an event in place, about as loud as the background, at a random time; its ends may be cut off."""
    start = int(rng.integers(1 - len(event), len(scene)))
    gain = 10 ** (rng.uniform(-4, 6) / 20)
    begin, end = max(start, 0), min(start + len(event), len(scene))
    scene[begin:end] += gain * event[begin - start : end - start]


# Events are functions of a generator and a sample rate; they last a few seconds at most and peak near 1 to 3.


def _tone(frequency: float | Signal, seconds: float, rate: int, decay: float = 0.0) -> Signal:
    """A sine that fades by `decay` nepers per second; silent above half the sample rate."""
    time = np.arange(int(seconds * rate)) / rate
    hertz = np.broadcast_to(frequency, time.shape)
    fade = np.minimum(1, np.minimum(time, seconds - time) / 0.005)
    tone: Signal = np.sin(2 * np.pi * np.cumsum(hertz) / rate) * np.exp(-decay * time) * fade
    return np.where(hertz < rate / 2, tone, 0)


def _noise(rng: np.random.Generator, seconds: float, rate: int, low: float, high: float) -> Signal:
    """Noise of unit RMS between `low` and `high` Hz."""
    count = int(seconds * rate)
    size = _fast_length(count)
    spectrum = np.zeros(size // 2 + 1, np.complex128)
    first = min(int(low * size / rate), size // 2 - 1)
    band = spectrum[first : max(first + 1, int(high * size / rate))]
    band[:] = rng.standard_normal(2 * len(band)).view(np.complex128)
    noise: Signal = np.fft.irfft(spectrum, size)[:count]
    noise /= _rms(noise)
    return noise


def _thud(rng: np.random.Generator, seconds: float, fade: float, rate: int, low: float, high: float) -> Signal:
    """Noise that starts at once and fades by a factor e in `fade` seconds."""
    noise = _noise(rng, seconds, rate, low, high)
    return noise * np.exp(-np.arange(len(noise)) / (fade * rate))


def _partials(pitch: float, ratios: Sequence[float], seconds: float, rate: int, decay: float) -> Signal:
    """Tones at multiples of `pitch` that fade together."""
    tones: Signal = np.sum([_tone(pitch * ratio, seconds, rate, decay) for ratio in ratios], axis=0)
    return tones


def _repeated(make: Callable[[], Signal], times: int, period: float, rate: int) -> Signal:
    """`times` sounds, a new one every `period` seconds."""
    sounds = [make() for _ in range(times)]
    out = np.zeros(max(int(i * period * rate) + len(sound) for i, sound in enumerate(sounds)))
    for i, sound in enumerate(sounds):
        start = int(i * period * rate)
        out[start : start + len(sound)] += sound
    return out


def _chime(rng: np.random.Generator, rate: int) -> Signal:
    """Three falling notes before an announcement."""
    base = rng.uniform(500, 700)
    notes = iter((1.5, 1.25, 1.0))
    return _repeated(lambda: 1.5 * _tone(base * next(notes), 0.9, rate, decay=3), 3, 0.5, rate)


def _till(rng: np.random.Generator, rate: int) -> Signal:
    """Short high beeps."""
    pitch = rng.uniform(1800, 2600)
    return _repeated(lambda: 1.5 * _tone(pitch, 0.09, rate), int(rng.integers(1, 4)), rng.uniform(0.3, 0.6), rate)


def _doors(rng: np.random.Generator, rate: int) -> Signal:
    """The quick beeps of closing doors."""
    pitch = rng.uniform(900, 1300)
    return _repeated(lambda: 1.5 * _tone(pitch, 0.12, rate), 7, 0.22, rate)


def _bell(rng: np.random.Generator, rate: int) -> Signal:
    """Two strokes of a small bell."""
    pitch = rng.uniform(1100, 1500)
    return _repeated(lambda: _partials(pitch, (1, 2.4, 3.9), 0.8, rate, decay=6), 2, 0.35, rate)


def _great_bell(rng: np.random.Generator, rate: int) -> Signal:
    """One stroke of a large bell."""
    return 0.5 * _partials(rng.uniform(250, 400), (0.5, 1, 1.2, 1.5, 2), 2.5, rate, decay=1.5)


def _birds(rng: np.random.Generator, rate: int) -> Signal:
    """A run of chirps."""
    sweep = np.linspace(rng.uniform(4500, 6500), rng.uniform(2800, 3800), int(0.08 * rate))
    times, period = int(rng.integers(4, 10)), rng.uniform(0.1, 0.2)
    return _repeated(lambda: 1.5 * _tone(sweep, 0.08, rate), times, period, rate)


def _squeal(rng: np.random.Generator, rate: int) -> Signal:
    """Wheels in a curve."""
    start = rng.uniform(2200, 3200)
    sweep = np.linspace(start, start * rng.uniform(0.85, 1.1), int(1.2 * rate))
    return _tone(sweep, 1.2, rate) + 0.5 * _tone(sweep * 2, 1.2, rate)


def _clank(rng: np.random.Generator, rate: int) -> Signal:
    """Two axles over a rail joint, twice."""
    pair = _repeated(lambda: 2.5 * _thud(rng, 0.15, 0.03, rate, 150, 1500), 2, 0.13, rate)
    return _repeated(lambda: pair, 2, rng.uniform(0.5, 0.9), rate)


def _hiss(rng: np.random.Generator, rate: int) -> Signal:
    """Compressed air let out of brakes."""
    return 2 * _thud(rng, 0.7, 0.2, rate, 2500, 7500)


def _steps(rng: np.random.Generator, rate: int) -> Signal:
    """A few footsteps."""
    times, period = int(rng.integers(4, 8)), rng.uniform(0.42, 0.6)
    return _repeated(lambda: 2.5 * _thud(rng, 0.12, 0.02, rate, 300, 3000), times, period, rate)


def _voices(rng: np.random.Generator, rate: int) -> Signal:
    """Syllables without words."""
    seconds = rng.uniform(0.8, 2.0)
    time = np.arange(int(seconds * rate)) / rate
    syllables = np.maximum(0, np.sin(2 * np.pi * rng.uniform(3, 5) * time)) ** 2
    pitch = rng.uniform(110, 230) * (1 + 0.1 * np.sin(2 * np.pi * 1.3 * time))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    voiced = _harmonics(phase, [1 / math.sqrt(k) for k in range(1, 9)])
    mixed: Signal = syllables * (voiced + 0.5 * _noise(rng, seconds, rate, 400, 3500))
    return mixed


def _luggage(rng: np.random.Generator, rate: int) -> Signal:
    """Small wheels over tiles."""
    seconds = rng.uniform(1.5, 3.0)
    time = np.arange(int(seconds * rate)) / rate
    rattle = np.abs(np.sin(np.pi * rng.uniform(10, 16) * time)) ** 6 * np.sin(np.pi * time / seconds)
    return 3 * rattle * _noise(rng, seconds, rate, 600, 5000)


def _car(rng: np.random.Generator, rate: int) -> Signal:
    """A car that comes and goes."""
    seconds = rng.uniform(2.0, 4.0)
    swell = np.sin(np.pi * np.arange(int(seconds * rate)) / (seconds * rate)) ** 2
    car: Signal = 2 * swell * _noise(rng, seconds, rate, 60, rng.uniform(1200, 2500))
    return car


_HALL = _Family((-6, -3, 0, 0, -2, -5, -10, -17, -25), hum=(90, 125), hum_level=0.15)
_VEHICLE = _Family((6, 5, 3, 0, -4, -9, -15, -22, -30), hum=(35, 75), hum_level=0.4)
_OUTSIDE = _Family((0, 0, -1, -3, -5, -7, -11, -16, -22), hum=(40, 120), hum_level=0.1)

_RECIPES = {
    "airport": _SceneRecipe(_HALL, ((_chime, 0.2), (_luggage, 0.3), (_voices, 0.2))),
    "shopping_mall": _SceneRecipe(_HALL, ((_till, 0.4), (_voices, 0.4), (_steps, 0.05))),
    "metro_station": _SceneRecipe(_HALL, ((_squeal, 0.25), (_doors, 0.15), (_voices, 0.2))),
    "bus": _SceneRecipe(_VEHICLE, ((_hiss, 0.3), (_till, 0.1), (_voices, 0.1))),
    "metro": _SceneRecipe(_VEHICLE, ((_clank, 0.3), (_doors, 0.2), (_voices, 0.1))),
    "tram": _SceneRecipe(_VEHICLE, ((_bell, 0.25), (_squeal, 0.2), (_clank, 0.1), (_voices, 0.1))),
    "park": _SceneRecipe(_OUTSIDE, ((_birds, 0.4), (_steps, 0.1))),
    "public_square": _SceneRecipe(_OUTSIDE, ((_great_bell, 0.2), (_voices, 0.4), (_steps, 0.1), (_birds, 0.05))),
    "street_pedestrian": _SceneRecipe(_OUTSIDE, ((_steps, 0.4), (_voices, 0.2), (_luggage, 0.05))),
    "street_traffic": _SceneRecipe(_OUTSIDE, ((_car, 0.4), (_steps, 0.05))),
}
