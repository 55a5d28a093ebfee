"""The training recipe: the paper's, and one in stages for small data sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from msgspec import Meta, Struct, ValidationError, convert, structs, to_builtins

from edge_asc.errors import EdgeAscError

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive = Annotated[float, Meta(gt=0.0, le=1e6)]
NotNegative = Annotated[float, Meta(ge=0.0, le=1e6)]
Decibels = Annotated[float, Meta(ge=-120.0, le=60.0)]
Frames = Annotated[int, Meta(ge=8, le=80_000, multiple_of=8)]

Trained = Literal["all", "trunk", "head"]
Loss = Literal["streams", "time_mean", "running_mean"]
OptimizerName = Literal["sgd", "adamw", "muon"]


class Augmentation(Struct, frozen=True, forbid_unknown_fields=True):
    """Random changes of training crops, all off by default (the paper names none).

    Gain, equaliser and mixing act on linear mel power, before the logarithm.

    Attributes:
        gain: range of the input gain, dB; drawn uniformly.
        gain_kept: probability that a crop gets a gain of ±6 dB instead.
        equaliser: half range of a random equaliser of six knots, dB.
        mel_scale: half range of the random scaling of the mel axis, as a fraction.
        mel_shift: half range of its shift, in bins of 256; with fewer bins it is as many hertz.
        time_stretch: half range of the logarithm of the random time rate.
        mixing: probability that a crop is mixed with one of another clip (between-class, Tokozume et al., 2018).
        mel_masks, mel_mask: number and largest width, in bins of 256, of SpecAugment's mel masks (Park et al., 2019).
        time_masks, time_mask: the same for time, frames.
    """

    gain: tuple[Decibels, Decibels] = (0.0, 0.0)
    gain_kept: Share = 0.0
    equaliser: Annotated[float, Meta(ge=0.0, le=60.0)] = 0.0
    mel_scale: Annotated[float, Meta(ge=0.0, le=0.5)] = 0.0
    mel_shift: Annotated[float, Meta(ge=0.0, le=128.0)] = 0.0
    time_stretch: Annotated[float, Meta(ge=0.0, le=1.0)] = 0.0
    mixing: Share = 0.0
    mel_masks: Count = 0
    mel_mask: Count = 32
    time_masks: Count = 0
    time_mask: Count = 24

    def __post_init__(self) -> None:
        if self.gain[0] > self.gain[1]:
            raise ValueError(f"gain is {self.gain[0]:g}..{self.gain[1]:g} dB; expected increasing order")

    @property
    def changes_power(self) -> bool:
        """Whether a crop passes through linear mel power."""
        return bool(self.mixing or self.equaliser or self.changes_level)

    @property
    def changes_level(self) -> bool:
        """Whether the input gain varies."""
        return bool(self.gain != (0.0, 0.0) or self.gain_kept)


class Stage(Struct, frozen=True, forbid_unknown_fields=True):
    """One part of a training with its own loss, optimiser and schedule. The defaults are the paper's (section 3.1).

    The paper gives: SGD, learning rate 0.05, weight decay 0.001, 50 epochs, the first 5 warm-up, cosine annealing,
    10 s inputs. It does not give batch size, momentum and augmentation: these values are ours.

    Attributes:
        name: the name that settings and logs use.
        trains: "all"; "trunk" (backbone, embedding, and auxiliary layer or linear head); "head" (recurrent layers and
            output, on embeddings of augmented views that the frozen trunk computes once; of a linear head the output
            alone, and where the training starts from a model that knows some of the labels, the rows of the others).
        loss: "streams" (main and auxiliary stream, paper eq. 3-5); "time_mean" (cross entropy of the time mean of the
            logits of the auxiliary layer or the linear head); "running_mean" (per step, against the label and the
            running-mean posterior of the auxiliary layer; of a recurrent head).
        optimizer: "sgd" (with `momentum`, Nesterov), "adamw", or "muon" (kernels of convolutions that mix
            channels, with `matrix_learning_rate`; AdamW for the rest).
        learning_rate, final_learning_rate: at the end of warm-up, and the factor left at the end.
        matrix_learning_rate, matrix_weight_decay: of Muon's share of the weights.
        weight_decay: on matrices and kernels only.
        epochs: passes over the training clips; each draws `crops` crops of each clip.
        warmup: share of the epochs in which the learning rate rises linearly (paper: 5 of 50).
        batch: crops in a batch.
        frames: shortest and longest crop, frames of 32 ms, multiples of 8; each batch draws one length.
        start: probability that a crop starts where the clip does.
        active: a crop holds at least one frame within 45 dB of the clip's loudest one.
        long_share, long_frames, long_batch: the last share of the epochs uses crops of this length in batches of this
            size, so that late layers and norms see their whole receptive field.
        views: augmented views of each clip that a "head" stage trains on; fewer where there are many clips.
        label_smoothing: of all targets.
        posterior_weight: share of the running-mean posterior in the target of the loss "running_mean".
        auxiliary_weight: weight of the auxiliary stream's loss in the loss "streams" (paper eq. 5: 1).
        class_balance: exponent of the weights 1 / (clips of the class) in the loss; 0 weighs all clips alike, 1 all
            classes alike, more makes classes of many clips unlikely.
        other_weight: weight of the label `other` in the loss, times that of its class.
        other_prior: odds of `other` against another label that a linear head is made for: after the stage, the bias of
            its row is shifted from the odds in the loss, `other_weight`, to these. Less than 1 makes the label unlikely
            beforehand, so that fewer known sounds are taken for it. 0 leaves the bias as it is.
        class_limit: an epoch draws no more clips of a class than this times the mean of the others; 0 is off.
        clip_gradient: largest gradient norm; 0 is off.
        ema: decay of the exponential moving average of weights and buffers that the stage results in; 0 is off.
        distil_weight: share of the teachers' posterior in the target where there are teachers.
        patience: evaluations without improvement on validation clips that end the stage; 0 is off.
        augmentation: of the crops.
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]*$")] = "all"
    trains: Trained = "all"
    loss: Loss = "streams"
    optimizer: OptimizerName = "sgd"
    learning_rate: Positive = 0.05
    final_learning_rate: Share = 0.0
    momentum: Share = 0.9
    weight_decay: NotNegative = 0.001
    matrix_learning_rate: Positive = 0.03
    matrix_weight_decay: NotNegative = 0.05
    epochs: Annotated[int, Meta(ge=1, le=1_000_000)] = 50
    warmup: Share = 0.1
    batch: Annotated[int, Meta(ge=2, le=1_000_000)] = 32
    crops: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    frames: tuple[Frames, Frames] = (312, 312)
    start: Share = 1.0
    active: bool = False
    long_share: Share = 0.0
    long_frames: Frames = 152
    long_batch: Annotated[int, Meta(ge=2, le=1_000_000)] = 24
    views: Count = 0
    label_smoothing: Share = 0.0
    posterior_weight: Share = 0.5
    auxiliary_weight: NotNegative = 1.0
    class_balance: Annotated[float, Meta(ge=0.0, le=4.0)] = 0.0
    other_weight: Positive = 1.0
    other_prior: NotNegative = 0.0
    class_limit: NotNegative = 0.0
    clip_gradient: NotNegative = 0.0
    ema: Share = 0.0
    distil_weight: Share = 0.7
    patience: Count = 0
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        if self.frames[0] > self.frames[1]:
            raise ValueError(f"frames are {self.frames[0]}..{self.frames[1]}; expected increasing order")
        losses = {"trunk": ("time_mean",), "head": ("running_mean", "time_mean")}
        if self.trains != "all" and self.loss not in losses[self.trains]:
            raise ValueError(f"a stage that trains the {self.trains} has the loss {' or '.join(losses[self.trains])}")
        if self.trains == "all" and self.loss == "running_mean":
            raise ValueError("the loss running_mean belongs to a stage that trains the head")
        if (self.trains == "head") != (self.views > 0):
            raise ValueError("views belong to a stage that trains the head, which needs at least 1")

    @property
    def long_epochs(self) -> int:
        """The last epochs, which use long crops."""
        return round(self.long_share * self.epochs)

    def is_long(self, epoch: int) -> bool:
        """Whether an epoch of this stage, counted from 0, uses long crops."""
        return epoch >= self.epochs - self.long_epochs


