"""The training recipe: the paper's, and one for small data sets."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self

from edge_asc.errors import EdgeAscError

LARGE = 1e6
RANGES = {
    "learning_rate": (1e-9, LARGE),
    "final_learning_rate": (0, 1),
    "momentum": (0, 1),
    "weight_decay": (0, LARGE),
    "epochs": (1, LARGE),
    "warmup_epochs": (0, LARGE),
    "batch": (2, LARGE),
    "crops": (1, LARGE),
    "start": (0, 1),
    "label_smoothing": (0, 1),
    "auxiliary_weight": (0, LARGE),
    "clip_gradient": (0, LARGE),
    "ema": (0, 1),
    "distil_weight": (0, 1),
}
AUGMENTATION_RANGES = {
    "gain_kept": (0, 1),
    "equaliser": (0, 60),
    "mel_scale": (0, 0.5),
    "mel_shift": (0, 0.5),
    "time_scale": (0.1, 1),
    "mixup": (0, LARGE),
    "mel_masks": (0, LARGE),
    "mel_mask": (0, LARGE),
    "time_masks": (0, LARGE),
    "time_mask": (0, LARGE),
}


def _check_ranges(settings: Any, ranges: dict[str, tuple[float, float]]) -> None:
    for name, (low, high) in ranges.items():
        if not low <= getattr(settings, name) <= high:
            raise EdgeAscError(f"recipe {name} is {getattr(settings, name)}; expected {low:g} to {high:g}")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a batch of log-mel, all off by default (the paper names none).

    Attributes:
        gain: range of input gain, dB; drawn uniformly.
        gain_kept: probability that a crop keeps its level (±3 dB) instead.
        equaliser: half range of a random smooth equaliser of six knots, dB.
        mel_scale: half range of the random scaling of the mel axis.
        mel_shift: half range of its shift, as a fraction of the axis.
        time_scale: smallest factor of the random stretching of time; 1 is off.
        roll: roll a crop along time by a random amount.
        mixup: α of the Beta distribution of mixup (Zhang et al., 2018); 0 is off.
        mel_masks, mel_mask: number and largest width, bins, of SpecAugment's mel masks (Park et al., 2019).
        time_masks, time_mask: the same for time, frames.
    """

    gain: tuple[float, float] = (0.0, 0.0)
    gain_kept: float = 0.0
    equaliser: float = 0.0
    mel_scale: float = 0.0
    mel_shift: float = 0.0
    time_scale: float = 1.0
    roll: bool = False
    mixup: float = 0.0
    mel_masks: int = 0
    mel_mask: int = 32
    time_masks: int = 0
    time_mask: int = 24

    def __post_init__(self) -> None:
        _check_ranges(self, AUGMENTATION_RANGES)
        if not -120.0 <= self.gain[0] <= self.gain[1] <= 60.0:
            raise EdgeAscError(f"recipe gain is {self.gain}; expected dB in increasing order, within -120 to 60")


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. The defaults are the paper's (section 3.1) where it gives a value.

    The paper gives: SGD, learning rate 0.05, weight decay 0.001, 50 epochs, the first 5 warm-up, cosine
    annealing, 10 s inputs. Batch size, momentum, augmentation and everything below it is ours.

    Attributes:
        optimizer: "sgd" (with `momentum`, Nesterov) or "adamw".
        learning_rate, final_learning_rate: at the end of warm-up, and the factor left at the end.
        weight_decay: on matrices and kernels only.
        epochs, warmup_epochs: passes over the training clips; each draws `crops` crops of each clip.
        batch: clips in a batch.
        frames: shortest and longest crop, frames of 32 ms, multiples of 8; each batch draws one length.
        start: probability that a crop starts where the clip does.
        label_smoothing: of both streams' targets.
        auxiliary_weight: weight of the auxiliary stream's loss (paper eq. 5: 1).
        clip_gradient: largest gradient norm; 0 is off.
        ema: decay of the exponential moving average of weights that is kept as the result; 0 is off.
        distil_weight: share of the teachers' targets in the loss where there are teachers.
        seed: of everything random.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.05
    final_learning_rate: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.001
    epochs: int = 50
    warmup_epochs: float = 5.0
    batch: int = 32
    crops: int = 1
    frames: tuple[int, int] = (312, 312)
    start: float = 1.0
    label_smoothing: float = 0.0
    auxiliary_weight: float = 1.0
    clip_gradient: float = 0.0
    ema: float = 0.0
    distil_weight: float = 0.7
    seed: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        low, high = self.frames
        if not (8 <= low <= high) or low % 8 or high % 8:
            raise EdgeAscError(f"recipe frames are {low}..{high}; expected multiples of 8 in increasing order")
        if self.optimizer not in ("sgd", "adamw"):
            raise EdgeAscError(f"recipe optimizer is {self.optimizer!r}; expected 'sgd' or 'adamw'")
        _check_ranges(self, RANGES)

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back to an equal recipe."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            EdgeAscError: a name is unknown or a value is out of range.
        """
        if not isinstance(value, dict):
            raise EdgeAscError(f"a recipe is {value!r}; expected settings by name")
        given = value.get("augmentation", {})
        if not isinstance(given, dict):
            raise EdgeAscError(f"recipe augmentation is {given!r}; expected settings by name")
        augmentation = _checked(Augmentation, given)
        recipe: Self = _checked(cls, {**value, "augmentation": augmentation})
        return recipe

    def override(self, settings: dict[str, Any]) -> Self:
        """The recipe with some values replaced; `augmentation.NAME` reaches into the augmentation.

        Raises:
            EdgeAscError: a name is unknown or a value is out of range.
        """
        value = self.to_json()
        for name, setting in settings.items():
            head, _, tail = name.partition(".")
            if tail and head == "augmentation":
                value["augmentation"] = {**value["augmentation"], tail: setting}
            else:
                value[name] = setting
        return self.from_json(value)


def _checked(kind: Any, value: dict[str, Any]) -> Any:
    defaults = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(value) - set(defaults)):
        raise EdgeAscError(f"unknown recipe setting {', '.join(unknown)}; expected some of {', '.join(defaults)}")
    plain = kind()
    return kind(**{name: _like(getattr(plain, name), setting, name) for name, setting in value.items()})


def _like(default: Any, setting: Any, name: str) -> Any:
    """`setting` in the type of `default`: a list of as many numbers for a tuple, a whole number for a float."""
    match default, setting:
        case tuple(), list() | tuple() if len(setting) == len(default):
            return tuple(_like(d, s, name) for d, s in zip(default, setting, strict=True))
        case bool(), bool():
            return setting
        case (bool(), _) | (_, bool()):
            pass
        case float(), int() | float():
            return float(setting)
        case _ if type(setting) is type(default):
            return setting
    raise EdgeAscError(f"recipe {name} is {setting!r}; expected something like {default!r}")


PAPER = Recipe()

# For some hundred clips of a few seconds. AdamW, wide downward gain (the recorded level varies far more
# between devices than between scenes), and everything that keeps a small network from learning the clips by
# heart.
SMALL = replace(
    PAPER,
    optimizer="adamw",
    learning_rate=3e-3,
    final_learning_rate=0.01,
    weight_decay=0.05,
    epochs=200,
    warmup_epochs=20.0,
    batch=16,
    frames=(72, 152),
    start=0.3,
    label_smoothing=0.1,
    clip_gradient=2.0,
    ema=0.995,
    augmentation=Augmentation(
        gain=(-35.0, 8.0),
        gain_kept=0.25,
        equaliser=3.0,
        mel_scale=0.06,
        mel_shift=0.03,
        time_scale=0.83,
        mixup=0.3,
        mel_masks=2,
        time_masks=1,
    ),
)

RECIPES = {"paper": PAPER, "small": SMALL}
