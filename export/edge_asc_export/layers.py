"""How each layer is lowered: one function a layer, registered by its type.

A layer outside this table brings a method `lower` (edge_asc/models/lowering.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import torch
from torch import nn

from edge_asc.errors import ExportError
from edge_asc.models.layers import InputNorm, MelMean, ResNorm, StreamConv, SubSpectralNorm
from edge_asc.models.lowering import Lowerable
from edge_asc_export.builder import Builder, Padding
from edge_asc_export.graph import Add, Array, Conv2D

# XNNPACK has depthwise kernels of at most 25 taps; a longer one is computed channel by channel.
MOST_TAPS = 25
TAPS = 8


@dataclass(frozen=True)
class Scaled:
    """A tensor times a per-channel scale plus a shift, waiting to be folded into the convolution that reads it."""

    tensor: str
    scale: Array
    shift: Array


@dataclass(frozen=True)
class Site:
    """Where a layer stands in a model.

    Attributes:
        builder: that takes the layer's operations.
        name: of the layer, for its tensors.
        value: that the layer reads.
        is_only_reader: whether nothing else reads that value.
    """

    builder: Builder
    name: str
    value: str | Scaled
    is_only_reader: bool

    @property
    def x(self) -> str:
        """The tensor that the layer reads.

        Raises:
            ExportError: a normalisation before the layer is still to be folded.
        """
        if isinstance(self.value, Scaled):
            raise ExportError(f"the normalisation before {self.name} cannot be folded into it")
        return self.value


def has_export_form(layer: nn.Module) -> bool:
    """Whether a layer is lowered as a whole, by its own method or a function of this table."""
    return isinstance(layer, Lowerable) or lower_layer.dispatch(type(layer)) is not _LOWER_UNKNOWN


@singledispatch
def lower_layer(layer: nn.Module, site: Site) -> str | Scaled:
    """Emit a layer's operations; return the tensor that holds its result.

    Raises:
        ExportError: the layer has no export form.
    """
    if isinstance(layer, Lowerable):
        return layer.lower(site.builder, site.name, site.x)
    raise ExportError(f"{site.name}: a {type(layer).__name__} has no export form; give it a method lower()")


_LOWER_UNKNOWN = lower_layer.dispatch(object)


@lower_layer.register(nn.Identity)
@lower_layer.register(nn.Dropout)
@lower_layer.register(nn.Dropout2d)
def _(layer: nn.Module, site: Site) -> str | Scaled:
    return site.value


@lower_layer.register
def _(layer: StreamConv, site: Site) -> str:
    x, columns = site.x, layer.cached_columns
    if columns:
        x = site.builder.extend_by_cache(site.name, x, layer.cache_name, columns)
    padding = ((layer.mel_padding, layer.mel_padding), (0, 0) if columns else layer.time_padding)
    return site.builder.emit(convolution(site.name, x, layer, padding))


@lower_layer.register
def _(layer: nn.BatchNorm2d, site: Site) -> str | Scaled:
    """Fold it into the convolution before it, or leave it to the one that comes after it."""
    scale, shift = affine_of(layer)
    producer = site.builder.nodes.get(site.x)
    if isinstance(producer, Conv2D) and site.is_only_reader and not producer.relu:
        return site.builder.scale_output(producer, scale, shift)
    return Scaled(site.x, scale, shift)


@lower_layer.register
def _(layer: InputNorm, site: Site) -> str:
    scale, shift = (v.reshape(-1, 1, 1) for v in affine_of(layer.norm))
    builder, name = site.builder, site.name
    scaled = builder.multiply(f"{name}_scaled", site.x, builder.constant(f"{name}_scale", scale))
    return builder.add(name, scaled, builder.constant(f"{name}_shift", shift))


@lower_layer.register
def _(layer: nn.ReLU, site: Site) -> str:
    producer = site.builder.nodes.get(site.x)
    if not isinstance(producer, Conv2D | Add) or not site.is_only_reader:
        raise ExportError(f"{site.name}: a ReLU is exported only on a convolution or a sum of its own")
    return site.builder.overwrite(replace(producer, relu=True))


@lower_layer.register
def _(layer: nn.SiLU, site: Site) -> str:
    return site.builder.multiply(site.name, site.x, site.builder.sigmoid(f"{site.name}_gate", site.x))


@lower_layer.register
def _(layer: nn.Sigmoid, site: Site) -> str:
    return site.builder.sigmoid(site.name, site.x)


@lower_layer.register
def _(layer: nn.Tanh, site: Site) -> str:
    return site.builder.tanh(site.name, site.x)


@lower_layer.register
def _(layer: MelMean, site: Site) -> str:
    """Average over mel by depthwise convolutions of equal weights: over many rows in two steps, which is exact.

    The first step is a tensor of its own in a plan, with its own range, and both formats round it alike.
    """
    mels, _, channels = site.builder.shapes[site.x]
    x, zeros = site.x, np.zeros(channels, np.float32)
    if mels > MOST_TAPS and mels % TAPS == 0:
        weight = np.full((TAPS, 1, 1, channels), 1.0 / TAPS, np.float32)
        x = site.builder.emit(Conv2D(f"{site.name}_parts", x, weight, zeros, stride=(TAPS, 1), depthwise=True))
        mels //= TAPS
    weight = np.full((mels, 1, 1, channels), 1.0 / mels, np.float32)
    return site.builder.emit(Conv2D(site.name, x, weight, zeros, depthwise=True))


@lower_layer.register
def _(layer: nn.MaxPool2d, site: Site) -> str:
    if layer.kernel_size not in (2, (2, 2)) or layer.stride not in (2, (2, 2)) or layer.padding not in (0, (0, 0)):
        raise ExportError(f"{site.name}: a MaxPool2d is exported only over 2 × 2 blocks without padding")
    return site.builder.max_pool(site.name, site.x)


@lower_layer.register
def _(layer: ResNorm, site: Site) -> str:
    raise ExportError(
        "ResNorm has no export form: its statistics span the window and would be computed in float; "
        "train the windowed model without it"
    )


@lower_layer.register
def _(layer: SubSpectralNorm, site: Site) -> str:
    """Fold it into the mel-depthwise convolution before it: one convolution for each band."""
    builder, x = site.builder, site.x
    conv = builder.nodes.get(x)
    if not isinstance(conv, Conv2D) or not conv.depthwise or conv.stride != (1, 1) or conv.relu:
        raise ExportError(f"{x}: SubSpectralNorm is exported only after a mel-depthwise convolution of stride 1")
    builder.remove(x)
    scale, shift = (v.reshape(-1, layer.bands) for v in affine_of(layer.norm))
    mels = builder.shapes[conv.input][0]
    size, halo = mels // layer.bands, conv.weight.shape[0] // 2
    parts = []
    for band in range(layer.bands):
        low, high = max(0, band * size - halo), min(mels, (band + 1) * size + halo)
        rows = builder.slice(f"{x}_rows{band}", conv.input, 0, low, high - low)
        padding = ((halo - (band * size - low), halo - (high - (band + 1) * size)), conv.padding[1])
        weight, bias = conv.weight * scale[:, band], conv.bias * scale[:, band] + shift[:, band]
        part = replace(conv, output=f"{x}_band{band}", input=rows, weight=weight, bias=bias, padding=padding)
        parts.append(builder.emit(part))
    return builder.concat(x, parts, 0)


def convolution(name: str, x: str, layer: StreamConv | nn.Conv2d, padding: Padding) -> Conv2D:
    """Return the node of a convolution."""
    conv = layer.conv if isinstance(layer, StreamConv) else layer
    weight = to_numpy(layer.weight).transpose(2, 3, 1, 0)
    bias = np.zeros(weight.shape[3], np.float32) if conv.bias is None else to_numpy(conv.bias)
    stride = (int(layer.stride[0]), int(layer.stride[1]))
    return Conv2D(name, x, weight, bias, stride, padding, depthwise=conv.groups > 1)


def affine_of(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Array, Array]:
    """Return the scale and shift of a batch normalisation at inference, computed in float64.

    Raises:
        ExportError: it has no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ExportError("a batch normalisation has no running statistics; train the model first")
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    shift = norm.bias.detach().double() - norm.running_mean.double() * scale
    return to_numpy(scale), to_numpy(shift)


def to_numpy(tensor: torch.Tensor) -> Array:
    """Return a tensor's values in float32."""
    return tensor.detach().cpu().numpy().astype(np.float32)
