"""Batches of training crops, each decided by its number alone, so that any process may prepare it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from edge_asc.frontend import Array, FrontEnd
from edge_asc.training.augmentation import augment_audio, mask, mixup
from edge_asc.training.compute import Compute
from edge_asc.training.recipe import Recipe

Batch = tuple[Tensor, Tensor]


class Batches(Dataset[Batch]):
    """The batches of one epoch: augmented, normalised crops, (B, 1, mel, time), and their targets, (B, classes).

    A batch holds this process's share of the recipe's; what is in it follows from the recipe's seed and the numbers
    of epoch, batch and process.

    Args:
        features: raw log-mel of each clip, (frames, mels).
        targets: label index of each clip.
        front_end: with normalisation.
        epoch: its number, from 0.
        rank, ranks: number of this process, and how many share each batch.
    """

    def __init__(
        self,
        features: Sequence[Array],
        targets: Tensor,
        classes: int,
        front_end: FrontEnd,
        recipe: Recipe,
        epoch: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self.features, self.targets, self.classes = features, targets, classes
        self.front_end, self.recipe, self.epoch, self.rank, self.ranks = front_end, recipe, epoch, rank, ranks
        generator = _generator(recipe.seed, epoch)
        order = torch.cat([torch.randperm(len(features), generator=generator) for _ in range(recipe.crops)])
        # Batch normalisation needs two crops in each process; what is left out has its turn in another epoch.
        self.parts = [part for part in torch.split(order, recipe.batch) if len(part) >= 2 * ranks]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self.parts):
            raise IndexError(index)
        recipe, low, high = self.recipe, self.recipe.frames[0] // 8, self.recipe.frames[1] // 8
        together = _generator(recipe.seed, self.epoch, index)
        frames = 8 * int(torch.randint(low, high + 1, (1,), generator=together))
        generator = _generator(recipe.seed, self.epoch, index, self.rank)
        clips = self.parts[index][self.rank :: self.ranks]
        x = torch.from_numpy(np.stack([self._crop(clip, frames, generator) for clip in clips.tolist()])).unsqueeze(1)
        x = augment_audio(x, recipe.augmentation, self.front_end.floor, generator)
        mean, scale = (torch.tensor(v).view(1, 1, -1, 1) for v in (self.front_end.mean, self.front_end.scale))
        x = ((x - mean) * scale).clamp(-self.front_end.clip, self.front_end.clip)
        y = F.one_hot(self.targets[clips], self.classes).float()
        if recipe.augmentation.mixup:
            x, y = mixup(x, y, recipe.augmentation.mixup, generator)
        x = mask(x, recipe.augmentation, generator)
        return x.contiguous(memory_format=torch.channels_last), y

    def _crop(self, index: int, frames: int, generator: torch.Generator) -> Array:
        """(mels, frames) of a clip, which is repeated if it is too short."""
        clip = self.features[index]
        spare = len(clip) - frames
        begin = int(torch.randint(max(0, spare) + 1, (1,), generator=generator))
        if torch.rand(1, generator=generator) < self.recipe.start:
            begin = 0
        crop = np.array(clip[begin : begin + frames])
        return (np.pad(crop, ((0, -spare), (0, 0)), mode="wrap") if spare < 0 else crop).T

    def loader(self, compute: Compute) -> DataLoader[Batch]:
        """The batches in order, prepared by the loader processes of `compute` ahead of their use."""
        return DataLoader(
            self,
            batch_size=None,
            num_workers=min(compute.loaders, len(self)),
            pin_memory=compute.device != "cpu",
            generator=torch.Generator(),  # its own, for the default one belongs to the model's dropout
        )


def batch_count(clips: int, recipe: Recipe) -> int:
    """The number of batches in an epoch, whole or not."""
    return math.ceil(clips * recipe.crops / recipe.batch)


def _generator(*numbers: int) -> torch.Generator:
    # With their count, since trailing zeros do not tell two sequences apart.
    (seed,) = np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)
