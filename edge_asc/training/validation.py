"""Accuracy on clips that a training leaves out, from time to time."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edge_asc.frontend import Array, FrontEnd
from edge_asc.models import CNN, CRNN
from edge_asc.training.compute import Compute
from edge_asc.training.recipe import Stage

EVALUATIONS = 12
BATCH = 32


class Validation:
    """Clips that are evaluated whole about a dozen times a stage.

    Args:
        features: raw log-mel of each clip, (frames, mels).
        targets: label index of each clip.
        front_end: with normalisation.
        selects: whether the weights with the best accuracy are kept; if not, the accuracy is only reported. Clips that
            a result is reported on must not select.
    """

    def __init__(
        self, features: Sequence[Array], targets: Sequence[int], front_end: FrontEnd, *, selects: bool
    ) -> None:
        self.features, self.front_end, self.selects = features, front_end, selects
        self.targets = torch.tensor(targets)
        self._embedded: tuple[str, list[Tensor]] = ("", [])

    @property
    def digest(self) -> str:
        """A hash of clips, targets and use."""
        sums = [(len(clip), float(clip.sum(dtype=np.float64))) for clip in self.features]
        return hashlib.sha256(repr((self.targets.tolist(), sums, self.selects)).encode()).hexdigest()

    def is_due(self, epoch: int, stage: Stage) -> bool:
        """Whether to evaluate after so many epochs of a stage."""
        every = 1 if stage.patience else max(1, stage.epochs // EVALUATIONS)
        return epoch % every == 0 or epoch == stage.epochs

    @torch.no_grad()
    def evaluate(self, model: CRNN | CNN, stage: Stage, compute: Compute) -> float:
        """Accuracy, 0 to 1, of the mean over time: of logits on embeddings in a trunk's stage, else of log-softmax."""
        was_training = model.training
        model.eval()
        right = 0
        with compute.autocast():
            for numbers, x in self._inputs(model, stage, compute):
                right += int((_scores(model, x, stage).argmax(1).cpu() == self.targets[numbers]).sum())
        model.train(was_training)
        return right / len(self.targets)

    def _inputs(self, model: CRNN | CNN, stage: Stage, compute: Compute) -> Iterator[tuple[list[int], Tensor]]:
        """Yield numbers of clips, and their features for a CNN, or their embeddings (B, n, channels) for a CRNN.

        A stage that trains the head does not change the embeddings: they are computed once.
        """
        kept = stage.trains == "head" and isinstance(model, CRNN)
        if kept and self._embedded[0] == stage.name:
            yield from zip((numbers for numbers, _ in self._parts()), self._embedded[1], strict=True)
            return
        embedded = []
        for numbers, frames in self._parts():
            x = self._normalise(numbers, frames).to(compute.device)
            x = model.embed(x) if isinstance(model, CRNN) else x
            embedded += [x] if kept else []
            yield numbers, x
        self._embedded = (stage.name if kept else "", embedded)

    def _parts(self) -> list[tuple[list[int], int]]:
        """Numbers of clips of one length, and that length, frames."""
        by_length: dict[int, list[int]] = defaultdict(list)
        for number, clip in enumerate(self.features):
            by_length[max(8, len(clip) // 8 * 8)].append(number)
        return [
            (numbers[first : first + BATCH], frames)
            for frames, numbers in sorted(by_length.items())
            for first in range(0, len(numbers), BATCH)
        ]

    def _normalise(self, numbers: Sequence[int], frames: int) -> Tensor:
        clips = [self.features[number] for number in numbers]
        x = np.stack([clip[np.arange(frames) % len(clip)] for clip in clips])
        front_end = self.front_end
        x = (x - np.array(front_end.mean, np.float32)) * np.array(front_end.scale, np.float32)
        x = np.clip(x, -front_end.clip, front_end.clip).transpose(0, 2, 1)
        batch = torch.from_numpy(np.ascontiguousarray(x)).unsqueeze(1)
        return batch.contiguous(memory_format=torch.channels_last)


def _scores(model: CRNN | CNN, x: Tensor, stage: Stage) -> Tensor:
    """Scores of whole clips, (B, classes), from the embeddings of a CRNN or the features of a CNN."""
    if isinstance(model, CNN):
        logits: Tensor = model(x)
        return logits
    if stage.trains == "trunk" and model.readout is not None:
        pooled: Tensor = model.readout(x.mean(1))
        return pooled
    logits = model.output(model.gru(x)[0])
    if model.config.output == "single":
        last: Tensor = logits[:, -1]
        return last
    return F.log_softmax(logits, 2).mean(1)
