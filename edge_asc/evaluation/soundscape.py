"""Endless streams mixed from labelled clips: sounds of known time over a background."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array

Reader = Callable[[str], Array]

FADE = 0.02  # s at both ends of a clip
CHUNK = 10.0  # s of one block
FAINT = -70.0  # dBFS of the noise where there is no background


@dataclass(frozen=True)
class Mixture:
    """How a stream is mixed; everything random follows from the seed.

    Attributes:
        seconds: of audio.
        event: length of one sound, s; 0 for one whole clip. Longer sounds repeat other clips of the label.
        pause: mean time between two sounds, s, exponentially distributed; 0 for one sound after another.
        gain: range of the gain of a sound, dB; drawn uniformly.
        background: gain of the background, dB.
        seed: of everything random.
        background_pause: mean time between two clips of the background, s, exponentially distributed; 0 for one after
            another. The pauses are faint noise.
    """

    seconds: float
    event: float = 0.0
    pause: float = 30.0
    gain: tuple[float, float] = (-12.0, 0.0)
    background: float = -20.0
    seed: int = 0
    background_pause: float = 30.0

    def __post_init__(self) -> None:
        times = self.event, self.pause, self.background_pause
        if not self.seconds > 0.0 or min(times) < 0.0 or self.gain[0] > self.gain[1]:
            raise EdgeAscError(
                f"a stream of {self.seconds:g} s with sounds of {self.event:g} s, pauses of {self.pause:g} s and gains "
                f"of {self.gain[0]:g} to {self.gain[1]:g} dB cannot be mixed; expected positive times, and gains in "
                "increasing order"
            )


@dataclass(frozen=True)
class Interval:
    """A sound of a stream.

    Attributes:
        label: of the sound.
        start, end: s from the start of the stream.
    """

    label: str
    start: float
    end: float


class _Tape:
    """Pieces of audio, taken in other lengths than they come."""

    def __init__(self, pieces: Iterator[Array]) -> None:
        self._pieces, self._rest = pieces, np.empty(0, np.float32)

    def take(self, count: int) -> Array:
        parts, missing = [self._rest], count - len(self._rest)
        while missing > 0:
            parts.append(next(self._pieces))
            missing -= len(parts[-1])
        whole = np.concatenate(parts)
        self._rest = whole[count:]
        return whole[:count]


class Soundscape:
    """A stream of audio whose sounds are known.

    Args:
        sounds: names of the clips of each label.
        background: names of the clips of no label; without any, the pauses are faint noise at −70 dBFS.
        read: returns the samples of a clip, (n,), by its name.
        mixture: how it is mixed.
        rate: sample rate, Hz.

    Raises:
        EdgeAscError: no sounds.
    """

    def __init__(
        self,
        sounds: Mapping[str, Sequence[str]],
        background: Sequence[str],
        read: Reader,
        mixture: Mixture,
        rate: int = 16000,
    ) -> None:
        if not sounds or not all(sounds.values()):
            raise EdgeAscError("no clips to mix a stream from; expected at least one of each label")
        self._sounds = {label: list(names) for label, names in sorted(sounds.items())}
        self._background, self._read, self._rate = list(background), read, rate
        self.mixture = mixture
        self.intervals: list[Interval] = []

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the sounds, sorted."""
        return tuple(self._sounds)

    def blocks(self) -> Iterator[Array]:
        """Yield the audio, blocks of (n,), from the start; `intervals` grows up to the end of the last block."""
        self.intervals = []
        total, size = round(self.mixture.seconds * self._rate), round(CHUNK * self._rate)
        foreground = _Tape(self._play_sounds(np.random.default_rng([self.mixture.seed, 1])))
        behind = _Tape(self._play_background(np.random.default_rng([self.mixture.seed, 2])))
        for begin in range(0, total, size):
            count = min(size, total - begin)
            yield np.clip(foreground.take(count) + behind.take(count), -1.0, 1.0).astype(np.float32)

    def _play_sounds(self, generator: np.random.Generator) -> Iterator[Array]:
        labels, previous, position = list(self._sounds), "", 0
        low, high = self.mixture.gain
        while True:
            if self.mixture.pause:
                pause = round(generator.exponential(self.mixture.pause) * self._rate)
                for count in self._split(pause):
                    yield np.zeros(count, np.float32)
                position += pause
            others = [label for label in labels if label != previous] or labels
            previous = label = others[int(generator.integers(len(others)))]
            gain = np.float32(10.0 ** (generator.uniform(low, high) / 20.0))
            start, length = position, round(self.mixture.event * self._rate)
            while position == start or position - start < length:
                clip = gain * self._faded(self._sounds[label], generator)
                clip = clip[: length - (position - start)] if length else clip
                position += len(clip)
                self._note(label, start, position)
                yield clip

    def _note(self, label: str, start: int, end: int) -> None:
        """Keep the sound from one sample to another; one that is there already lasts longer now."""
        seconds = self.mixture.seconds
        interval = Interval(label, start / self._rate, min(end / self._rate, seconds))
        if self.intervals and self.intervals[-1].start == interval.start:
            self.intervals.pop()
        if interval.start < seconds:
            self.intervals.append(interval)

    def _play_background(self, generator: np.random.Generator) -> Iterator[Array]:
        gain = np.float32(10.0 ** (self.mixture.background / 20.0))
        while True:
            if not self._background:
                yield self._make_noise(self._rate, generator)
                continue
            if self.mixture.background_pause:
                pause = round(generator.exponential(self.mixture.background_pause) * self._rate)
                for count in self._split(pause):
                    yield self._make_noise(count, generator)
            yield gain * self._faded(self._background, generator)

    def _split(self, count: int) -> Iterator[int]:
        """Yield the sizes of the blocks of a pause of so many samples: it may last for hours."""
        size = round(CHUNK * self._rate)
        yield from (min(size, count - begin) for begin in range(0, count, size))

    @staticmethod
    def _make_noise(count: int, generator: np.random.Generator) -> Array:
        return generator.normal(0.0, 10.0 ** (FAINT / 20.0), count).astype(np.float32)

    def _faded(self, names: Sequence[str], generator: np.random.Generator) -> Array:
        """Return the samples of a random clip with short fades, so that joints do not click."""
        clip = np.array(self._read(names[int(generator.integers(len(names)))]), np.float32)
        fade = min(round(FADE * self._rate), len(clip) // 2)
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        clip[:fade] *= ramp
        clip[len(clip) - fade :] *= ramp[::-1]
        return clip
