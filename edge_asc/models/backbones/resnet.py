"""The ResNet backbone (small details inferred from the printed parameter counts)."""

from __future__ import annotations

from torch import Tensor, nn

from edge_asc.backbone import Backbone
from edge_asc.contract import Form
from edge_asc.frontend import MELS
from edge_asc.models.layers import BackboneModule, Block, Caches, InputNorm, Sequence, StreamConv, check_mels


class BasicBlock(Block):
    """Two 3×3 convolutions and a shortcut (He et al., 2016)."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], form: Form) -> None:
        super().__init__()
        self.conv1, self.norm1 = StreamConv((inputs, outputs), (3, 3), stride, form=form), nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2, self.norm2 = StreamConv((outputs, outputs), (3, 3), form=form), nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(
                StreamConv((inputs, outputs), (1, 1), stride, form=form), nn.BatchNorm2d(outputs)
            )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, inputs, F, T) → (B, outputs, F / stride, T / stride)."""
        y = self.relu1(self.norm1(self.conv1(x, caches)))
        y = self.norm2(self.conv2(y, caches))
        result: Tensor = self.relu2(y + self.shortcut(x))
        return result


class ResNet(BackboneModule):
    """Ten basic blocks in four stages: 8, 16, 32 and 64 channels times `width`, 32 mel rows of 256 bins."""

    def __init__(self, form: Form, mels: int = MELS, width: float = 1.0) -> None:
        super().__init__()
        check_mels("ResNet", mels, 8)
        stages = [max(1, round(width * channels)) for channels in (8, 16, 32, 64)]
        inputs = stages[0]
        self.input_norm = InputNorm(mels)
        self.stem = Sequence(StreamConv((1, inputs), (5, 5), form=form), nn.BatchNorm2d(inputs), nn.ReLU())
        blocks = []
        strides = ((1, 1), (2, 2), (2, 2), (2, 2))
        for count, outputs, stride in zip((3, 3, 3, 1), stages, strides, strict=True):
            for i in range(count):
                blocks.append(BasicBlock(inputs, outputs, (1, 1) if i else stride, form))
                inputs = outputs
        self.body, self.norm = Sequence(*blocks), nn.BatchNorm2d(inputs)
        self.channels, self.mels = inputs, mels // 8

    def forward(self, x: Tensor, caches: Caches | None = None) -> Tensor:
        """(B, 1, 256, T) → (B, 64, 32, T / 8); sizes at the default options."""
        result: Tensor = self.norm(self.body(self.stem(self.input_norm(x), caches), caches))
        return result


BACKBONE = Backbone(name="resnet", title="ResNet", build=ResNet, options=("mels", "width"))
