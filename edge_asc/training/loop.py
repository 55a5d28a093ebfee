"""The training loop: one crop of every clip an epoch, all randomness drawn from (seed, epoch)."""

from __future__ import annotations

import copy
import csv
import hashlib
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edge_asc.errors import EdgeAscError
from edge_asc.files import atomic_path
from edge_asc.frontend import FrontEnd
from edge_asc.models import CNN, CRNN, ModelConfig, build
from edge_asc.training.augmentation import apply_gain, draw_gain
from edge_asc.training.batches import Batches, batch_count
from edge_asc.training.compute import Compute
from edge_asc.training.recipe import Recipe

STATE = "training-state.pt"
LOG = "log.csv"


@dataclass(frozen=True)
class Epoch:
    """What one epoch came to."""

    number: int
    loss: float
    accuracy: float
    learning_rate: float
    seconds: float


def normalisation(features: Sequence[npt.NDArray[np.float32]], recipe: Recipe, front_end: FrontEnd) -> FrontEnd:
    """`front_end` with the mean and 1 / standard deviation per bin of raw log-mel at the recipe's levels."""
    generator = torch.Generator().manual_seed(recipe.seed)
    count = 0
    total, squares = torch.zeros(2, front_end.mels, dtype=torch.float64)
    draws = 8 if recipe.augmentation.gain != (0.0, 0.0) else 1
    for clip in features:
        x = torch.from_numpy(np.array(clip))
        for gain in draw_gain(recipe.augmentation, draws, generator):
            y = (apply_gain(x, gain, front_end.floor) if draws > 1 else x).double()
            count, total, squares = count + len(y), total + y.sum(0), squares + (y * y).sum(0)
    mean = total / count
    deviation = (squares / count - mean * mean).clamp_min(1e-6).sqrt()
    return front_end.with_normalisation(mean.numpy(), (1.0 / deviation).numpy())


