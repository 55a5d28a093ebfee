"""The front end: samples to normalised log-mel frames, offline and streaming by the same code."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from edge_asc.errors import AudioError, ContractError
from edge_asc.jsonobject import JsonObject, JsonValue

Array = npt.NDArray[np.float32]

# Frames are transformed in blocks of this many, and short blocks are filled up, so that every frame goes through the
# same vectorised arithmetic for any chunking of the signal.
BLOCK = 8

# Neighbouring mel filters that are computed as one matrix product.
BAND = 64

# Mel bins, unless a model is trained with another number.
MELS = 256

# Far above any float recording; louder samples were not scaled to [−1, 1].
LOUDEST = 100.0

# Bounds of what a front end may be: far beyond any that is used for audio.
LONGEST_WINDOW = 2**16  # samples
MOST_MELS = 4096
LARGEST_MEAN = 1e3  # log-mel of any audio lies within ±60
LARGEST_SCALE = 1e6


@dataclass(frozen=True)
class FrontEnd:
    """Parameters of the front end, which turns 16 kHz samples into the input of a model.

    Frame t covers samples [hop·t + hop − window, hop·t + hop): zeros stand before the first sample, so the
    first `hop` samples give the first frame and a frame never waits for later audio. Log-mel is
    ln(mel power + floor); a frame is then normalised per bin, (log-mel − mean) · scale, and clipped to ±clip.

    Attributes:
        sample_rate: Hz.
        window: samples in a frame, periodic Hann.
        hop: samples between frames.
        mels: number of mel bins, Slaney scale and Slaney (area) normalisation.
        low, high: edges of the mel filter bank, Hz.
        floor: added to the mel power before the logarithm; 1e-8 is near the noise of 16-bit samples.
        mean, scale: per bin; empty for raw log-mel.
        clip: largest magnitude of a normalised value; keeps the scale of an 8-bit input tight.

    Raises:
        ContractError: a parameter is not finite, outside what audio is analysed with, or contradicts another one.
    """

    sample_rate: int = 16000
    window: int = 2048
    hop: int = 512
    mels: int = MELS
    low: float = 0.0
    high: float = 8000.0
    mel_scale: str = "slaney"
    mel_norm: str = "slaney"
    log: str = "ln"
    floor: float = 1e-8
    mean: tuple[float, ...] = field(default=(), repr=False)
    scale: tuple[float, ...] = field(default=(), repr=False)
    clip: float = 4.0

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("sample rate", self.sample_rate, 1000, 768_000),
            ("window", self.window, 2, LONGEST_WINDOW),
            ("hop", self.hop, 1, self.window),
            ("number of mel bins", self.mels, 1, MOST_MELS),
            ("lower edge", self.low, 0, self.sample_rate / 2),
            ("upper edge", self.high, self.low, self.sample_rate / 2),
            ("floor", self.floor, 1e-30, 1),
            ("clip", self.clip, 0, 1e3),  # 0 in front ends that give raw log-mel
        ):
            # NaN compares as false.
            if not low <= value <= high:
                raise ContractError(f"front end: {name} is {value}; expected {low:g} to {high:g}")
        if self.window % 2:
            raise ContractError(f"front end: window is {self.window}; expected an even number of samples")
        if not self.low < self.high:
            raise ContractError(
                f"front end: mel bins from {self.low} to {self.high} Hz; expected a lower and an upper edge"
            )
        if len(self.mean) != len(self.scale) or len(self.mean) not in (0, self.mels):
            raise ContractError(
                f"front end: mean has {len(self.mean)} and scale {len(self.scale)} values; expected {self.mels} each"
            )
        if not all(-LARGEST_MEAN <= mean <= LARGEST_MEAN for mean in self.mean):
            raise ContractError(f"front end: mean holds NaN or values beyond ±{LARGEST_MEAN:g}")
        if not all(0.0 < scale <= LARGEST_SCALE for scale in self.scale):
            raise ContractError(f"front end: scale holds NaN or values outside 0 to {LARGEST_SCALE:g}")
        if (self.mel_scale, self.mel_norm, self.log) != ("slaney", "slaney", "ln"):
            raise ContractError(
                f"front end: mel scale {self.mel_scale!r}, norm {self.mel_norm!r}, log {self.log!r} are not known; "
                "expected 'slaney', 'slaney', 'ln'"
            )

    def with_normalisation(self, mean: npt.ArrayLike, scale: npt.ArrayLike) -> Self:
        """Return the same front end with per-bin `mean` and (multiplied) `scale`, each of shape (mels,)."""
        return replace(self, mean=_shortest(mean), scale=_shortest(scale))

    @property
    def raw(self) -> Self:
        """The same front end without normalisation and clipping: plain log-mel."""
        return replace(self, mean=(), scale=())

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads back to an equal front end."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ContractError: a field is missing or unknown, or of another type.
        """
        try:
            return cls._read(JsonObject(value, "front end"))
        except ValueError as error:
            raise ContractError(f"{error}; export or train the model again") from error

    @classmethod
    def _read(cls, value: JsonObject) -> Self:
        value.check_names(tuple(cls.__dataclass_fields__))
        return cls(
            sample_rate=value.integer("sample_rate"),
            window=value.integer("window"),
            hop=value.integer("hop"),
            mels=value.integer("mels"),
            low=value.number("low"),
            high=value.number("high"),
            mel_scale=value.text("mel_scale"),
            mel_norm=value.text("mel_norm"),
            log=value.text("log"),
            floor=value.number("floor"),
            mean=_shortest(value.numbers("mean")),
            scale=_shortest(value.numbers("scale")),
            clip=value.number("clip"),
        )

    @cached_property
    def mel_matrix(self) -> Array:
        """The mel filter bank, (mels, window // 2 + 1), float32."""
        return mel_matrix(self.sample_rate, self.window, self.mels, self.low, self.high)


