"""What a backbone must keep: the shape of its output, and a stream that equals the whole clip.

The backbones of edge-asc are tested; any other one is checked when it is first built.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from edge_asc.backbone import Backbone
from edge_asc.contract import STEP_FRAMES, Form
from edge_asc.errors import EdgeAscError
from edge_asc.models.layers import BackboneModule, Caches, make_caches, name_caches

# The steps of the stream that is compared with the whole clip, frames.
STEPS = (8, 8, 16, 8, 8, 16)
# Largest difference between both, as a share of the largest output.
TOLERANCE = 1e-4

_checked: set[tuple[object, ...]] = set()


def check_backbone(backbone: Backbone, form: Form, mels: int, options: Mapping[str, bool | float]) -> None:
    """Check that a backbone of others keeps what exact streaming needs. It is built for that, with random weights.

    Args:
        backbone: its descriptor.
        form: that it is built in.
        mels: bins of the log-mel that it gets.
        options: that it is built with.

    Raises:
        EdgeAscError: it cannot be built or run, is no `BackboneModule`, gives another shape, or its stream differs from
            the whole clip; the message says what to change.
    """
    key = (backbone, form, mels, *options.items())
    if getattr(backbone.build, "__module__", "").startswith("edge_asc.") or key in _checked:
        return
    with torch.random.fork_rng(devices=[]), torch.device("cpu"), torch.no_grad():
        torch.manual_seed(0)
        module = _build(backbone, form, options)
        _randomise(module)
        x = torch.randn(1, 1, mels, sum(STEPS))
        whole = _run(backbone, module, x)
        if form == "causal":
            _check_stream(backbone, module, x, whole)
    _checked.add(key)


def _build(backbone: Backbone, form: Form, options: Mapping[str, bool | float]) -> BackboneModule:
    try:
        module: object = backbone.build(form, **options)
    except EdgeAscError:
        raise
    except Exception as error:  # another distribution's class, which may raise anything
        raise _fail(
            backbone, f"cannot be built ({type(error).__name__}: {error}); expected a class that takes the form first"
        ) from error
    if not isinstance(module, BackboneModule):
        raise _fail(backbone, f"gives a {type(module).__name__}; expected a BackboneModule")
    for name in ("channels", "mels"):
        size = getattr(module, name, None)
        if not isinstance(size, int) or size < 1:
            raise _fail(backbone, f"has {name} {size!r}; expected the size of its output, a number above 0")
    if next(module.parameters(), None) is None:
        raise _fail(backbone, "has no parameters; expected layers that can be trained")
    return module.eval()


def _randomise(module: nn.Module) -> None:
    """Make statistics and zero weights random, so that none of them hides a path."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            if layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.normal_(0.0, 0.2)
                layer.running_var.uniform_(0.5, 2.0)
            for parameter in layer.parameters(recurse=False):
                parameter.uniform_(0.5, 1.5)
    for parameter in module.parameters():
        if not parameter.any():
            parameter.normal_(0.0, 0.1)


def _run(backbone: Backbone, module: BackboneModule, x: Tensor) -> Tensor:
    expected = (1, module.channels, module.mels, x.shape[3] // STEP_FRAMES)
    try:
        y: object = module(x)
    except Exception as error:
        raise _fail(
            backbone,
            f"fails on log-mel of shape {tuple(x.shape)} ({type(error).__name__}: {error}); expected to compute "
            f"(batch, channels, mels, time / {STEP_FRAMES}), {expected}",
        ) from error
    shape = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
    if not isinstance(y, Tensor) or shape != expected:
        raise _fail(
            backbone,
            f"gives {shape} for log-mel of shape {tuple(x.shape)}; expected (batch, channels, mels, "
            f"time / {STEP_FRAMES}), {expected}",
        )
    if not torch.isfinite(y).all():
        raise _fail(backbone, "gives NaN or infinities for log-mel of noise; expected finite numbers")
    return y


def _check_stream(backbone: Backbone, module: BackboneModule, x: Tensor, whole: Tensor) -> None:
    name_caches(module)
    columns = make_caches(module, x.shape[2])
    parts: list[Tensor] = []
    for features in torch.split(x, list(STEPS), dim=3):
        caches = Caches(columns)
        try:
            parts.append(module(features, caches))
        except Exception as error:
            raise _fail(
                backbone,
                f"fails on a step of {features.shape[3]} frames ({type(error).__name__}: {error}); "
                "expected forward(x, caches)",
            ) from error
        if missing := sorted(columns.keys() - caches.next.keys()):
            names = ", ".join(name.removeprefix("cache_") for name in missing)
            raise _fail(
                backbone,
                f"does not give the caches to {names}; expected forward to hand them on, as in self.body(x, caches) "
                "with a Sequence",
            )
        columns = caches.next
    streamed = torch.cat(parts, dim=3)
    if streamed.shape != whole.shape:
        raise _fail(backbone, f"streams {tuple(streamed.shape)}; expected {tuple(whole.shape)}, as of the whole clip")
    difference = float((streamed - whole).abs().max() / whole.abs().max().clamp_min(1e-9))
    if not difference <= TOLERANCE:
        raise _fail(
            backbone,
            f"is not causal: its stream differs from the whole clip by {difference:.2g} of the largest output, at most "
            f"{TOLERANCE:g} is rounding; expected each layer that looks at several frames to be a StreamConv of the "
            "form that the backbone is built in, and no statistics over time",
        )


def _fail(backbone: Backbone, what: str) -> EdgeAscError:
    return EdgeAscError(f"backbone {backbone.name} {what} (docs/backbones.md)")
