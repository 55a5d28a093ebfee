"""The reference: float PyTorch, computed on the host where a target does not run it."""

from __future__ import annotations

from collections.abc import Sequence

from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.comparison import ClipLogits
from edge_asc.evaluation.logits import check_finite, clip_logits, stream_logits
from edge_asc_bench.inputs import Clips, Model
from edge_asc_bench.job import Settings
from edge_asc_bench.observation import Logits


class HostReference:
    """Outputs of PyTorch on this machine.

    Attributes:
        logits: of each checkpoint, by the model's index, where a target does not run it.
        whole: the reference on whole clips in one pass; None where that is not compared.
        failures: why a checkpoint failed, by the model's index.
    """

    def __init__(self, models: Sequence[Model], clips: Clips, settings: Settings, *, needed: bool) -> None:
        """Compute the logits of all checkpoints if they are `needed`, and of whole clips if those have labels."""
        self.logits: dict[int, Logits] = {}
        self.failures: dict[int, str] = {}
        for i, model in enumerate(models):
            if needed and model.is_checkpoint:
                try:
                    self.logits[i] = _evaluate(model, clips, settings)
                except EdgeAscError as error:
                    self.logits[i], self.failures[i] = {}, str(error)
        self.whole: ClipLogits | None = None
        reference = find_reference(models)
        if clips.labels and reference is not None and models[reference].contract.form == "causal":
            try:
                self.whole = _evaluate_whole_clips(models[reference], clips, settings.threads)
            except EdgeAscError as error:
                self.failures[reference] = str(error)


def _evaluate(model: Model, clips: Clips, settings: Settings) -> Logits:
    logits: Logits = {
        seconds: clip_logits(model.runtime, clips.inputs(model.contract), [seconds] if seconds else ())
        for seconds in model.windows(settings.lengths)
    }
    for rows in logits.values():
        check_finite(rows)
    return logits


def _evaluate_whole_clips(model: Model, clips: Clips, threads: int) -> ClipLogits:
    from edge_asc.evaluation.checkpoints import WholeClipRuntime
    from edge_asc.training.checkpoint import Checkpoint

    whole = WholeClipRuntime(Checkpoint.load(model.path), threads)
    logits = stream_logits(whole, clips.features)
    check_finite(logits)
    return ClipLogits(f"{model.name}, whole clip", whole.engine, model.contract, logits)


def find_reference(models: Sequence[Model]) -> int | None:
    """Return the index of the first checkpoint; None if there is none."""
    return next((i for i, model in enumerate(models) if model.is_checkpoint), None)


def find_base(models: Sequence[Model], index: int) -> int:
    """Return the index of the model that a model is compared with: the first checkpoint of its form, or itself."""
    form = models[index].contract.form
    alike = (i for i, model in enumerate(models) if model.is_checkpoint and model.contract.form == form)
    return next(alike, index)