def _shortest(values: npt.ArrayLike) -> tuple[float, ...]:
    """Return single-precision values as the shortest decimals that read back to them: half the size as JSON."""
    with np.errstate(over="ignore"):  # too large for single precision: infinite, which no front end may hold
        singles = np.asarray(values, np.float32)
    return tuple(float(str(v)) for v in singles)


def _hz_to_mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    linear = 3.0 * hz / 200.0
    return np.where(hz < 1000.0, linear, 15.0 + 27.0 * np.log(np.maximum(hz, 1e-9) / 1000.0) / np.log(6.4))


def _mel_to_hz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < 15.0, 200.0 * mel / 3.0, 1000.0 * np.exp(np.log(6.4) * (mel - 15.0) / 27.0))


def mel_edges(mels: int, low: float, high: float) -> npt.NDArray[np.float64]:
    """Return where filters from `low` to `high` begin, peak and end, Hz, (mels + 2,): filter i at i, i + 1, i + 2."""
    bottom, top = _hz_to_mel(np.array([low, high]))
    return _mel_to_hz(np.linspace(bottom, top, mels + 2))


@lru_cache(maxsize=16)
def mel_matrix(sample_rate: int, window: int, mels: int, low: float, high: float) -> Array:
    """Return triangular filters of unit area on Slaney's mel scale, (mels, window // 2 + 1), float32.

    Slaney, Auditory Toolbox, 1998; the same matrix as librosa.filters.mel with its defaults.
    """
    edges = mel_edges(mels, low, high)
    bins = np.linspace(0.0, sample_rate / 2.0, window // 2 + 1)
    ramps = edges[:, None] - bins[None, :]
    widths = np.diff(edges)
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    return weights.astype(np.float32)


def hann_window(size: int) -> Array:
    """Return the periodic Hann window, (size,), float32."""
    phase = 2.0 * np.pi * np.arange(size) / size
    return (0.5 - 0.5 * np.cos(phase)).astype(np.float32)


class _Band(NamedTuple):
    """Neighbouring mel filters: where they stand, which bins they read, and their weights, (bins, filters)."""

    mels: slice
    bins: slice
    weights: Array


@lru_cache(maxsize=16)
def _mel_bands(front_end: FrontEnd) -> tuple[_Band, ...]:
    """Return the filters in bands: a filter reads few bins, near to those that its neighbours read."""
    bands, filters = [], front_end.mel_matrix
    for begin in range(0, len(filters), BAND):
        band = filters[begin : begin + BAND]
        read = np.flatnonzero(band.any(axis=0))
        low, high = (int(read[0]), int(read[-1]) + 1) if len(read) else (0, 1)
        weights = np.ascontiguousarray(band[:, low:high].T)
        bands.append(_Band(slice(begin, begin + len(band)), slice(low, high), weights))
    return tuple(bands)


class LogMel:
    """Samples in, normalised log-mel frames out.

    Any chunking of a signal gives the same frames bit for bit.
    """

    def __init__(self, config: FrontEnd | None = None) -> None:
        self.config = config or FrontEnd()
        window, hop = self.config.window, self.config.hop
        self._hann, self._bands = hann_window(window), _mel_bands(self.config.raw)
        self._mean = np.asarray(self.config.mean, np.float32)
        self._scale = np.asarray(self.config.scale, np.float32)
        self._low, self._high, self._floor = map(np.float32, (-self.config.clip, self.config.clip, self.config.floor))
        # The samples of a block of windows, which overlap, and a view of each window.
        self._samples = np.zeros(window - hop + BLOCK * hop, np.float32)
        self._windows = sliding_window_view(self._samples, window)[::hop]
        self._block = np.empty((BLOCK, window), np.float32)
        self._spectrum = np.empty((BLOCK, window // 2 + 1), np.complex64)
        self._squares = self._spectrum.view(np.float32)
        self._power = np.empty((BLOCK, window // 2 + 1), np.float32)
        self._mel = np.empty((BLOCK, self.config.mels), np.float32)
        self.reset()

    def __getstate__(self) -> dict[str, object]:
        """Return the attributes of a copy, which gets its own samples and a new view of them."""
        return {**self.__dict__, "_samples": self._samples.copy(), "_windows": None, "_squares": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._spectrum = self._spectrum.copy()
        self._squares = self._spectrum.view(np.float32)
        self._windows = sliding_window_view(self._samples, self.config.window)[:: self.config.hop]

    def reset(self) -> None:
        """Forget all audio: the next sample is the first of a new stream."""
        self._samples[:] = 0.0
        self._pending = 0

    def push(self, samples: npt.ArrayLike) -> Array:
        """Take `samples`, (n,) float in [−1, 1], any n ≥ 0; return the frames that they complete, (frames, mels).

        Raises:
            AudioError: samples are not one-dimensional float, hold NaN or infinities, or are unscaled integers; the
                stream is unchanged.
        """
        chunk = check_samples(samples)
        hop, tail = self.config.hop, self.config.window - self.config.hop
        frames = np.empty(((self._pending + len(chunk)) // hop, self.config.mels), np.float32)
        done = taken = 0
        while taken < len(chunk):
            new = chunk[taken : taken + BLOCK * hop - self._pending]
            begin = tail + self._pending
            self._samples[begin : begin + len(new)] = new
            taken += len(new)
            count, self._pending = divmod(self._pending + len(new), hop)
            if count:
                np.add(self._mel_power()[:count], self._floor, out=frames[done : done + count])
                done += count
                kept = tail + self._pending
                self._samples[:kept] = self._samples[count * hop : count * hop + kept]
        np.log(frames, out=frames)
        return self.normalise(frames)

    def _mel_power(self) -> Array:
        """Return the mel power of a block of windows, (BLOCK, mels); rows after the last sample are undefined."""
        np.multiply(self._windows, self._hann, out=self._block)
        np.fft.rfft(self._block, out=self._spectrum)  # type: ignore[arg-type]  # numpy 2 keeps single precision
        np.square(self._squares, out=self._squares)
        np.add(self._squares[:, 0::2], self._squares[:, 1::2], out=self._power)
        for band in self._bands:
            np.matmul(self._power[:, band.bins], band.weights, out=self._mel[:, band.mels])
        return self._mel

    def normalise(self, log_mel: Array) -> Array:
        """Apply mean, scale and clip to raw log-mel, (..., mels), in place, where the front end has them."""
        if len(self._mean):
            log_mel -= self._mean
            log_mel *= self._scale
            np.maximum(log_mel, self._low, out=log_mel)
            np.minimum(log_mel, self._high, out=log_mel)
        return log_mel

    def __call__(self, samples: npt.ArrayLike) -> Array:
        """Return the frames of a whole signal, (len(samples) // hop, mels), without changing the stream.

        Raises:
            AudioError: as `push` does.
        """
        return LogMel(self.config).push(samples)


def check_samples(samples: npt.ArrayLike) -> Array:
    """Return `samples` as a finite one-dimensional float32 array.

    Raises:
        AudioError: another shape, an integer type or unscaled integers (scale to [−1, 1] first), NaN or infinities.
    """
    array = np.asarray(samples)
    if array.ndim != 1:
        raise AudioError(f"samples have shape {array.shape}; expected one channel, shape (n,): downmix first")
    if array.dtype.kind != "f":
        raise AudioError(f"samples are {array.dtype}; expected float32 in [-1, 1]: divide integers by full scale first")
    if not len(array):
        return array.astype(np.float32, copy=False)
    peak = float(np.abs(array).max())
    if peak <= 1.0 or (peak <= LOUDEST and not are_unscaled(array)):
        return array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise AudioError(
            f"samples hold {int((~np.isfinite(array)).sum())} NaN or infinite values; expected finite ones"
        )
    raise AudioError(f"samples reach {peak:g}; expected about [-1, 1]: divide integer values by full scale first")


def are_unscaled(samples: Array) -> bool:
    """Return whether samples, some beyond ±1, are all whole numbers: integers that nobody divided by full scale."""
    return bool((samples == np.rint(samples)).all())
