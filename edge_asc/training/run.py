"""Training runs: one model, or one for each fold and a last one on all clips."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from edge_asc.data.cache import FeatureCache
from edge_asc.data.dataset import OTHER, Clip, Credits, Dataset
from edge_asc.data.split import group_split
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import FrontEnd
from edge_asc.models import CRNN, ModelConfig
from edge_asc.output import claim_folder
from edge_asc.progress import SILENT
from edge_asc.rule import ClipRule
from edge_asc.training.batches import Examples
from edge_asc.training.checkpoint import Checkpoint, is_checkpoint
from edge_asc.training.compute import Compute
from edge_asc.training.leakage import check_duplicates, check_leakage, trained_on
from edge_asc.training.listener import Listener
from edge_asc.training.material import Material, OtherSounds, Part, credit, gather
from edge_asc.training.normalisation import measure_normalisation
from edge_asc.training.provenance import describe_training
from edge_asc.training.ranges import record_ranges
from edge_asc.training.recipe import Recipe
from edge_asc.training.recorder import Record
from edge_asc.training.scoring import cross_evaluation, fold_evaluation
from edge_asc.training.start import Start
from edge_asc.training.state import OUTPUT_BYTES, STATE, check_folder
from edge_asc.training.trainer import Aids, Trainer
from edge_asc.training.validation import Validation


@dataclass(frozen=True)
class Run:
    """One training: model, data, recipe and output folder.

    Attributes:
        dataset: the data set.
        config: the model; its number of classes is that of `labels`.
        recipe: how it is trained.
        output: folder of the checkpoint; the folds of a cross-validation are in `fold1`, `fold2`, … below it.
        licences: only clips of these licences are trained on; all if empty.
        teachers: checkpoint folders to learn from; where one holds the fold that is trained, that fold is the teacher.
            Without `initial`, the first one's normalisation is taken.
        initial: checkpoint folder to start from, with its normalisation; likewise with its fold where it has one. Where
            it has other labels, the last layers keep the rows of the labels that both have.
        fold: one fold to train; all clips if None.
        folds_of: a data set that this training prepares for: a fold is trained on the clips that have neither
            recording nor author in common with the held-out ones of that data set's fold.
        other: sounds of a further label, `other`.
        left_out: a data set to test on later: no clip with one of its recordings or authors is trained on.
        decision: the rule that the contract names; used by the causal form.
    """

    dataset: Dataset
    config: ModelConfig
    recipe: Recipe
    output: Path
    licences: tuple[str, ...] = ()
    teachers: tuple[Path, ...] = ()
    initial: Path | None = None
    fold: int | None = None
    folds_of: Dataset | None = None
    other: OtherSounds | None = None
    left_out: Dataset | None = None
    decision: ClipRule = "mean"
    name: str = ""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in the order of the model's outputs."""
        labels = self.dataset.labels
        return (*labels, OTHER) if self.other and OTHER not in labels else labels

    @property
    def trains_output(self) -> bool:
        """Whether a stage trains the model's output; that of a GRU head stays untrained in a stage of the trunk."""
        return self.config.head != "gru" or any(stage.trains in ("all", "head") for stage in self.recipe.stages)

    def of_fold(self, fold: int) -> Run:
        """The run of one fold."""
        return replace(self, fold=fold, output=self.output / f"fold{fold}", name=f"{self.name}-fold{fold}")

    def of_same_fold(self, checkpoint: Path) -> Path:
        """The part of a cross-validated checkpoint that has not seen this run's held-out clips, where it has parts."""
        part = checkpoint / f"fold{self.fold}"
        return part if self.fold is not None and is_checkpoint(part) else checkpoint

    def training_parts(self) -> list[Part]:
        """The clips to train on, by data set: those of the labels first, then foreign ones."""
        clips = self.dataset.clips
        if self.fold is not None and self.folds_of:
            clips = self.dataset.unrelated(clips, self.folds_of, self.judging_clips())
        elif self.fold is not None:
            clips = self.dataset.split(self.fold, "train")
        parts = [Part(self.dataset, clips)]
        if self.other:
            parts.append(Part(self.other.dataset, self._foreign(kept_back=False)))
        if self.licences:
            parts = [Part(part.dataset, part.dataset.licensed(part.clips, self.licences)) for part in parts]
        if left_out := self.left_out:
            parts = [Part(part.dataset, part.dataset.unrelated(part.clips, left_out, left_out.clips)) for part in parts]
        return parts

    def judging_clips(self) -> tuple[Clip, ...]:
        """The clips that judge this run or the one it prepares for, which it must not see."""
        return () if self.fold is None else (self.folds_of or self.dataset).split(self.fold, "evaluate")

    def held_out(self) -> tuple[Clip, ...]:
        """The clips to evaluate on: none where all are trained on, or another data set's folds are followed."""
        return () if self.folds_of else self.judging_clips()

    def held_out_foreign(self) -> tuple[Clip, ...]:
        """Clips of the foreign labels that are kept back, by which the label `other` is judged."""
        return self._foreign(kept_back=True) if self.other else ()

    @property
    def judging_labels(self) -> list[str]:
        """The labels by whose clips the label `other` is judged."""
        own = [OTHER] if OTHER in self.dataset.labels else []
        return [*(self.other.excluded if self.other else ()), *own]

    def monitored(self) -> tuple[Clip, ...]:
        """Clips whose accuracy is reported while the model is trained; empty where all are trained on."""
        if not self.folds_of:
            return self.held_out()
        kept = set(self.dataset.unrelated(self.dataset.clips, self.folds_of, self.judging_clips()))
        return tuple(clip for clip in self.dataset.clips if clip not in kept)

    def credited(self) -> Credits:
        """Links to the recordings that the training clips were cut from, by licence and author."""
        return credit(self.training_parts())

    def _foreign(self, *, kept_back: bool) -> tuple[Clip, ...]:
        assert self.other is not None
        clips = self.other.foreign(self.dataset)
        if not kept_back:
            clips = self.other.dataset.unrelated(clips, self.folds_of or self.dataset, self.judging_clips())
        return tuple(clip for clip in clips if (clip.label in self.other.excluded) == kept_back)


