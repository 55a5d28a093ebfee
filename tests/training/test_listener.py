from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_asc.errors import MissingExtraError
from edge_asc.progress import Phase
from edge_asc.training.listener import Epoch, Listener, Listeners
from edge_asc.training.tensorboard import FOLDER, TensorBoardListener


class Record(Listener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    @contextmanager
    def phase(self, title: str, total: float | None = None) -> Iterator[Phase]:
        self.events.append(("phase", title, total))
        yield Phase()

    def note(self, text: str) -> None:
        self.events.append(("note", text))

    def started(self, *given: Any) -> None:
        self.events.append(("started", *given))

    def stepped(self, loss: float) -> None:
        self.events.append(("stepped", loss))

    def ended(self, epoch: Epoch) -> None:
        self.events.append(("ended", epoch))


def epoch(number: int, **changes: Any) -> Epoch:
    given = {"stage": "trunk", "loss": 1.0 / number, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 2.0, "crops": 10}
    return Epoch(number, **{**given, **changes})


def test_events_go_to_every_listener_and_progress_to_the_first() -> None:
    first, second = Record(), Record()
    both = Listeners(first, second)
    both.started("x", Path("out"), 3, 30, 10)
    both.stepped(0.5)
    both.ended(epoch(1))
    with both.phase("views", 2):
        both.note("text")
    events = [("started", "x", Path("out"), 3, 30, 10), ("stepped", 0.5), ("ended", epoch(1))]
    assert first.events == [*events, ("phase", "views", 2), ("note", "text")]
    assert second.events == events


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_curves_for_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="TensorBoard is an extra of its own")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    listener = TensorBoardListener()
    listener.started("x", tmp_path, 2, 20, 10)
    listener.ended(epoch(1))
    listener.ended(epoch(2, validation=0.75))
    events = EventAccumulator(str(tmp_path / FOLDER))
    events.Reload()
    assert [(each.step, each.value) for each in events.Scalars("trunk/loss")] == [(1, 1.0), (2, 0.5)]
    assert [(each.step, each.value) for each in events.Scalars("trunk/validation accuracy")] == [(2, 0.75)]
    assert [each.value for each in events.Scalars("trunk/crops per second")] == [5.0, 5.0]


def test_tensorboard_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"edge-asc\[tensorboard\]"):
        TensorBoardListener()