class Trainer:
    """Trains one model; `epochs()` yields after each epoch, when the state on disk is whole.

    Interrupted and started again with the same folder it goes on with the next epoch, and, computed in the same way,
    ends with the same weights as an uninterrupted run.

    Args:
        features: raw log-mel of each training clip, (frames, mels).
        targets: label index of each clip.
        front_end: with normalisation.
        folder: where the training state and `log.csv` are kept.
        teachers: models whose averaged posteriors are learned from, beside the labels.
        initial: a model to start from.
        same_labels: whether its outputs mean the same; if not, its last layers are left out.
        compute: where it computes; by default here, on the CPU, alone.
    """

    def __init__(
        self,
        config: ModelConfig,
        recipe: Recipe,
        features: Sequence[npt.NDArray[np.float32]],
        targets: Sequence[int],
        front_end: FrontEnd,
        folder: Path,
        *,
        teachers: Sequence[CRNN] = (),
        initial: CRNN | CNN | None = None,
        same_labels: bool = True,
        compute: Compute | None = None,
    ) -> None:
        if len(features) < 2 or len(targets) != len(features):
            raise EdgeAscError(
                f"{len(features)} training clips and {len(targets)} targets; expected at least 2, as many"
            )
        if not 0 <= min(targets) <= max(targets) < config.classes:
            raise EdgeAscError(f"targets are {min(targets)}..{max(targets)}; expected 0..{config.classes - 1}")
        compute = compute or Compute()
        if (crops := min(recipe.batch, len(features) * recipe.crops)) < 2 * compute.ranks:
            raise EdgeAscError(
                f"a batch has {crops} crops for {compute.ranks} processes; expected at least 2 for each: "
                "launch fewer, or raise the recipe's batch"
            )
        self.recipe, self.features, self.front_end, self.folder = recipe, features, front_end, folder
        self.targets = torch.tensor(targets)
        self.compute = compute
        self.teachers = [teacher.to(self.compute.device).eval() for teacher in teachers]
        torch.manual_seed(recipe.seed)
        self.model: CRNN | CNN = build(config)
        if initial is not None:
            self._start_from(initial, same_labels)
        self.average = copy.deepcopy(self.model).requires_grad_(False).to(self.compute.device)
        together = self.compute.normalised_together(self.model)
        self.model = together.to(self.compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.shared = self.compute.share(self.model)
        self.steps_per_epoch = batch_count(len(features), recipe)
        self.optimizer = self._optimizer()
        self.scaler = torch.amp.GradScaler(
            torch.device(self.compute.device).type, enabled=self.compute.precision == "float16"
        )
        self.fingerprint = self._fingerprint(initial)
        self.epoch = 0
        self.updates = 0
        self.history: list[Epoch] = []

    def _start_from(self, initial: CRNN | CNN, same_labels: bool) -> None:
        config = self.model.config
        given = initial.config if same_labels else replace(initial.config, classes=config.classes)
        if replace(given, dropout=config.dropout) != config:
            raise EdgeAscError(f"the training starts from {initial.config}; expected the same model, {config}")
        last = () if same_labels else ("output.", "auxiliary.")
        weights = {name: value for name, value in initial.state_dict().items() if not name.startswith(last)}
        self.model.load_state_dict(self.model.state_dict() | weights)

    def _optimizer(self) -> torch.optim.Optimizer:
        decayed = [p for p in self.model.parameters() if p.ndim > 1]
        other = [p for p in self.model.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": self.recipe.weight_decay},
            {"params": other, "weight_decay": 0.0},
        ]
        if self.recipe.optimizer == "sgd":
            nesterov = self.recipe.momentum > 0
            return torch.optim.SGD(
                groups, lr=self.recipe.learning_rate, momentum=self.recipe.momentum, nesterov=nesterov
            )
        return torch.optim.AdamW(groups, lr=self.recipe.learning_rate)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then cosine annealing to `final_learning_rate` of the peak."""
        recipe = self.recipe
        warmup = recipe.warmup_epochs * self.steps_per_epoch
        total = recipe.epochs * self.steps_per_epoch
        if step < warmup:
            return recipe.learning_rate * (step + 1) / warmup
        cosine = 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))
        return recipe.learning_rate * (recipe.final_learning_rate + (1.0 - recipe.final_learning_rate) * cosine)

    def epochs(self, on_step: Callable[[int, float], None] | None = None) -> Iterator[Epoch]:
        """Train to the end, resuming what is on disk; `on_step(step, loss)` is called after each batch."""
        self._resume()
        while self.epoch < self.recipe.epochs:
            result = self._run_epoch(on_step)
            self.epoch += 1
            self.history.append(result)
            if self.compute.leads:
                self._save()
            yield result

    @property
    def result(self) -> CRNN | CNN:
        """A copy of the trained model: the moving average of the weights where the recipe has one."""
        trained = self.average if self.recipe.ema else self.model
        model = build(self.model.config)
        model.load_state_dict(trained.state_dict())
        return model.eval()

    def _run_epoch(self, on_step: Callable[[int, float], None] | None) -> Epoch:
        compute, config = self.compute, self.model.config
        torch.manual_seed((self.recipe.seed * 100_003 + self.epoch) * compute.ranks + compute.rank)
        self.model.train()
        begun, losses, right, seen, rate = time.monotonic(), 0.0, 0.0, 0.0, 0.0
        batches = Batches(
            self.features,
            self.targets,
            config.classes,
            self.front_end,
            self.recipe,
            self.epoch,
            compute.rank,
            compute.ranks,
        )
        for i, (x, y) in enumerate(batches.loader(compute)):
            rate = self.learning_rate(self.epoch * self.steps_per_epoch + i)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            x, y = (value.to(compute.device, non_blocking=True) for value in (x, y))
            with compute.autocast():
                loss, logits = self._loss(x, y)
            if not math.isfinite(loss.item()):
                raise EdgeAscError(
                    f"the loss became {loss.item()} in epoch {self.epoch + 1}; start again with a lower learning rate"
                )
            self._update(loss)
            losses += loss.item() * len(y)
            right += float((logits.argmax(1) == y.argmax(1)).sum())
            seen += len(y)
            if on_step:
                on_step(i, loss.item())
        losses, right, seen = compute.total([losses, right, seen])
        return Epoch(self.epoch + 1, losses / seen, right / seen, rate, time.monotonic() - begun)

    def _update(self, loss: Tensor) -> None:
        """One step of the optimiser; in half precision small gradients are scaled up on their way."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_gradient:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_gradient)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self._update_average()

    def _loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The loss (paper eq. 3-5) and the logits of the last step."""
        smoothing, config = self.recipe.label_smoothing, self.model.config
        target = y * (1.0 - smoothing) + smoothing / y.shape[1]
        if isinstance(self.model, CNN):
            logits = self.shared(x)
            return F.cross_entropy(logits, target), logits.detach()
        output = self.shared(x)
        if self.teachers:
            target = torch.lerp(target, self._teach(x), self.recipe.distil_weight)
        steps = output.logits if config.output == "multi" else output.logits[:, -1:]
        loss = -(target[:, None] * F.log_softmax(steps, dim=2)).sum(2).mean()
        if output.auxiliary is not None:
            spread = target[:, None].expand_as(output.auxiliary)
            auxiliary = F.binary_cross_entropy_with_logits(output.auxiliary, spread)
            loss = loss + self.recipe.auxiliary_weight * auxiliary
        return loss, output.logits[:, -1].detach()

    @torch.no_grad()
    def _teach(self, x: Tensor) -> Tensor:
        """The teachers' posterior of a whole crop: mean over teachers, mean of log-softmax over time."""
        votes = [F.log_softmax(F.log_softmax(t(x).logits, dim=2).mean(1), dim=1).exp() for t in self.teachers]
        return torch.stack(votes).mean(0)

    @torch.no_grad()
    def _update_average(self) -> None:
        self.updates += 1
        decay = min(self.recipe.ema, self.updates / (self.updates + 20.0))
        for mine, theirs in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                mine.lerp_(theirs, 1.0 - decay)
            else:
                mine.copy_(theirs)

    def _fingerprint(self, initial: CRNN | CNN | None) -> dict[str, Any]:
        """What must be the same for a training to go on."""
        sums = [(len(clip), float(clip.sum(dtype=np.float64))) for clip in self.features]
        data = repr((self.targets.tolist(), sums, self.front_end.to_json()))
        return {
            "model": self.model.config.to_json(),
            "recipe": self.recipe.to_json(),
            "clips": hashlib.sha256(data.encode()).hexdigest(),
            "teachers": [_digest(teacher) for teacher in self.teachers],
            "initial weights": _digest(initial) if initial is not None else "",
        }

    def _save(self) -> None:
        with atomic_path(self.folder / STATE) as path:
            torch.save(
                {
                    "fingerprint": self.fingerprint,
                    "epoch": self.epoch,
                    "updates": self.updates,
                    "history": [astuple(past) for past in self.history],
                    "model": self.model.state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scaler": self.scaler.state_dict(),
                },
                path,
            )
        with atomic_path(self.folder / LOG) as path, path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(field.name for field in fields(Epoch))
            writer.writerows([f"{value:.6g}" for value in astuple(past)] for past in self.history)

    def _resume(self) -> None:
        path = self.folder / STATE
        if not path.exists():
            return
        try:
            state = torch.load(path, weights_only=True, map_location=self.compute.device)
            theirs = state["fingerprint"]
        except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
            raise EdgeAscError(f"{path}: damaged ({error!r}); delete it to start again") from error
        if changed := [k for k, v in self.fingerprint.items() if theirs.get(k) != v]:
            raise EdgeAscError(
                f"{path}: an interrupted training with another {', '.join(changed)}; "
                "start it with the same settings, or choose another --output"
            )
        self.epoch, self.updates = state["epoch"], state["updates"]
        self.history = [Epoch(*past) for past in state["history"]]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])


def _digest(model: CRNN | CNN) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()
