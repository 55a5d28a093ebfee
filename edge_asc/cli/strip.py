"""A recording as a picture of text: spectrogram, label and probabilities over one time axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from rich.console import Group
from rich.text import Text

from edge_asc.frontend import Array
from edge_asc.streaming import Decision

COLUMNS = 60  # of the time axis
ROWS = 6  # of the spectrogram; each shows two bands
MARGIN = 18  # left of the time axis, characters
DARKEST, BRIGHTEST = 10.0, 99.9  # percentiles of the log-mel power that have the first and the last colour
LEVELS = " ▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
STEPS = (1, 2, 5, 10, 30, 60, 120, 300, 600)  # s between ticks
MOST_TICKS = 10
# From silence to the loudest point; dark violet to yellow reads in order without hue, too.
COLOURS = ((13, 8, 45), (66, 10, 104), (147, 38, 103), (221, 81, 58), (252, 165, 10), (252, 255, 164))


@dataclass(frozen=True)
class Strip:
    """A recording as it is drawn.

    Attributes:
        log_mel: log-mel power, (frames, mels), without normalisation.
        decisions: made so far.
        labels: of the probabilities.
        hop: seconds of a frame.
        time: seconds of audio so far; all of it by default.
    """

    log_mel: Array
    decisions: Sequence[Decision]
    labels: tuple[str, ...]
    hop: float
    time: float | None = None

    @property
    def seconds(self) -> float:
        """Length of the time axis."""
        return len(self.log_mel) * self.hop

    def until(self, decision: int) -> Strip:
        """Return the strip as it was after a decision; time axis and colours stay."""
        return replace(self, decisions=self.decisions[: decision + 1], time=self.decisions[decision].time)

    def draw(self, probabilities: int = 2, *, colour: bool = True) -> Group:
        """Return the picture.

        Args:
            probabilities: number of labels whose probability has a row, the last decision's most probable ones.
            colour: shades of grey are made of characters otherwise.
        """
        rows = [*self._draw_spectrogram(colour=colour), self._draw_axis()]
        if self.decisions:
            rows.append(self._draw_answers())
            last = self.decisions[-1].probabilities
            rows += [self._draw_probability(int(index)) for index in np.argsort(-last)[:probabilities]]
        return Group(*rows)

    def _column(self, time: float) -> int:
        return min(COLUMNS, round(COLUMNS * time / self.seconds))

    def _draw_spectrogram(self, *, colour: bool) -> list[Text]:
        image = self._shrink()
        if self.time is not None:
            image = image[: self._column(self.time)]
        rows = []
        for row in range(ROWS):
            text = Text(
                ("high" if row == 0 else "low" if row == ROWS - 1 else "").rjust(MARGIN - 1) + " ", no_wrap=True
            )
            for upper, lower in image[:, 2 * row : 2 * row + 2]:
                if colour:
                    text.append("▀", f"{_colour(upper)} on {_colour(lower)}")
                else:
                    text.append(SHADES[round((upper + lower) / 2 * (len(SHADES) - 1))])
            rows.append(text)
        return rows

    def _shrink(self) -> Array:
        """Return the whole spectrogram, (COLUMNS, 2 · ROWS), high bands first, from 0 to 1."""
        places = np.linspace(0, len(self.log_mel), COLUMNS + 1).astype(int)
        bands = [part.mean(axis=1) for part in np.array_split(self.log_mel, 2 * ROWS, axis=1)]
        levels = np.stack(bands[::-1], axis=1)
        image = np.stack([levels[a : max(b, a + 1)].mean(axis=0) for a, b in pairwise(places)])
        darkest, brightest = np.percentile(image, (DARKEST, BRIGHTEST))
        shares: Array = np.clip((image - darkest) / max(brightest - darkest, 1e-3), 0.0, 1.0).astype(np.float32)
        return shares

    def _draw_axis(self) -> Text:
        line = [" "] * (COLUMNS + 6)
        last = int(self.seconds + 0.05)  # a clip of 5 s lacks a part of a frame
        step = next(step for step in STEPS if last / step <= MOST_TICKS or step == STEPS[-1])
        for second in range(0, last + 1, step):
            label = f"{second} s" if second + step > last else str(second)
            at = self._column(second)
            line[at : at + len(label)] = label
        return Text(" " * MARGIN + "".join(line).rstrip(), style="dim", no_wrap=True)

    def _draw_answers(self) -> Text:
        """Each answer, with its name at the place where it begins."""
        text, start = Text("answer".rjust(MARGIN - 1) + " ", no_wrap=True), 0
        runs = _find_runs([decision.answer for decision in self.decisions])
        for first, last in runs:
            end = self._column(self.decisions[last].time)
            width = end - start
            name = self.decisions[first].answer
            text.append((f"▕{name[: max(0, width - 1)]}" + "─" * width)[:width], "bold" if first == runs[-1][0] else "")
            start = end
        return text

    def _draw_probability(self, index: int) -> Text:
        text, start = Text(self.labels[index][: MARGIN - 1].rjust(MARGIN - 1) + " ", no_wrap=True), 0
        for decision in self.decisions:
            end = self._column(decision.time)
            share = float(decision.probabilities[index])
            text.append(LEVELS[round(share * (len(LEVELS) - 1))] * (end - start))
            start = end
        text.append(f" {self.decisions[-1].probabilities[index]:.0%}", "dim")
        return text


def _find_runs(names: Sequence[str]) -> list[tuple[int, int]]:
    """Return first and last index of each run of the same name."""
    starts = [i for i, name in enumerate(names) if not i or name != names[i - 1]]
    return list(zip(starts, [*(start - 1 for start in starts[1:]), len(names) - 1], strict=True))


def _colour(share: float) -> str:
    """Return the colour of a share of the range, from 0 to 1, as rich writes it."""
    place = share * (len(COLOURS) - 1)
    below = min(int(place), len(COLOURS) - 2)
    mix = place - below
    red, green, blue = (round((1 - mix) * a + mix * b) for a, b in zip(COLOURS[below], COLOURS[below + 1], strict=True))
    return f"rgb({red},{green},{blue})"
