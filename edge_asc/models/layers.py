"""Layers that all backbones are declared with. Tensors are (batch, channel, mel, time)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from edge_asc.contract import STEP_FRAMES, Form
from edge_asc.errors import EdgeAscError


class Caches:
    """The last input columns of every causal convolution of a stream, by the convolution's name.

    A step reads the caches of the step before and fills those of the next. Nothing is changed in place, so streams do
    not disturb each other.
    """

    def __init__(self, columns: dict[str, Tensor]) -> None:
        self._columns = columns
        self.next: dict[str, Tensor] = {}

    def extend(self, name: str, x: Tensor) -> Tensor:
        """Prepend the cached columns of convolution `name` to `x`; keep the last ones for the next step."""
        columns = self._columns[name]
        x = torch.cat((columns, x), dim=3)
        self.next[name] = x[..., x.shape[3] - columns.shape[3] :]
        return x


class StreamConv(nn.Module):
    """2-D convolution, zero padded to keep the mel size ⌈F / stride⌉.

    In the windowed form, time is padded equally on both sides. In the causal form, all time padding (kernel − stride
    columns) is on the left, and a stream carries it from step to step in `Caches`. A convolution whose input comes in
    multiples of its stride then gives the same columns as one pass (inferred; the paper is windowed).
    """

    def __init__(
        self,
        channels: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int] = (1, 1),
        *,
        form: Form,
        groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.cache_name = ""
        self.kernel, self.stride, self.form = kernel, stride, form
        self.conv = nn.Conv2d(*channels, kernel, stride, groups=groups, bias=bias)
        self.mel_padding = (kernel[0] - 1) // 2
        if form == "causal":
            self.time_padding = (max(0, kernel[1] - stride[1]), 0)
        else:
            self.time_padding = ((kernel[1] - 1) // 2, (kernel[1] - 1) // 2)

    @property
    def cached_columns(self) -> int:
        """Input columns that a stream carries for this layer."""
        return self.time_padding[0] if self.form == "causal" else 0

    @property
    def weight(self) -> Tensor:
        """The kernel, (outputs, inputs / groups, mel, time)."""
        return self.conv.weight

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, inputs, F, T) → (B, outputs, ⌈F / stride⌉, T / stride)."""
        left, right = self.time_padding
        if self.training and self.kernel == (1, 1) and self.stride != (1, 1):
            # The same columns; oneDNN's backward pass of the strided form writes out of bounds on some CPUs.
            x = x[:, :, :: self.stride[0], :: self.stride[1]]
            return nn.functional.conv2d(x, self.conv.weight, self.conv.bias, groups=self.conv.groups)
        conv, padding = self.conv, (self.mel_padding, 0)
        if caches is not None and self.cached_columns:
            x = caches.extend(self.cache_name, x)
        elif left == right:
            padding = (self.mel_padding, left)
        else:
            x = nn.functional.pad(x, (left, right, 0, 0))
        return nn.functional.conv2d(x, self.weight, conv.bias, self.stride, padding, groups=conv.groups)


class SeparableConv(StreamConv):
    """A depthwise convolution over mel and one over time, computed as one: its kernel is the product of theirs.

    The sums are the same. Memory is read once, and integers are rounded once instead of twice. Without a bias, zeros
    around the input are zeros between both convolutions, too.
    """

    def __init__(self, channels: int, kernel: tuple[int, int], stride: tuple[int, int], *, form: Form) -> None:
        mel = nn.Conv2d(channels, channels, (kernel[0], 1), groups=channels, bias=False)
        super().__init__((channels, channels), (1, kernel[1]), (1, stride[1]), form=form, groups=channels)
        time = self.conv
        del self.conv
        self.mel, self.conv = mel, time  # in this order, which optimisers of resumed trainings know
        self.kernel, self.stride, self.mel_padding = kernel, stride, (kernel[0] - 1) // 2

    @property
    def weight(self) -> Tensor:
        """The kernel, (channels, 1, mel, time)."""
        return self.mel.weight * self.conv.weight


