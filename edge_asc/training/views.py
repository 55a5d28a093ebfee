"""Embeddings of augmented views of all clips, which a head is trained on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from msgspec import structs
from torch import Tensor

from edge_asc.models import CRNN
from edge_asc.progress import Progress
from edge_asc.training.batches import Batches, Examples
from edge_asc.training.compute import Compute
from edge_asc.training.recipe import Stage

MAX_VIEWS = 40_000
BATCH = 48


def count_views(stage: Stage, clips: int) -> int:
    """Views of each clip: the stage's, or fewer where all clips together would have more than MAX_VIEWS."""
    return max(1, min(stage.views, MAX_VIEWS // clips))


def draw_views(examples: Examples, stage: Stage, seed: int, first_epoch: int) -> list[Batches]:
    """Return the augmented views of all clips; they are drawn like epochs from `first_epoch` on."""
    drawn = structs.replace(stage, batch=min(BATCH, len(examples)))
    count = count_views(stage, examples.count(stage.class_limit))
    return [Batches(examples, drawn, seed, first_epoch + view) for view in range(count)]


@torch.no_grad()
def compute_views(model: CRNN, views: Sequence[Batches], compute: Compute, progress: Progress) -> tuple[Tensor, Tensor]:
    """Return the embeddings (N, n, channels) of views, and their targets (N, classes)."""
    model.eval()
    embeddings, targets = [], []
    for batches in progress.track(views, "Embeddings of augmented views"):
        for x, y in batches.loader(compute):
            with compute.autocast():
                embedded = model.embed(x.to(compute.device, non_blocking=True))
            embeddings.append(embedded.float())
            targets.append(y.to(compute.device))
    return torch.cat(embeddings), torch.cat(targets)
