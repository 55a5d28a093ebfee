"""The classifiers: CNN with global average pooling, and CRNN with an auxiliary stream."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple, Self, get_args

import torch
from torch import Tensor, nn

from edge_asc.backbone import load_backbone
from edge_asc.contract import FORMS, OUTPUT_MODES, STEP_FRAMES, Form, OutputMode
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import MELS
from edge_asc.jsonobject import JsonObject, JsonValue
from edge_asc.models.conformance import check_backbone
from edge_asc.models.layers import BackboneModule, Caches, make_caches, name_caches

# The smallest and the largest value of each size.
BOUNDS = {"mels": (8, 256), "width": (0.125, 4.0), "gru_units": (1, 512), "gru_layers": (1, 8)}

State = dict[str, Tensor]
Head = Literal["gru", "linear", "gap"]
HEADS: tuple[Head, ...] = get_args(Head)


@dataclass(frozen=True)
class ModelConfig:
    """The complete description of a model, without its weights.

    Attributes:
        backbone: name of a registered backbone, such as "fuse", or the reference of a class, package.module:Class.
        form: "causal" (exact streaming, 8 frames a step) or "windowed" (the paper's, symmetric padding).
        head: "gru" (CRNN), "linear" (the output layer on each embedding, without recurrent layers; ours), or "gap" (CNN
            with global average pooling).
        output: "multi" trains on the output of every step, "single" on the last one.
        auxiliary: train a GRU head with the auxiliary stream; it is dropped at inference.
        classes: number of labels.
        res_norm: use ResNorm, in a windowed backbone that has this option.
        dropout: of the embeddings in training; 0 in the paper.
        mels: mel bins of the front end, a multiple of 8 from 8 to 256; its window resolves no more.
        width: factor of the backbone's channels, 0.125 to 4.
        gru_units, gru_layers: size of each layer of a GRU head, 1 to 512, and their number, 1 to 8; ten and two in the
            paper. Other heads ignore both.

    Raises:
        EdgeAscError: a value is out of its range, or the backbone cannot be loaded or lacks an option.
    """

    backbone: str = "fuse"
    form: Form = "causal"
    head: Head = "gru"
    output: OutputMode = "multi"
    auxiliary: bool = True
    classes: int = 10
    res_norm: bool = False
    dropout: float = 0.0
    mels: int = MELS
    width: float = 1.0
    gru_units: int = 10
    gru_layers: int = 2

    def __post_init__(self) -> None:
        backbone = load_backbone(self.backbone)
        choices: dict[str, tuple[str, ...]] = {"form": FORMS, "head": HEADS, "output": OUTPUT_MODES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise EdgeAscError(f"model {name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}")
        if self.form not in backbone.forms:
            raise EdgeAscError(
                f"backbone {self.backbone} has no {self.form} form; expected {' or '.join(backbone.forms)}"
            )
        if self.classes < 2 or not 0.0 <= self.dropout < 1.0:
            raise EdgeAscError(
                f"model has {self.classes} classes and dropout {self.dropout}; expected at least 2 and [0, 1)"
            )
        for name, (low, high) in BOUNDS.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise EdgeAscError(f"model {name} is {value}; expected {low:g} to {high:g}")
        if self.mels % 8:
            raise EdgeAscError(f"model mels is {self.mels}; expected a multiple of 8")
        if missing := [option for option in self.options if option not in backbone.options]:
            raise EdgeAscError(f"backbone {self.backbone} has no option {', '.join(missing)}; leave it out")

    @property
    def options(self) -> dict[str, bool | float]:
        """What the backbone is asked for beside its form; nothing of what it has by default."""
        asked = {"mels": self.mels, "width": self.width, "res_norm": self.res_norm}
        return {name: value for name, value in asked.items() if value != getattr(type(self), name)}

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object that `from_json` reads back to an equal configuration."""
        value: dict[str, JsonValue] = asdict(self)
        return value

    @classmethod
    def from_json(cls, value: object) -> Self:
        """Read what `to_json` wrote; fields that are missing get their defaults.

        Raises:
            ValueError: a field is unknown or of another type.
            EdgeAscError: no such backbone, or one that cannot be built like this.
        """
        fields, default = JsonObject(value, "model"), cls()
        fields.check_names(tuple(cls.__dataclass_fields__))
        return cls(
            backbone=fields.text("backbone", default.backbone),
            form=fields.choice("form", FORMS, default.form),
            head=fields.choice("head", HEADS, default.head),
            output=fields.choice("output", OUTPUT_MODES, default.output),
            auxiliary=fields.flag("auxiliary", default.auxiliary),
            classes=fields.integer("classes", default.classes),
            res_norm=fields.flag("res_norm", default.res_norm),
            dropout=fields.number("dropout", default.dropout),
            mels=fields.integer("mels", default.mels),
            width=fields.number("width", default.width),
            gru_units=fields.integer("gru_units", default.gru_units),
            gru_layers=fields.integer("gru_layers", default.gru_layers),
        )


class Output(NamedTuple):
    """The output of a CRNN for n embeddings."""

    logits: Tensor
    """(B, n, classes), one row after each embedding."""
    auxiliary: Tensor | None
    """(B, n, classes), the auxiliary stream's logits, or None."""
    hidden: Tensor
    """(layers, B, hidden), the GRU state after the last embedding."""


class Embedding(nn.Module):
    """A fully connected layer on the frequency axis, frame by frame (paper, 2.1); its form is inferred."""

    def __init__(self, channels: int, mels: int) -> None:
        super().__init__()
        self.mel = nn.Conv2d(channels, channels, (mels, 1), groups=channels, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.project = nn.Conv2d(channels, channels, 1)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, F, n) → (B, C, 1, n)."""
        result: Tensor = self.relu(self.project(self.norm(self.mel(x))))
        return result


class NoRecurrence(nn.Module):
    """Stands in for a GRU of zero layers: the embeddings as they are, and an empty state."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_layers, self.input_size, self.hidden_size = 0, channels, channels

    def forward(self, embeddings: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (B, n, channels) → the same, and a state (0, B, channels)."""
        return embeddings, embeddings.new_zeros(0, len(embeddings), self.hidden_size)


class CRNN(nn.Module):
    """Backbone, embedding, a GRU (two layers of ten units in the paper), and the auxiliary stream (paper, 2 and 2.2).

    With the head "linear" the output layer reads the embeddings, and neither GRU nor auxiliary stream exist.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _build_backbone(config)
        channels = self.backbone.channels
        self.embedding = Embedding(channels, self.backbone.mels)
        self.dropout = nn.Dropout(config.dropout)
        self.gru: nn.GRU | NoRecurrence = NoRecurrence(channels)
        if config.head == "gru":
            self.gru = nn.GRU(channels, config.gru_units, config.gru_layers, batch_first=True)
        self.output = nn.Linear(self.gru.hidden_size, config.classes)
        has_auxiliary = config.auxiliary and config.head == "gru"
        self.auxiliary = nn.Linear(channels, config.classes) if has_auxiliary else None
        name_caches(self.backbone)

    def embed(self, features: Tensor, caches: Caches | None = None) -> Tensor:
        """Compute embeddings (B, T / 8, channels) of log-mel (B, 1, mels, T); T is a multiple of 8 in the causal form.

        Raises:
            EdgeAscError: a causal model and another number of frames.
        """
        if self.config.form == "causal" and (features.shape[3] == 0 or features.shape[3] % STEP_FRAMES):
            raise EdgeAscError(f"got {features.shape[3]} frames; expected a positive multiple of {STEP_FRAMES}")
        columns: Tensor = self.embedding(self.backbone(features, caches))
        return columns.squeeze(2).transpose(1, 2)

    @property
    def readout(self) -> nn.Linear | None:
        """The linear layer from embeddings to logits: the auxiliary layer, or the output of a linear head."""
        return self.output if self.config.head == "linear" else self.auxiliary

    def forward(self, features: Tensor, hidden: Tensor | None = None) -> Output:
        """Compute T // 8 outputs from log-mel (B, 1, mels, T) and a GRU state (layers, B, hidden), by default zeros."""
        embeddings = self.dropout(self.embed(features))
        y, hidden = self.gru(embeddings, hidden)
        auxiliary = self.auxiliary(embeddings) if self.auxiliary is not None else None
        return Output(self.output(y), auxiliary, hidden)

    def initial_state(self, batch: int = 1) -> State:
        """Return the state of a new stream: zeros, (batch, C, F, columns) per cache, (batch, hidden) per GRU layer.

        Raises:
            EdgeAscError: a windowed model.
        """
        if self.config.form != "causal":
            raise EdgeAscError("a windowed model has no step state; build it with form='causal' to stream")
        state = make_caches(self.backbone, self.config.mels, batch)
        for layer in range(self.gru.num_layers):
            state[f"hidden_{layer}"] = self.output.weight.new_zeros(batch, self.gru.hidden_size)
        return state

    def step(self, features: Tensor, state: State) -> tuple[Tensor, State]:
        """Process 8·k new frames, (B, 1, mels, 8·k); return logits (B, k, classes) and the state after them.

        Streaming is exact: the logits equal those of one pass over all frames so far.

        Raises:
            EdgeAscError: the number of frames is not a positive multiple of 8.
        """
        caches = Caches({name: columns for name, columns in state.items() if name.startswith("cache_")})
        layers = range(self.gru.num_layers)
        before = torch.stack([state[f"hidden_{layer}"] for layer in layers]) if layers else None
        y, hidden = self.gru(self.embed(features, caches), before)
        carried = {f"hidden_{layer}": hidden[layer] for layer in layers}
        return self.output(y), {**caches.next, **carried}


class CNN(nn.Module):
    """The paper's baseline: backbone, a pointwise classifier, and the mean over mel and time (3.2)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = _build_backbone(config)
        self.output = nn.Conv2d(self.backbone.channels, config.classes, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Log-mel (B, 1, mels, T) → logits (B, classes)."""
        logits: Tensor = self.output(self.backbone(features))
        return logits.mean(dim=(2, 3))


def _build_backbone(config: ModelConfig) -> BackboneModule:
    backbone = load_backbone(config.backbone)
    check_backbone(backbone, config.form, config.mels, config.options)
    return backbone.build(config.form, **config.options)


def build(config: ModelConfig) -> CRNN | CNN:
    """Build a model with fresh weights."""
    return CNN(config) if config.head == "gap" else CRNN(config)