class SubSpectralNorm(nn.Module):
    """Batch normalisation of each of `bands` mel bands on its own (Chang et al., ICASSP 2021)."""

    def __init__(self, channels: int, bands: int = 4) -> None:
        super().__init__()
        self.bands = bands
        self.norm = nn.BatchNorm2d(channels * bands)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, T) → the same shape; F must be a multiple of the number of bands."""
        norm, (batch, channels, mels, time) = self.norm, x.shape
        if isinstance(norm, nn.SyncBatchNorm):
            bands_as_channels = x.reshape(batch, channels * self.bands, mels // self.bands, time)
            together: Tensor = norm(bands_as_channels).reshape(x.shape)
            return together
        # The bands become channels, (band, channel), in the memory order of a training: channels last. Both passes of
        # the batch norm then read contiguous memory, which takes a fifth of the time of band after band on a CPU.
        if self.training and norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
        y = x.permute(0, 2, 3, 1).reshape(batch, self.bands, mels // self.bands, time, channels)
        y = y.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
        mean, variance = self._band_major(norm.running_mean), self._band_major(norm.running_var)
        weight, bias = self._band_major(norm.weight), self._band_major(norm.bias)
        y = nn.functional.batch_norm(y, mean, variance, weight, bias, self.training, norm.momentum or 0.1, norm.eps)
        if self.training and mean is not None and variance is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.copy_(mean.view(self.bands, channels).t().flatten())
            norm.running_var.copy_(variance.view(self.bands, channels).t().flatten())
        y = y.permute(0, 2, 3, 1).reshape(batch, mels // self.bands, time, self.bands, channels)
        return y.permute(0, 3, 1, 2, 4).flatten(1, 2).permute(0, 3, 1, 2)

    def _band_major(self, values: Tensor | None) -> Tensor | None:
        """Reorder values of all bands from (channel, band) to (band, channel)."""
        return None if values is None else values.view(-1, self.bands).t().flatten()


class ResNorm(nn.Module):
    """λ·x + (x − μ) / √(σ² + ε), with μ and σ² of each mel bin over channels and time (Kim et al., 2021).

    The statistics span the whole clip, so there is no causal form.
    """

    def __init__(self, weight: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.epsilon = weight, epsilon

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, T) → the same shape."""
        variance, mean = torch.var_mean(x, dim=(1, 3), correction=0, keepdim=True)
        return self.weight * x + (x - mean) * torch.rsqrt(variance + self.epsilon)


class MelMean(nn.Module):
    """The mean over mel, (B, C, F, T) → (B, C, 1, T)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, T) → (B, C, 1, T)."""
        return x.mean(dim=2, keepdim=True)


class InputNorm(nn.Module):
    """Batch normalisation over mel bins, (B, 1, F, T) → the same shape."""

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(mels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, F, T) → the same shape."""
        result: Tensor = self.norm(x[:, 0])
        return result.unsqueeze(1)


class Sequence(nn.Sequential):
    """`nn.Sequential` whose members take the caches of a stream where they hold convolutions."""

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """Apply the members in order."""
        for layer in self:
            x = layer(x, caches) if isinstance(layer, StreamConv | Block | Sequence) else layer(x)
        return x


class Block(nn.Module):
    """A module of several layers that may hold convolutions with caches."""

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, C, F, T) → (B, C', F', T')."""
        raise NotImplementedError


class BackboneModule(Block):
    """The convolutional part of a model, (B, 1, mel bins, T) → (B, channels, mels, T / 8).

    Attributes:
        channels, mels: sizes of the output.
    """

    channels: int
    mels: int


def check_mels(backbone: str, mels: int, divisor: int) -> None:
    """Make sure that a backbone can halve so many mel bins.

    Raises:
        EdgeAscError: they are not a multiple of `divisor`.
    """
    if mels % divisor:
        raise EdgeAscError(f"{backbone}: got {mels} mel bins; expected a multiple of {divisor}")


def cached_convolutions(backbone: nn.Module) -> Iterator[tuple[str, StreamConv]]:
    """Yield the convolutions that carry columns from step to step, with the names of their caches."""
    for name, module in backbone.named_modules():
        if isinstance(module, StreamConv) and module.cached_columns:
            yield f"cache_{name.replace('.', '_')}", module


def name_caches(backbone: nn.Module) -> None:
    """Name the cache of each convolution after it."""
    for name, conv in cached_convolutions(backbone):
        conv.cache_name = name


def make_caches(backbone: nn.Module, mels: int, batch: int = 1) -> dict[str, Tensor]:
    """Return the caches of a new stream of log-mel with so many bins: zeros, (batch, C, F, columns), by name."""
    caches: dict[str, Tensor] = {}

    def record(module: StreamConv, inputs: tuple[Any, ...], _: Tensor) -> None:
        x = inputs[0]
        caches[module.cache_name] = x.new_zeros(batch, x.shape[1], x.shape[2], module.cached_columns)

    handles = [conv.register_forward_hook(record) for _, conv in cached_convolutions(backbone)]
    training = backbone.training
    try:
        with torch.no_grad():
            backbone.eval()(next(backbone.parameters()).new_zeros(1, 1, mels, STEP_FRAMES))
    finally:
        backbone.train(training)
        for handle in handles:
            handle.remove()
    return caches
