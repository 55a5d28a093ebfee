"""BC-ResNet for acoustic scenes.

Kim et al., "Domain generalization on efficient acoustic scene classification", 2021.
"""

from __future__ import annotations

from torch import Tensor, nn

from edge_asc.backbone import Backbone
from edge_asc.contract import Form
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import MELS
from edge_asc.models.layers import (
    BackboneModule,
    Block,
    Caches,
    MelMean,
    ResNorm,
    Sequence,
    StreamConv,
    SubSpectralNorm,
    check_mels,
)


class BCBlock(Block):
    """Broadcasted residual block: a 2-D mel path plus a 1-D time path that is broadcast over mel."""

    def __init__(self, inputs: int, outputs: int, form: Form) -> None:
        super().__init__()
        self.transition = inputs != outputs
        self.expand: nn.Module = nn.Identity()
        if self.transition:
            self.expand = nn.Sequential(
                StreamConv((inputs, outputs), (1, 1), form=form), nn.BatchNorm2d(outputs), nn.ReLU()
            )
        self.mel = StreamConv((outputs, outputs), (3, 1), groups=outputs, form=form)
        self.subnorm = SubSpectralNorm(outputs)
        self.mean = MelMean()
        self.time = StreamConv((outputs, outputs), (1, 3), groups=outputs, form=form)
        self.norm = nn.BatchNorm2d(outputs)
        self.silu = nn.SiLU()
        self.project, self.dropout = StreamConv((outputs, outputs), (1, 1), form=form), nn.Dropout2d(0.1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, inputs, F, T) → (B, outputs, F, T)."""
        y = self.subnorm(self.mel(self.expand(x)))
        z = self.silu(self.norm(self.time(self.mean(y), caches)))
        y = y + self.dropout(self.project(z))
        result: Tensor = self.relu(y if self.transition else y + x)
        return result


class BCResNet(BackboneModule):
    """Nine BC blocks: c, 1.5 c, 2 c and 2.5 c channels, 32 mel rows of 256 bins.

    c is 50 times `width`; it is 80 in Kim et al.
    """

    def __init__(self, form: Form, mels: int = MELS, width: float = 1.0, res_norm: bool = False) -> None:
        super().__init__()
        check_mels("BCResNet", mels, 32)
        if res_norm and form == "causal":
            raise EdgeAscError(
                "BCResNet: ResNorm has no causal form, its statistics span the whole clip; "
                "use the windowed form, or leave ResNorm out"
            )

        def norm() -> list[nn.Module]:
            return [ResNorm()] if res_norm else []

        first = max(2, round(50 * width))
        inputs = 2 * first
        stem = StreamConv((1, inputs), (5, 5), (2, 2), form=form)
        self.stem = Sequence(*norm(), stem, nn.BatchNorm2d(inputs), nn.ReLU())
        layers: list[nn.Module] = norm()
        for count, outputs, pool in (
            (2, first, True),
            (2, first * 3 // 2, True),
            (2, 2 * first, False),
            (3, first * 5 // 2, False),
        ):
            for _ in range(count):
                layers.append(BCBlock(inputs, outputs, form))
                inputs = outputs
            layers += [*norm(), *([nn.MaxPool2d(2)] if pool else [])]
        self.channels, self.mels = inputs, mels // 8
        self.body, self.norm = Sequence(*layers), nn.BatchNorm2d(inputs)

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, 1, 256, T) → (B, 125, 32, T / 8); sizes at the default options."""
        result: Tensor = self.norm(self.body(self.stem(x, caches), caches))
        return result


BACKBONE = Backbone(name="bcresnet", title="BC-ResNet", build=BCResNet, options=("mels", "width", "res_norm"))
