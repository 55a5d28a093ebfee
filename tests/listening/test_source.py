"""A microphone that is lost and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest

from edge_asc import audio
from edge_asc.errors import AudioError, MissingExtraError
from edge_asc.frontend import Array
from edge_asc.listening.source import WAITS, Gap, follow_microphone
from listeners import RATE, Collector, make_listener, steps

UNPLUGGED = AudioError("microphone: the device stopped")


class Device:
    """Plays one of its lives each time it is opened: blocks of audio, then its end or an error."""

    def __init__(self, *lives: list[Array | Exception]) -> None:
        self.lives = list(lives)
        self.now, self.waits, self.refreshed, self.opened = 0.0, list[float](), 0, list[object]()

    def open(self, rate: int, device: object = None) -> Iterator[Array]:
        self.opened.append(device)
        for item in self.lives.pop(0):
            if isinstance(item, Exception):
                raise item
            self.now += len(item) / rate
            yield item

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def refresh(self) -> None:
        self.refreshed += 1

    def follow(self) -> Iterator[Array | Gap]:
        return follow_microphone(
            RATE, "usb", open_device=self.open, refresh=self.refresh, sleep=self.sleep, clock=lambda: self.now
        )


def test_a_lost_device_comes_back_with_the_length_of_the_gap() -> None:
    block = steps("rain")
    device = Device([block, UNPLUGGED], [UNPLUGGED], [UNPLUGGED], [block, block])
    items = list(islice(device.follow(), 8))
    gaps = [item for item in items if isinstance(item, Gap)]
    assert gaps == [Gap(0.0, str(UNPLUGGED)), Gap(sum(WAITS[:3]), "the device is back")]
    assert device.waits == list(WAITS[:3])
    assert device.refreshed == 3
    assert set(device.opened) == {"usb"}
    blocks = [item for item in items if not isinstance(item, Gap)]
    assert [len(item) for item in blocks] == [len(block), 0, 0, 0, len(block), len(block)]


def test_no_event_is_lost_and_times_go_on() -> None:
    device = Device([steps("rain", "rain"), UNPLUGGED], [UNPLUGGED], [steps("rain", "rain", "-", "-")])
    sink = Collector()
    listener = make_listener(sink)
    for item in islice(device.follow(), 6):
        if isinstance(item, Gap):
            listener.interrupt(item.seconds)
            listener.note(item.reason)
        else:
            listener.push(item)
    gap = sum(WAITS[:2])
    assert sink.ended == [("rain", 0.0, 0.5), ("rain", 0.5 + gap, 1.0 + gap)]
    assert [text for _, text in sink.notes] == [str(UNPLUGGED), "the device is back"]


def test_waits_grow_to_a_bound_and_start_anew() -> None:
    block = steps("-")
    device = Device([block, UNPLUGGED], *[list[Array | Exception]([UNPLUGGED])] * 7, [block, UNPLUGGED], [block])
    for item in device.follow():
        if len(device.lives) == 0 and not isinstance(item, Gap) and len(item):
            break
    assert device.waits == [*WAITS, *[WAITS[-1]] * 3, WAITS[0]]


def test_a_device_that_ends_without_an_error_is_lost_too() -> None:
    device = Device([steps("-")], [steps("-")])
    items = list(islice(device.follow(), 4))
    assert items[1] == Gap(0.0, "the device stopped")
    assert items[3] == Gap(WAITS[0], "the device is back")


@pytest.mark.parametrize("error", [UNPLUGGED, MissingExtraError("sounddevice is not installed")])
def test_a_device_that_cannot_be_opened_at_the_start_is_an_error(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        next(Device([error]).follow())


def test_the_real_microphone_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    defaults = follow_microphone.__kwdefaults__
    assert defaults is not None
    assert defaults["open_device"] is audio.microphone
    assert defaults["refresh"] is audio.refresh_devices


def test_blocks_keep_their_samples() -> None:
    (first,) = islice(Device([steps("rain")]).follow(), 1)
    np.testing.assert_array_equal(np.asarray(first), steps("rain"))