def train(
    run: Run,
    cache: FeatureCache,
    listener: Listener,
    *,
    resume: bool,
    record: Record | None = None,
    compute: Compute | None = None,
) -> Checkpoint:
    """Train one model as `fit` does, and evaluate it on its held-out clips."""
    compute = compute or Compute()
    checkpoint = fit(run, cache, listener, resume=resume, record=record, compute=compute)
    with compute.main_process_first():
        if not compute.is_main_process:
            return Checkpoint.load(run.output)
        return _evaluate(checkpoint, run, cache, listener)


def fit(
    run: Run,
    cache: FeatureCache,
    listener: Listener,
    *,
    resume: bool,
    record: Record | None = None,
    compute: Compute | None = None,
) -> Checkpoint:
    """Train one model, or load it where the folder holds it already.

    `record(model, front end, raw features, source, progress)` gives the activation ranges that go into the checkpoint.
    Of several processes that share a training, all return its checkpoint, and the main one alone writes it.

    Raises:
        EdgeAscError: the folder holds another checkpoint or an interrupted training and `resume` is not given.
        OutputError: the folder cannot be written, holds files that are not a training's, or another process writes to
            it.
    """
    compute = compute or Compute()
    with claim_folder(run.output, OUTPUT_BYTES) if compute.is_main_process else nullcontext():
        return _fit(run, cache, listener, resume, record, compute)


def _fit(
    run: Run, cache: FeatureCache, listener: Listener, resume: bool, record: Record | None, compute: Compute
) -> Checkpoint:
    if compute.is_main_process:
        check_folder(run.output, resume=resume)
    if is_checkpoint(run.output):
        return _load_finished(run, cache, listener)
    material, checked, selects = _read_material(run, cache, compute, listener)
    _warn_of_labels(run, material, listener)
    basis = _load_basis(run, material, cache)
    validation = None
    if checked.clips:
        validation = Validation(checked.features, checked.targets(run.labels), basis.front_end, selects=selects)
    start = _start(run, basis.initial, listener) if basis.initial else None
    other = run.labels.index(OTHER) if run.other else None
    examples = Examples(material.features, material.targets(run.labels), run.config.classes, basis.front_end, other)
    aids = Aids(basis.teacher_models, start, validation)
    trainer = Trainer(run.config, run.recipe, examples, run.output, aids, compute)
    listener.started(run.name, run.output, run.recipe.epochs, trainer.count_steps(), len(material.clips))
    for epoch in trainer.epochs(listener):
        listener.ended(epoch)
    if not compute.is_main_process:
        compute.wait()
        return Checkpoint.load(run.output)
    checkpoint = _make_checkpoint(run, material, basis, trainer)
    if record and run.trains_output:
        checkpoint = record_ranges(record, checkpoint, run, material, listener)
    checkpoint.save(run.output)
    (run.output / STATE).unlink(missing_ok=True)
    compute.wait()
    return checkpoint


