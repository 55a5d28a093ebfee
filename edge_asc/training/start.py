"""The model that a training starts from."""

from __future__ import annotations

from dataclasses import dataclass

from edge_asc.errors import EdgeAscError
from edge_asc.models import CNN, CRNN


@dataclass(frozen=True)
class Start:
    """A model that a training starts from.

    Attributes:
        model: of the same backbone and form.
        rows: for each label of the training, the number of the same label in `model`, or None where it has none.
    """

    model: CRNN | CNN
    rows: tuple[int | None, ...]

    @property
    def kept(self) -> tuple[int, ...]:
        """The labels that the start knows, where there are new ones beside them; else none."""
        known = tuple(label for label, row in enumerate(self.rows) if row is not None)
        return known if len(known) < len(self.rows) else ()


def take_weights(model: CRNN | CNN, start: Start) -> None:
    """Give a model the weights that a training starts from.

    Raises:
        EdgeAscError: the start has another backbone, form, size or kind of head.
    """
    config, given = model.config, start.model.config
    same = ["backbone", "form", "res_norm", "mels", "width"]
    if given.head == config.head == "gru":
        same += ["gru_units", "gru_layers"]
    if other := [name for name in same if getattr(given, name) != getattr(config, name)]:
        shown = [", ".join(f"{name} {getattr(each, name)}" for name in other) for each in (given, config)]
        raise EdgeAscError(
            f"the training starts from a model with {shown[0]}; this one has {shown[1]}: give the options of that model"
        )
    if (given.head == "gap") != (config.head == "gap"):
        raise EdgeAscError(f"the training starts from the head {given.head}; {config.head} cannot take its weights")
    weights = model.state_dict()
    for name, value in start.model.state_dict().items():
        name = _rename(name, given.head, config.head)
        if name not in weights:
            continue
        if not name.startswith(("output.", "auxiliary.")):
            weights[name] = value
            continue
        for row, theirs in enumerate(start.rows):
            if theirs is not None:
                weights[name][row] = value[theirs]
    model.load_state_dict(weights)


def _rename(name: str, theirs: str, mine: str) -> str:
    """The name of a weight in another head: the linear head's output is the auxiliary layer of a GRU head."""
    layer, _, rest = name.partition(".")
    renamed = {("linear", "gru", "output"): "auxiliary", ("gru", "linear", "auxiliary"): "output"}
    if theirs != mine and layer == "output" and theirs == "gru":
        return ""
    return f"{renamed.get((theirs, mine, layer), layer)}.{rest}"
