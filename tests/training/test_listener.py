from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from edge_asc.errors import MissingExtraError
from edge_asc.training.listener import Epoch, Listener, Listeners
from edge_asc.training.tensorboard import FOLDER, TensorBoardListener


class Record(Listener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def __getattribute__(self, name: str) -> Any:
        if name in ("started", "stepped", "ended", "advanced", "noted"):
            return lambda *given: self.events.append((name, *given))
        return super().__getattribute__(name)


def epoch(number: int, **changes: Any) -> Epoch:
    given = {"stage": "trunk", "loss": 1.0 / number, "accuracy": 0.5, "learning_rate": 0.1, "seconds": 2.0, "crops": 10}
    return Epoch(number, **{**given, **changes})


def test_every_listener_receives_every_event() -> None:
    records = [Record(), Record()]
    both = Listeners(records)
    both.started("x", Path("out"), 3, 30, 10)
    both.stepped(0.5)
    both.ended(epoch(1))
    both.advanced("views", 1, 2)
    both.noted("text")
    expected = [
        ("started", "x", Path("out"), 3, 30, 10),
        ("stepped", 0.5),
        ("ended", epoch(1)),
        ("advanced", "views", 1, 2),
        ("noted", "text"),
    ]
    assert [record.events for record in records] == [expected, expected]


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
