"""FUSE, built of fully separated convolutional modules (Choi et al., arXiv 2203.08439)."""

from __future__ import annotations

from torch import Tensor, nn

from edge_asc.backbone import Backbone
from edge_asc.contract import Form
from edge_asc.frontend import MELS
from edge_asc.models.layers import BackboneModule, Block, Caches, SeparableConv, Sequence, StreamConv, check_mels


class Module(Block):
    """Pointwise, mel-depthwise and time-depthwise convolution, pointwise again, and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], form: Form) -> None:
        super().__init__()
        self.expand = StreamConv((inputs, outputs), (1, 1), form=form)
        self.time = SeparableConv(outputs, (3, 3), stride, form=form)
        self.norm1, self.relu1 = nn.BatchNorm2d(outputs), nn.ReLU()
        self.project, self.norm2 = StreamConv((outputs, outputs), (1, 1), form=form), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                StreamConv((inputs, outputs), (1, 1), stride, form=form), nn.BatchNorm2d(outputs)
            )
        self.relu2 = nn.ReLU()
        self.register_load_state_dict_pre_hook(self._rename)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, inputs, F, T) → (B, outputs, F / stride, T / stride)."""
        y = self.relu1(self.norm1(self.time(self.expand(x), caches)))
        result: Tensor = self.relu2(self.norm2(self.project(y)) + self.shortcut(x))
        return result

    @staticmethod
    def _rename(_: nn.Module, weights: dict[str, Tensor], prefix: str, *_args: object) -> None:
        """Take the weights of older checkpoints, which had a layer for each of both depthwise convolutions."""
        if (old := f"{prefix}mel.conv.weight") in weights:
            weights[f"{prefix}time.mel.weight"] = weights.pop(old)


class FUSE(BackboneModule):
    """Three stages of three modules: 48, 72 and 108 channels times `width`, 8 mel rows of 256 bins.

    Inferred from two parameter counts.
    """

    def __init__(self, form: Form, mels: int = MELS, width: float = 1.0) -> None:
        super().__init__()
        check_mels("FUSE", mels, 32)
        inputs, *stages = (max(1, round(width * channels)) for channels in (32, 48, 72, 108))
        stem = StreamConv((1, inputs), (5, 5), (4, 2), bias=True, form=form)
        self.stem = Sequence(stem, nn.BatchNorm2d(inputs), nn.ReLU())
        modules = []
        for outputs, stride in zip(stages, ((2, 2), (2, 2), (2, 1)), strict=True):
            for i in range(3):
                modules.append(Module(inputs, outputs, (1, 1) if i else stride, form))
                inputs = outputs
        self.body, self.channels, self.mels = Sequence(*modules), inputs, mels // 32

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, 1, 256, T) → (B, 108, 8, T / 8); sizes at the default options."""
        result: Tensor = self.body(self.stem(x, caches), caches)
        return result


BACKBONE = Backbone(name="fuse", title="FUSE", build=FUSE, options=("mels", "width"))