@dataclass(frozen=True)
class _Basis:
    """Checkpoints that a training builds on, and the normalisation that follows from them or from the clips."""

    front_end: FrontEnd
    initial: Checkpoint | None
    teachers: tuple[Checkpoint, ...]

    @property
    def teacher_models(self) -> list[CRNN]:
        return [teacher.model for teacher in self.teachers if isinstance(teacher.model, CRNN)]


def _load_basis(run: Run, material: Material, cache: FeatureCache) -> _Basis:
    """Load what a training builds on.

    Raises:
        EdgeAscError: a checkpoint cannot be used, or was trained on clips that the fold holds out; or this training
            has some of them under another name.
    """
    judging, digests, front_end = run.judging_clips(), [], cache.front_end
    if run.fold is not None:
        digests = cache.digests(run.folds_of or run.dataset, judging)
        names = dict(zip(material.recorded, (clip.filename for clip in material.clips), strict=False))
        held_out = dict(zip(digests, (clip.filename for clip in judging), strict=True))
        check_duplicates(names, held_out, f"fold {run.fold} holds out")
    initial = Checkpoint.load(run.of_same_fold(run.initial)) if run.initial else None
    if initial or run.teachers:
        front_end = (initial or Checkpoint.load(run.of_same_fold(run.teachers[0]))).front_end
    else:
        front_end = measure_normalisation(material.features, run.recipe, front_end)
    teachers = [(path, _load_teacher(path, run, front_end)) for path in run.teachers]
    started = [(run.initial, initial)] if run.initial and initial else []
    used = [(path, checkpoint.training) for path, checkpoint in (*started, *teachers)]
    if run.fold is not None:
        check_leakage(used, judging, f"fold {run.fold} holds out", digests)
    if run.left_out:
        check_leakage(used, run.left_out.clips, "--leave-out names")
    return _Basis(front_end, initial, tuple(teacher for _, teacher in teachers))


def _make_checkpoint(run: Run, material: Material, basis: _Basis, trainer: Trainer) -> Checkpoint:
    before = basis.initial.training if basis.initial else {}
    taught = [teacher.training for teacher in basis.teachers]
    return Checkpoint(
        name=run.name or run.config.backbone,
        model=trainer.result,
        front_end=basis.front_end,
        labels=run.labels,
        decision=run.decision,
        recipe=run.recipe.to_json(),
        training=describe_training(run, material, trainer.history, before, taught, trainer.compute),
    )


def _read_material(
    run: Run, cache: FeatureCache, compute: Compute, listener: Listener
) -> tuple[Material, Material, bool]:
    """Material to train on, material to evaluate from time to time, and whether the latter selects the weights."""
    parts = run.training_parts()
    if not parts[0].clips:
        raise EdgeAscError(f"{run.dataset.root}: no clip is left to train on; ask for other licences, or another fold")
    checked = run.monitored()
    if run.recipe.validation:
        kept, checked = group_split(parts[0].clips, run.recipe.validation, run.recipe.seed)
        parts[0] = Part(run.dataset, kept)
    synthetic = run.other.synthetic if run.other else 0
    with compute.main_process_first():
        progress = listener if compute.is_main_process else SILENT
        material = gather(parts, synthetic, cache, progress=progress)
        held_out = gather([Part(run.dataset, checked)], 0, cache, progress=progress)
    return material, held_out, bool(run.recipe.validation)


def _warn_of_labels(run: Run, material: Material, listener: Listener) -> None:
    present = {clip.label for clip in material.clips}
    if missing := [label for label in run.labels if label not in present]:
        listener.note(f"warning: no training clip has the label {', '.join(missing)}; the model cannot learn it")


