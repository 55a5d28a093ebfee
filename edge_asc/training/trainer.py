"""The trainer: stages of epochs, all randomness drawn from the seed and the number of the epoch."""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edge_asc.errors import EdgeAscError
from edge_asc.models import CNN, CRNN, ModelConfig, build
from edge_asc.training import objectives
from edge_asc.training.batches import Batches, Examples, count_batches, torch_generator
from edge_asc.training.compute import Compute
from edge_asc.training.listener import Epoch, Listener
from edge_asc.training.optimizers import Optimizers
from edge_asc.training.recipe import Recipe, Stage
from edge_asc.training.start import Start, take_weights
from edge_asc.training.state import Best, TrainingState, load_state, save_state
from edge_asc.training.validation import Validation
from edge_asc.training.views import compute_views, count_views, draw_views


@dataclass(frozen=True)
class Aids:
    """Models and clips that a training uses beside its own clips.

    Attributes:
        teachers: models whose averaged posteriors are learned from, beside the labels.
        start: a model to start from.
        validation: clips that are evaluated from time to time.
    """

    teachers: Sequence[CRNN] = ()
    start: Start | None = None
    validation: Validation | None = None


class Trainer:
    """Trains one model; `epochs()` yields after each epoch, when the state on disk is whole.

    Interrupted and started again with the same folder it resumes after the last whole epoch, and, computed in the same
    way, ends with the same weights as an uninterrupted run.

    Args:
        config: the model.
        recipe: how it is trained.
        examples: training clips and their targets, of as many classes as the model's.
        folder: where the training state and `log.csv` are kept.
        aids: what is used beside the clips; by default nothing.
        compute: where it computes; by default here, on the CPU, alone.

    Raises:
        EdgeAscError: the recipe does not fit the clips, the processes, the teachers or the start; or the model does not
            fit the front end.
    """

    def __init__(
        self,
        config: ModelConfig,
        recipe: Recipe,
        examples: Examples,
        folder: Path,
        aids: Aids | None = None,
        compute: Compute | None = None,
    ) -> None:
        compute = compute or Compute()
        aids = aids or Aids()
        start = aids.start
        _check_batches(recipe, len(examples), compute)
        if (bins := examples.front_end.mels) != config.mels:
            raise EdgeAscError(f"the features have {bins} mel bins, the model {config.mels}; expected as many in both")
        objectives.check_recipe(recipe, len(aids.teachers))
        self.recipe, self.folder, self.compute, self.validation = recipe, folder, compute, aids.validation
        self.examples = examples
        self.teachers = [teacher.to(compute.device).eval() for teacher in aids.teachers]
        torch.manual_seed(recipe.seed)
        self.model: CRNN | CNN = build(config)
        self.auxiliary_is_new = start is not None and None in start.rows
        self.kept = start.kept if start is not None else ()
        if start is not None:
            take_weights(self.model, start)
        self.average = copy.deepcopy(self.model).requires_grad_(False).to(compute.device)
        synced = compute.with_sync_batch_norm(self.model)
        for module in synced.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = True  # the same numbers with less memory traffic: 4 % of a step
        self.model = synced.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.fingerprint = self._fingerprint(start)
        self.epoch = 0
        self.updates = 0
        self.best: Best | None = None
        self.history: list[Epoch] = []
        self._entered = -1

    def epochs(self, listener: Listener | None = None) -> Iterator[Epoch]:
        """Train to the end, resuming what is on disk."""
        listener = listener or Listener()
        self._resume(listener)
        while self.epoch < self.recipe.epochs:
            index, first = self._stage_at(self.epoch)
            self._enter(index, listener)
            result = self._run_epoch(self.epoch - first, listener)
            self.epoch += 1
            last = first + self.stage.epochs
            result = self._validate(result, self.epoch - first)
            self.history.append(result)
            if self._has_stalled():
                listener.note(f"stage {self.stage.name}: no better evaluation in {self.stage.patience}; it ends here")
                self.epoch = last
            if self.epoch == last:
                self._leave()
            if self.compute.is_main_process:
                self._save()
            yield result

    @property
    def result(self) -> CRNN | CNN:
        """A copy of the model as the last stage left it."""
        model = build(self.model.config)
        model.load_state_dict(self.model.state_dict())
        return model.eval()

    def count_steps(self) -> int:
        """Batches of all epochs of all stages, as a progress bar counts them."""
        return sum(self._steps(stage, stage.epochs) for stage in self.recipe.stages)

    def _steps(self, stage: Stage, epochs: int) -> int:
        """Batches of the first `epochs` of a stage."""
        clips = self.examples.count(stage.class_limit)
        if stage.trains == "head":
            return epochs * math.ceil(clips * count_views(stage, clips) / stage.batch)
        early = min(epochs, stage.epochs - stage.long_epochs)
        return early * count_batches(clips, stage) + (epochs - early) * count_batches(clips, stage, long=True)

    def _stage_at(self, epoch: int) -> tuple[int, int]:
        """Number of the stage that holds an epoch, and its first epoch."""
        first = 0
        for index, stage in enumerate(self.recipe.stages):
            if epoch < first + stage.epochs:
                return index, first
            first += stage.epochs
        raise IndexError(epoch)

    def _enter(self, index: int, listener: Listener) -> None:
        """Prepare a stage, unless it is under way."""
        if index == self._entered:
            return
        self.stage = stage = self.recipe.stages[index]
        self._entered = index
        objective = objectives.build_objective(self.model, stage, self.kept)
        if self.auxiliary_is_new and isinstance(objective, objectives.Head) and objective.auxiliary is not None:
            objective.auxiliary.requires_grad_(True)
        self.optimizers = Optimizers(self.model, stage)
        self.scaler = torch.amp.GradScaler(
            torch.device(self.compute.device).type, enabled=self.compute.precision == "float16"
        )
        self.updates, self.best = 0, None
        self.weights = self.examples.weights(stage.class_balance, stage.class_limit, stage.other_weight)
        self.weights = self.weights.to(self.compute.device)
        with torch.no_grad():
            self.average.load_state_dict(self.model.state_dict())
        if isinstance(self.model, CRNN) and stage.trains == "head":
            self.objective = objective  # each process trains the whole of a head
            first = self._stage_at(self.epoch)[1]
            views = draw_views(self.examples, stage, self.recipe.seed, first)
            self.views = compute_views(self.model, views, self.compute, listener)
        else:
            self.objective = self.compute.share(objective)

    def _leave(self) -> None:
        """Make the model the result of the stage: its best evaluation, its moving average, or its last weights."""
        if self.best is not None:
            self.model.load_state_dict(self.best.weights)
        elif self.stage.ema:
            self.model.load_state_dict(self.average.state_dict())
        if isinstance(self.objective, objectives.LinearHead) and self.examples.other is not None:
            self.objective.shift_prior(self.examples.other, self.stage)
        self.compute.broadcast(self.model)  # on CPUs each process has normalisation statistics of its own
        self._entered = -1
        self.best = None

    def _batches(self, within: int) -> Iterator[tuple[Tensor, Tensor]]:
        compute, stage, seed = self.compute, self.stage, self.recipe.seed
        if stage.trains == "head":
            x, y = self.views
            order = torch.randperm(len(x), generator=torch_generator(seed, self.epoch)).to(x.device)
            for part in torch.split(order, stage.batch):
                yield x[part], y[part]
            return
        batches = Batches(
            self.examples,
            stage,
            seed,
            self.epoch,
            long=stage.is_long(within),
            compute=compute,
        )
        for x, y in batches.loader(compute):
            yield x.to(compute.device, non_blocking=True), y.to(compute.device, non_blocking=True)

    def learning_rate(self, step: int, peak: float) -> float:
        """Linear warm-up, then cosine annealing to `final_learning_rate` of the peak, by batch of the stage."""
        stage = self.stage
        total = self._steps(stage, stage.epochs)
        warmup = stage.warmup * total
        if step < warmup:
            return min(peak, peak * (step + 1) / warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))
        return peak * (stage.final_learning_rate + (1.0 - stage.final_learning_rate) * cosine)

    def _run_epoch(self, within: int, listener: Listener) -> Epoch:
        compute, stage = self.compute, self.stage
        rank = 0 if stage.trains == "head" else compute.rank  # each process trains the whole of a head
        torch.manual_seed((self.recipe.seed * 100_003 + self.epoch) * compute.ranks + rank)
        self.objective.train()
        before = self._steps(stage, within)
        begun, losses, right, seen, rate = time.monotonic(), 0.0, 0.0, 0.0, 0.0
        for i, (x, y) in enumerate(self._batches(within)):
            rate = self.learning_rate(before + i, stage.learning_rate)
            self.optimizers.set_rates(partial(self.learning_rate, before + i))
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
            listener.stepped(loss.item())
        if stage.trains != "head":
            losses, right, seen = compute.total([losses, right, seen])
        return Epoch(self.epoch + 1, stage.name, losses / seen, right / seen, rate, time.monotonic() - begun, int(seen))

    def _loss(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The stage's loss, and logits (B, classes) whose accuracy is reported."""
        stage, single = self.stage, self.model.config.output == "single"
        target = objectives.smooth(y, stage.label_smoothing)
        weights = (y * self.weights).sum(1) if stage.class_balance or stage.other_weight != 1.0 else None
        if self.teachers and stage.trains != "head":
            target = torch.lerp(target, objectives.teach(self.teachers, x, stage), stage.distil_weight)
        output = self.objective(x)
        if isinstance(output, Tensor):
            return objectives.cross_entropy(output, target, weights), output.detach()
        logits = output.logits[:, -1].detach()
        if stage.trains == "head":
            return objectives.head_loss(output, target, stage, single, weights), logits
        return objectives.streams_loss(output, target, single, stage.auxiliary_weight, weights), logits

    def _update(self, loss: Tensor) -> None:
        """One step of the optimisers; in half precision small gradients are scaled up on their way."""
        self.optimizers.zero_grad()
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        if self.stage.clip_gradient:
            for optimizer in self.optimizers:
                self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(self.optimizers.parameters, self.stage.clip_gradient)
        for optimizer in self.optimizers:
            self.scaler.step(optimizer)
        self.scaler.update()
        if isinstance(self.objective, objectives.LinearHead):
            self.objective.restore()
        if self.stage.ema:
            self._update_average()

    @torch.no_grad()
    def _update_average(self) -> None:
        self.updates += 1
        decay = min(self.stage.ema, self.updates / (self.updates + 20.0))
        floats: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mine, theirs in zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True):
            if mine.dtype.is_floating_point:
                floats[0].append(mine)
                floats[1].append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(*floats, 1.0 - decay)

    def _validate(self, result: Epoch, within: int) -> Epoch:
        """The result with the accuracy on validation clips, where it is time for it; the best weights are kept."""
        validation, stage = self.validation, self.stage
        if validation is None or not validation.is_due(within, stage):
            return result
        model = self.average if stage.ema else self.model
        accuracy = 0.0
        if self.compute.is_main_process:
            accuracy = validation.evaluate(model, stage, self.compute)
        (accuracy,) = self.compute.total([accuracy])
        if validation.selects and (self.best is None or accuracy > self.best.accuracy):
            weights = {name: value.clone() for name, value in model.state_dict().items()}
            self.best = Best(accuracy, self.epoch, weights)
        return replace(result, validation=accuracy)

    def _has_stalled(self) -> bool:
        """Whether the stage's last evaluations, as many as its patience, were no better than its best."""
        if not self.stage.patience or self.best is None:
            return False
        since = [past for past in self.history if past.number > self.best.epoch and past.validation is not None]
        return len(since) >= self.stage.patience

    def _fingerprint(self, start: Start | None) -> dict[str, Any]:
        """Everything that must be the same for a training to resume."""
        examples, validation = self.examples, self.validation
        sums = [(len(clip), float(clip.sum(dtype=np.float64))) for clip in examples.features]
        data = repr((examples.targets.tolist(), sums, examples.front_end.to_json()))
        return {
            "model": self.model.config.to_json(),
            "recipe": self.recipe.to_json(),
            "clips": hashlib.sha256(data.encode()).hexdigest(),
            "validation clips": validation.digest if validation else "",
            "teachers": [_digest(teacher) for teacher in self.teachers],
            "initial weights": (_digest(start.model), start.rows) if start else "",
        }

    def _save(self) -> None:
        entered = self._entered >= 0
        save_state(
            self.folder,
            TrainingState(
                fingerprint=self.fingerprint,
                epoch=self.epoch,
                updates=self.updates,
                history=self.history,
                model=self.model.state_dict(),
                average=self.average.state_dict() if entered and self.stage.ema else {},
                optimizers=self.optimizers.state_dict() if entered else [],
                scaler=self.scaler.state_dict() if entered else {},
                best=self.best,
            ),
        )

    def _resume(self, listener: Listener) -> None:
        state = load_state(self.folder, self.fingerprint, self.compute.device)
        if state is None:
            return
        self.epoch, self.history = state.epoch, state.history
        if not state.optimizers:
            self.model.load_state_dict(state.model)
            return
        # A head's views come from the trunk, which its stage leaves as it is.
        self.model.load_state_dict(state.model)
        self._enter(self._stage_at(self.epoch)[0], listener)
        self.updates, self.best = state.updates, state.best
        if state.average:
            self.average.load_state_dict(state.average)
        self.optimizers.load_state_dict(state.optimizers)
        if state.scaler:
            self.scaler.load_state_dict(state.scaler)


def _check_batches(recipe: Recipe, clips: int, compute: Compute) -> None:
    for stage in recipe.stages:
        sizes = [stage.batch, *([stage.long_batch] if stage.long_epochs else [])]
        if (crops := min([*sizes, clips * stage.crops])) < 2 * compute.ranks and stage.trains != "head":
            raise EdgeAscError(
                f"a batch of stage {stage.name} has {crops} crops for {compute.ranks} processes; "
                "expected at least 2 for each: launch fewer, or raise the stage's batch"
            )


def _digest(model: CRNN | CNN) -> str:
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode() + value.cpu().numpy().tobytes())
    return digest.hexdigest()
