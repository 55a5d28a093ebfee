"""A trained model on disk: `weights.safetensors` and `checkpoint.json` in one folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from edge_asc.detection.rules import EventRules
from edge_asc.errors import EdgeAscError, require
from edge_asc.files import sha256, write_bytes, write_json
from edge_asc.frontend import FrontEnd
from edge_asc.jsonobject import JsonObject, parse_json
from edge_asc.rule import BEST_LIVE, CLIP_RULES, ClipRule, DecisionRule
from edge_asc.unknown import UnknownRule

if TYPE_CHECKING:
    from edge_asc.models import CNN, CRNN

# 1: first version.
SCHEMA_VERSION = 1
WEIGHTS, METADATA = "weights.safetensors", "checkpoint.json"


@dataclass(frozen=True)
class Checkpoint:
    """A model with everything needed to rebuild, run and export it.

    Attributes:
        name: what reports call it.
        model: the model, in evaluation mode.
        front_end: with the normalisation it was trained with.
        labels: in the order of the logits.
        decision: "last" (the last output) or "mean" (running mean of log-softmax since reset).
        recipe: how it was trained, as JSON.
        training: what it was trained on: data set, clips, licences, seconds, final loss.
        evaluation: what was measured on held-out data, as JSON.
        quantisation: activation ranges recorded on the training data, as JSON; empty if none were.
        temperature: that logits are divided by before a softmax for calibrated confidences, fitted on held-out clips;
            1 where it was not fitted.
        unknown: when a decision is unknown, chosen on held-out clips; None where it was not chosen.
        live: the decision rule for streams without an end.
        events: when a label's probability is an event, calibrated on streams; None where it was not calibrated.
    """

    name: str
    model: CRNN | CNN
    front_end: FrontEnd
    labels: tuple[str, ...]
    decision: ClipRule = "mean"
    recipe: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)
    quantisation: dict[str, Any] = field(default_factory=dict)
    temperature: float = 1.0
    unknown: UnknownRule | None = None
    live: DecisionRule = BEST_LIVE
    events: EventRules | None = None

    def save(self, folder: Path) -> None:
        """Write both files; the JSON, which holds the hash of the weights, comes last."""
        safetensors = require("safetensors.torch", "train")
        tensors = {k: v.detach().cpu().contiguous() for k, v in self.model.state_dict().items()}
        write_bytes(folder / WEIGHTS, safetensors.save(tensors))
        write_json(
            folder / METADATA,
            {
                "schema_version": SCHEMA_VERSION,
                "name": self.name,
                "weights_sha256": sha256(folder / WEIGHTS),
                "model": self.model.config.to_json(),
                "front_end": self.front_end.to_json(),
                "labels": list(self.labels),
                "decision": self.decision,
                "recipe": self.recipe,
                "training": self.training,
                "evaluation": self.evaluation,
                "quantisation": self.quantisation,
                "temperature": self.temperature,
                "unknown": None if self.unknown is None else self.unknown.to_json(),
                "live": self.live.to_json(),
                "events": None if self.events is None else self.events.to_json(),
            },
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a checkpoint; the model comes in evaluation mode.

        Raises:
            EdgeAscError: no checkpoint there, a damaged or newer one, or weights that do not fit the model.
            MissingExtraError: torch or safetensors is not installed.
        """
        folder = Path(folder)
        value = read_metadata(folder)
        try:
            return cls._read(folder, value)
        except ValueError as error:
            raise _malformed(folder / METADATA, error) from error

    @classmethod
    def _read(cls, folder: Path, value: dict[str, Any]) -> Self:
        weights = folder / WEIGHTS
        if not weights.is_file():
            raise EdgeAscError(f"{folder}: {WEIGHTS} is missing; expected it beside {METADATA}")
        if (found := sha256(weights)) != value["weights_sha256"]:
            raise EdgeAscError(
                f"{weights}: SHA-256 is {found[:12]}…, {METADATA} says {value['weights_sha256'][:12]}…: "
                "the file is damaged or belongs to another checkpoint; copy the folder again"
            )
        require("torch", "train")
        safetensors = require("safetensors.torch", "train")
        from safetensors import SafetensorError

        from edge_asc.models import ModelConfig, build

        fields = JsonObject(value, METADATA)
        model = build(ModelConfig.from_json(value["model"]))
        front_end = FrontEnd.from_json(value["front_end"])
        if front_end.mels != model.config.mels:
            raise EdgeAscError(
                f"{folder / METADATA}: the front end gives {front_end.mels} mel bins, the model takes "
                f"{model.config.mels}; expected as many in both: copy the folder again"
            )
        unknown, live, events = map(fields.optional_child, ("unknown", "live", "events"))
        try:
            model.load_state_dict(safetensors.load_file(weights))
        except SafetensorError as error:
            raise EdgeAscError(f"{weights}: not a file of weights ({error}); copy the folder again") from error
        except RuntimeError as error:
            raise EdgeAscError(f"{weights}: the weights do not fit the model of {METADATA}: {error}") from error
        return cls(
            name=value["name"],
            model=model.eval(),
            front_end=front_end,
            labels=tuple(value["labels"]),
            decision=value["decision"],
            recipe=value["recipe"],
            training=value["training"],
            evaluation=value["evaluation"],
            quantisation=value["quantisation"],
            temperature=fields.number("temperature", 1.0),
            unknown=None if unknown is None else UnknownRule.from_json(unknown),
            live=BEST_LIVE if live is None else DecisionRule.from_json(live),
            events=None if events is None else EventRules.from_json(events),
        )


def read_metadata(folder: Path) -> dict[str, Any]:
    """The JSON of the checkpoint in `folder`, without loading torch.

    Raises:
        EdgeAscError: there is none, or it is damaged or of another version.
    """
    path = folder / METADATA
    if not path.is_file():
        raise EdgeAscError(f"{folder}: no checkpoint there; expected a folder with {METADATA} and {WEIGHTS}")
    try:
        value = cast(dict[str, Any], parse_json(path.read_bytes()))
        version = value["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeAscError(f"{path}: not a checkpoint's JSON ({error!r}); copy the folder again") from error
    if type(version) is not int or version != SCHEMA_VERSION:
        newer = type(version) is int and version > SCHEMA_VERSION
        raise EdgeAscError(
            f"{path}: schema version {version!r}; this edge-asc reads version {SCHEMA_VERSION}: "
            f"{'upgrade edge-asc' if newer else 'train the checkpoint again'}"
        )
    try:
        _check_fields(JsonObject(value, METADATA))
    except ValueError as error:
        raise _malformed(path, error) from error
    return value


def _check_fields(fields: JsonObject) -> None:
    """Raise ValueError unless the fields that every checkpoint has are there, each of its type."""
    for name in ("name", "weights_sha256"):
        fields.text(name)
    for name in ("model", "front_end", "recipe", "training", "evaluation", "quantisation"):
        fields.child(name)
    fields.texts("labels")
    fields.choice("decision", CLIP_RULES)


def _malformed(path: Path, error: ValueError) -> EdgeAscError:
    return EdgeAscError(f"{path}: malformed ({error}); copy the folder again, or train the model again")


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a folder that holds a checkpoint."""
    return (path / METADATA).is_file()