def _start(run: Run, initial: Checkpoint, listener: Listener) -> Start:
    """Where the training starts; the last layers keep the rows of the labels that both have."""
    known = {label: row for row, label in enumerate(initial.labels)}
    rows = tuple(known.get(label) for label in run.labels)
    if new := [label for label, row in zip(run.labels, rows, strict=True) if row is None]:
        listener.note(f"{run.initial} does not have the labels {', '.join(new)}: their outputs start from scratch")
    return Start(initial.model, rows)


def _load_finished(run: Run, cache: FeatureCache, listener: Listener) -> Checkpoint:
    """The checkpoint that the folder holds already, if it is the one that `run` would give."""
    checkpoint = Checkpoint.load(run.output)
    material, _, _ = _read_material(run, cache, Compute(), listener)
    expected = {
        "model": run.config.to_json(),
        "labels": run.labels,
        "recipe": json.loads(json.dumps(run.recipe.to_json())),
        "clips": True,
        "teachers": [path.name for path in run.teachers],
        "start": run.initial.name if run.initial else None,
    }
    stored = {
        "model": checkpoint.model.config.to_json(),
        "labels": checkpoint.labels,
        "recipe": checkpoint.recipe,
        "clips": checkpoint.training.get("clips") == len(material.clips)
        and trained_on(checkpoint.training, [clip.filename for clip in material.clips]) == len(material.clips)
        and checkpoint.training.get("clips_sha256") in (None, material.digest),
        "teachers": checkpoint.training.get("teachers"),
        "start": checkpoint.training.get("started_from"),
    }
    if changed := [name for name, value in expected.items() if stored[name] != value]:
        raise EdgeAscError(
            f"{run.output}: holds a checkpoint of another {', '.join(changed)}; choose another --output, "
            "or give the settings that it was trained with"
        )
    listener.note(f"{run.output}: trained already")
    return checkpoint


def _evaluate(checkpoint: Checkpoint, run: Run, cache: FeatureCache, listener: Listener) -> Checkpoint:
    """The checkpoint with the evaluation on its held-out clips, saved; as it is where there are none."""
    if checkpoint.evaluation:
        return checkpoint
    if not run.trains_output:
        listener.note("not evaluated: no stage has trained the head; train it with --from and --stages head")
    elif not isinstance(checkpoint.model, CRNN):
        listener.note("not evaluated: a CNN with global average pooling does not stream")
    elif run.held_out():
        listener.note("evaluating on the held-out clips")
        checkpoint, document = fold_evaluation(checkpoint, run, cache)
        document.write(run.output)  # first: a checkpoint with an evaluation is not evaluated again
        checkpoint.save(run.output)
    return checkpoint


def cross_validate(
    run: Run,
    cache: FeatureCache,
    listener: Listener,
    *,
    resume: bool,
    record: Record | None = None,
    compute: Compute | None = None,
) -> Checkpoint:
    """Train and evaluate a model for each fold, then one on all clips that carries the pooled evaluation.

    Where another data set's folds are followed, there is nothing to evaluate on.
    """
    source = run.folds_of or run.dataset
    folds = source.folds
    if len(folds) < 2:
        raise EdgeAscError(f"{source.root}: {len(folds)} folds in evaluation_setup; cross-validation needs two")
    if run.config.head == "gap":
        raise EdgeAscError("cross-validation needs a model that streams; train a CNN fold by fold with --fold")
    parts = [run.of_fold(fold) for fold in folds]
    # Nobody exports the models of the folds: their activation ranges are not recorded.
    trained = [(part, train(part, cache, listener, resume=resume, compute=compute)) for part in parts]
    final = train(run, cache, listener, resume=resume, record=record, compute=compute)
    if run.folds_of or not run.trains_output or (compute and not compute.is_main_process):
        return final
    final, document = cross_evaluation(final, trained, cache)
    document.write(run.output)
    final.save(run.output)
    listener.evaluated(document)
    return final


def _load_teacher(path: Path, run: Run, front_end: FrontEnd) -> Checkpoint:
    checkpoint = Checkpoint.load(run.of_same_fold(path))
    if not isinstance(checkpoint.model, CRNN) or checkpoint.labels != run.labels:
        raise EdgeAscError(f"{path}: cannot teach; expected a CRNN with the labels {', '.join(run.labels)}")
    if checkpoint.front_end != front_end:
        raise EdgeAscError(
            f"{path}: cannot teach; its normalisation differs, so it was trained on other clips, levels or seed"
        )
    return checkpoint