class Recipe(Struct, frozen=True, forbid_unknown_fields=True):
    """How a model is trained: stages, one after another. The default is the paper's single stage.

    Attributes:
        stages: each starts from the result of the one before.
        dropout: of the embeddings in training.
        validation: share of the training clips, whole groups, that no stage trains on; each stage then keeps the
            weights of its best evaluation. 0 trains on all clips and keeps the last weights.
        seed: of everything random.
    """

    stages: Annotated[tuple[Stage, ...], Meta(min_length=1)] = (Stage(),)
    dropout: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    validation: Annotated[float, Meta(ge=0.0, lt=1.0)] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**31)] = 0

    def __post_init__(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names) or set(names) & {*Recipe.__struct_fields__, "augmentation"}:
            raise ValueError(f"stages are named {', '.join(names)}; expected different names, none that of a setting")
        if any(stage.patience for stage in self.stages) and not self.validation:
            raise ValueError("patience needs validation clips; set validation to a share such as 0.1")

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(stage.epochs for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal recipe."""
        value: dict[str, Any] = to_builtins(self)
        return value

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `to_json` wrote.

        Raises:
            EdgeAscError: a name is unknown or a value is out of range.
        """
        try:
            recipe: Self = convert(value, cls)
        except ValidationError as error:
            names = [stage.get("name") for stage in _stages(value)]
            raise EdgeAscError(_explain(str(error), names)) from error
        return recipe

    def override(self, settings: Mapping[str, Any]) -> Self:
        """The recipe with some values replaced.

        `seed` and other settings of the recipe go by their own name, `trunk.epochs` and `trunk.augmentation.gain` by
        that of the stage; a stage's setting without the name of a stage, `epochs` or `augmentation.gain`, applies to
        every stage.

        Raises:
            EdgeAscError: a name is unknown or a value is out of range.
        """
        value = self.to_json()
        value["stages"] = [dict(stage) for stage in value["stages"]]
        by_name = {stage["name"]: stage for stage in value["stages"]}
        for name, setting in settings.items():
            first, _, rest = name.partition(".")
            if name in Recipe.__struct_fields__:
                value[name] = setting
            elif first in by_name and rest:
                _replace(by_name[first], name, rest, setting)
            else:
                for stage in value["stages"]:
                    _replace(stage, name, name, setting)
        return self.from_json(value)

    def with_epochs(self, epochs: int) -> Self:
        """The recipe with `epochs` for the longest stage, and the others scaled alike, at least one each."""
        longest = max(stage.epochs for stage in self.stages)
        stages = (
            structs.replace(stage, epochs=max(1, round(stage.epochs * epochs / longest))) for stage in self.stages
        )
        return structs.replace(self, stages=tuple(stages))

    def only(self, names: tuple[str, ...]) -> Self:
        """The recipe with these stages alone.

        Raises:
            EdgeAscError: the recipe has no such stage.
        """
        known = [stage.name for stage in self.stages]
        if unknown := [name for name in names if name not in known]:
            raise EdgeAscError(f"the recipe has no stage {', '.join(unknown)}; expected some of {', '.join(known)}")
        return structs.replace(self, stages=tuple(stage for stage in self.stages if stage.name in names))

    def without_head(self) -> Self:
        """The recipe without the stages that train the head alone, for a linear head, which a trunk's stage trains.

        Raises:
            EdgeAscError: no stage would be left.
        """
        if not (names := tuple(stage.name for stage in self.stages if stage.trains != "head")):
            raise EdgeAscError("all stages of the recipe train the head; expected one that trains the trunk")
        return self.only(names)

    def for_linear_head(self) -> Self:
        """The recipe with stages of the head for a linear one: labels alone, half the views, no mixed clips.

        The label `other` is trained with about the weight of ten classes together, and then made unlikely.
        """
        return structs.replace(
            self,
            stages=tuple(
                structs.replace(
                    stage,
                    loss="time_mean",
                    views=max(1, stage.views // 2),
                    other_weight=8.0,
                    other_prior=1 / 64,
                    augmentation=structs.replace(stage.augmentation, mixing=0.0),
                )
                if stage.trains == "head"
                else stage
                for stage in self.stages
            ),
        )

    def for_other(self, settings: Iterable[str]) -> Self:
        """The recipe with equal weights of all classes, or many clips of `other` would draw known sounds to it.

        Where the weights are among the names of `settings`, they stay.
        """
        is_set = any(name.endswith("class_balance") for name in settings)
        return self if is_set else self.override({"class_balance": 1.0})


def _stages(value: object) -> list[dict[str, Any]]:
    stages = value.get("stages") if isinstance(value, dict) else None
    return [stage for stage in stages or () if isinstance(stage, dict)]


def _replace(stage: dict[str, Any], name: str, path: str, setting: object) -> None:
    first, _, rest = path.partition(".")
    known: tuple[str, ...] = Stage.__struct_fields__
    if rest and first == "augmentation":
        known, path = Augmentation.__struct_fields__, rest
    if path not in known or path == "name":
        raise EdgeAscError(
            f"unknown recipe setting {name}; expected a setting of the recipe, or one of its stages, with or without "
            f"the stage's name: {', '.join(known)}"
        )
    if known is Augmentation.__struct_fields__:
        stage["augmentation"] = {**stage["augmentation"], path: setting}
    else:
        stage[path] = setting


def _explain(message: str, names: list[Any]) -> str:
    """An error of msgspec, with the setting as `override` names it."""
    text, _, path = message.partition(" - at `")
    path = re.sub(
        r"^\$\.?(stages\[(\d+)\]\.?)?",
        lambda match: f"{names[int(match[2])]}." if match[2] and len(names) > 1 else "",
        path.rstrip("`"),
    )
    where = f"recipe {path.rstrip('.')}" if path else "recipe"
    return f"{where}: {text[0].lower()}{text[1:]}"


PAPER = Recipe()

CROPS = Augmentation(
    gain=(-40.0, 5.0),
    gain_kept=0.3,
    equaliser=4.0,
    mel_scale=0.06,
    mel_shift=6.0,
    time_stretch=0.2,
    mixing=0.6,
    mel_masks=1,
)

# For hundreds to thousands of short clips: the trunk learns from the time mean of its auxiliary logits, the recurrent
# head from the frozen trunk. Gain reaches far down, for the recorded level varies more between devices than scenes.
STAGED = Recipe(
    stages=(
        Stage(
            name="trunk",
            trains="trunk",
            loss="time_mean",
            optimizer="muon",
            learning_rate=4e-3,
            final_learning_rate=0.005,
            weight_decay=0.05,
            epochs=120,
            warmup=0.05,
            batch=64,
            frames=(48, 48),
            start=0.1,
            active=True,
            long_share=0.1,
            clip_gradient=2.0,
            ema=0.995,
            class_limit=8.0,
            augmentation=CROPS,
        ),
        Stage(
            name="head",
            trains="head",
            loss="running_mean",
            optimizer="adamw",
            learning_rate=4e-3,
            final_learning_rate=0.003,
            weight_decay=0.01,
            epochs=60,
            warmup=0.05,
            batch=128,
            frames=(152, 152),
            start=0.1,
            active=True,
            views=24,
            label_smoothing=0.05,
            clip_gradient=2.0,
            class_limit=8.0,
            augmentation=structs.replace(CROPS, mixing=0.5, mel_masks=0),
        ),
    ),
    dropout=0.2,
)

RECIPES = {"paper": PAPER, "staged": STAGED}
