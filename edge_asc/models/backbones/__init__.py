"""The three backbones: (B, 1, 256, T) → (B, channels, mels, T / 8)."""

from edge_asc.models.backbones.bcresnet import BCResNet
from edge_asc.models.backbones.fuse import FUSE
from edge_asc.models.backbones.resnet import ResNet

BACKBONES = {"fuse": FUSE, "bcresnet": BCResNet, "resnet": ResNet}

__all__ = ["BACKBONES", "FUSE", "BCResNet", "ResNet"]
