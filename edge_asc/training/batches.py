"""Batches of training crops, each determined by its number alone, so that any process may prepare it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from edge_asc.errors import EdgeAscError
from edge_asc.frontend import FrontEnd
from edge_asc.training.augmentation import (
    apply_levels,
    draw_rate,
    find_active_frames,
    holds_sound,
    mask,
    mix,
    to_log_mel,
    to_power,
    warp_bins,
    warp_rows,
)
from edge_asc.training.compute import Compute
from edge_asc.training.recipe import Stage
from edge_asc.training.workers import end_with_parent, make_context

Array = npt.NDArray[np.float32]
Batch = tuple[Tensor, Tensor]

IN_MEMORY_BYTES = 2**30


class Examples:
    """Clips with their labels, and what the stages of a training learn of them once.

    Args:
        features: raw log-mel of each clip, (frames, mels).
        targets: label index of each clip.
        classes: number of labels.
        front_end: with normalisation.
        other: index of the label for sounds of no other label; None without it.
        in_memory: most bytes of features that are copied into memory; larger sets are read from where they are.

    Raises:
        EdgeAscError: fewer than two clips, another number of targets, or a target out of range.
    """

    def __init__(
        self,
        features: Sequence[Array],
        targets: Sequence[int],
        classes: int,
        front_end: FrontEnd,
        other: int | None = None,
        in_memory: int = IN_MEMORY_BYTES,
    ) -> None:
        if len(features) < 2 or len(targets) != len(features):
            raise EdgeAscError(
                f"got {len(features)} training clips and {len(targets)} targets; expected 2 or more of each"
            )
        if not 0 <= min(targets) <= max(targets) < classes:
            raise EdgeAscError(f"targets are {min(targets)}..{max(targets)}; expected 0..{classes - 1}")
        self.features, self.classes, self.front_end, self.other = features, classes, front_end, other
        self.targets = torch.tensor(targets)
        if sum(clip.nbytes for clip in features) <= in_memory:
            self.features = [np.array(clip) for clip in features]
        self._active: dict[int, npt.NDArray[np.intp]] = {}

    def __len__(self) -> int:
        return len(self.features)

    def active(self, clip: int) -> npt.NDArray[np.intp]:
        """Numbers of the active frames of a clip, ascending."""
        if clip not in self._active:
            self._active[clip] = find_active_frames(self.features[clip], self.front_end.floor)
        return self._active[clip]

    def draw(self, class_limit: float, generator: torch.Generator) -> Tensor:
        """Numbers of the clips of an epoch in random order; see `Stage.class_limit`."""
        order = torch.randperm(len(self), generator=generator)
        for label, most in enumerate(self._limits(class_limit)):
            members = order[self.targets[order] == label]
            if len(members) > most:
                order = order[~torch.isin(order, members[most:])]
        return order

    def count(self, class_limit: float) -> int:
        """The number of clips that `draw` gives."""
        counts = torch.bincount(self.targets, minlength=self.classes).tolist()
        return sum(map(min, counts, self._limits(class_limit) or counts))

    def _limits(self, class_limit: float) -> list[int]:
        """The most clips of each class in an epoch; empty where there is no limit."""
        if not class_limit:
            return []
        counts = torch.bincount(self.targets, minlength=self.classes).tolist()
        total, classes = sum(counts), sum(count > 0 for count in counts)
        return [max(1, round(class_limit * (total - count) / max(1, classes - 1))) for count in counts]

    def weights(self, balance: float, class_limit: float = 0.0, other_weight: float = 1.0) -> Tensor:
        """Weight of each class in the loss, (classes,), with a mean of 1; see the settings of `Stage`."""
        counts = torch.bincount(self.targets, minlength=self.classes)
        if limits := self._limits(class_limit):
            counts = counts.minimum(torch.tensor(limits))
        weights = counts.clamp_min(1).float() ** -balance
        if self.other is not None:
            weights[self.other] *= other_weight
        return weights * (counts.sum() / (weights * counts).sum())


class Batches(Dataset[Batch]):
    """The batches of one epoch: augmented, normalised crops, (B, 1, mel, time), and their targets, (B, classes).

    A batch holds this process's share of the stage's; its content follows from the seed and the numbers of epoch,
    batch and process.

    Args:
        examples: the clips.
        stage: how crops are drawn.
        seed: of everything random.
        epoch: its number, from 0, over all stages.
        long: use the stage's long crops.
        compute: which of several processes this is; alone by default.
    """

    def __init__(
        self,
        examples: Examples,
        stage: Stage,
        seed: int,
        epoch: int,
        *,
        long: bool = False,
        compute: Compute | None = None,
    ) -> None:
        compute = compute or Compute()
        self.examples, self.stage, self.seed, self.epoch = examples, stage, seed, epoch
        self.rank, self.ranks = compute.rank, compute.ranks
        self.frames = (stage.long_frames, stage.long_frames) if long else stage.frames
        generator = torch_generator(seed, epoch)
        order = torch.cat([examples.draw(stage.class_limit, generator) for _ in range(stage.crops)])
        size = stage.long_batch if long else stage.batch
        # Batch normalisation needs two crops in each process; clips that are left out return in another epoch.
        self.parts = [part for part in torch.split(order, size) if len(part) >= 2 * self.ranks]

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Batch:
        if index >= len(self.parts):
            raise IndexError(index)
        low, high = self.frames[0] // 8, self.frames[1] // 8
        together = torch_generator(self.seed, self.epoch, index)
        frames = 8 * int(torch.randint(low, high + 1, (1,), generator=together))
        clips = self.parts[index][self.rank :: self.ranks]
        generator = np.random.default_rng([self.seed, self.epoch, index, self.rank])
        x, y = self._crops(clips, frames, generator)
        front_end = self.examples.front_end
        mean, scale = (np.array(v, np.float32) for v in (front_end.mean, front_end.scale))
        x = np.clip((x - mean) * scale, -front_end.clip, front_end.clip)
        mask(x, self.stage.augmentation, generator)
        batch = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 2, 1))).unsqueeze(1)
        return batch.contiguous(memory_format=torch.channels_last), y

    def _crops(self, clips: Tensor, frames: int, generator: np.random.Generator) -> tuple[Array, Tensor]:
        """Raw log-mel (B, frames, mels) of crops, mixed and at random levels, and targets (B, classes)."""
        augmentation, floor = self.stage.augmentation, self.examples.front_end.floor
        x = np.stack([self._crop(clip, frames, generator) for clip in clips.tolist()])
        y = F.one_hot(self.examples.targets[clips], self.examples.classes).float()
        if not augmentation.changes_power:
            return x, y
        power = to_power(x, floor)
        mixed = np.flatnonzero(generator.random(len(clips)) < augmentation.mixing)
        if len(mixed):
            partners = generator.integers(len(self.examples), size=len(mixed))
            others = to_power(np.stack([self._crop(int(clip), frames, generator) for clip in partners]), floor)
            share = generator.uniform(1e-3, 1.0 - 1e-3, len(mixed))
            sounding = holds_sound(power[mixed]) & holds_sound(others)
            mixed, partners, others, share = mixed[sounding], partners[sounding], others[sounding], share[sounding]
            power[mixed] = mix(power[mixed], others, share)
            theirs = F.one_hot(self.examples.targets[partners], self.examples.classes).float()
            y[mixed] = torch.lerp(theirs, y[mixed], torch.from_numpy(share.astype(np.float32))[:, None])
        apply_levels(power, augmentation, generator)
        return to_log_mel(power, floor), y

    def _crop(self, index: int, frames: int, generator: np.random.Generator) -> Array:
        """Raw log-mel (frames, mels) of a clip, warped; a short clip repeats."""
        clip, stage, augmentation = self.examples.features[index], self.stage, self.stage.augmentation
        rate = draw_rate(augmentation, generator) if augmentation.time_stretch else 1.0
        span = min(len(clip), math.ceil(frames * rate))
        if generator.random() < stage.start:
            first = 0
        elif stage.active:
            held = generator.choice(self.examples.active(index))
            first = min(max(0, int(held) - int(generator.integers(span))), len(clip) - span)
        else:
            first = int(generator.integers(len(clip) - span + 1))
        crop: Array = clip[warp_rows(first, frames, rate, len(clip))]
        if augmentation.mel_scale or augmentation.mel_shift:
            crop = crop[:, warp_bins(augmentation, crop.shape[1], generator)]
        return crop

    def loader(self, compute: Compute) -> DataLoader[Batch]:
        """The batches in order, prepared by the loader processes of `compute` ahead of their use."""
        workers = min(compute.num_workers, len(self))
        return DataLoader(
            self,
            batch_size=None,
            num_workers=workers,
            worker_init_fn=end_with_parent,
            multiprocessing_context=make_context() if workers else None,
            pin_memory=compute.device != "cpu",
            generator=torch.Generator(),  # its own, for the default one belongs to the model's dropout
        )


def count_batches(clips: int, stage: Stage, *, long: bool = False) -> int:
    """The number of batches in an epoch, whole or not."""
    return math.ceil(clips * stage.crops / (stage.long_batch if long else stage.batch))


def torch_generator(*numbers: int) -> torch.Generator:
    """A generator whose seed follows from all numbers and their count."""
    # With their count, since trailing zeros do not distinguish two sequences.
    (seed,) = np.random.SeedSequence((len(numbers), *numbers)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed) >> 1)
