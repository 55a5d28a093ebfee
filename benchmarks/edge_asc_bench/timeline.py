"""One recording on a time axis: its spectrogram, and below it what each model decides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import numpy.typing as npt

from edge_asc_bench.chart import Frame
from edge_asc_bench.drawing import COLOURS, INK, ON_SERIES, Axes, Look, name_point, panels, shorten
from edge_asc_bench.kinds import Classification
from edge_asc_bench.spectrogram import Spectrogram

# Labels with a look of their own, models below a spectrogram, points of a line, and parts of a strip.
MOST_LABELS, MOST_MODELS, MOST_POINTS, MOST_SPANS = len(COLOURS), 6, 800, 200
# Heights, inches: of the spectrogram, a strip of labels, probabilities, and all else.
SPECTROGRAM, STRIP, PROBABILITIES, REST = 1.5, 0.42, 0.95, 0.75
LETTER = 0.085  # width, inches


@dataclass(frozen=True)
class Recording:
    """The decisions of models on one recording.

    Attributes:
        classifications: of the models that are drawn; each has a decision at least.
        labels: that have a look of their own: what was decided, then what was most probable.
        spectrogram: None where there is none.
    """

    classifications: Sequence[Classification]
    labels: list[str]
    spectrogram: Spectrogram | None

    @property
    def seconds(self) -> float:
        """The end of the time axis, s."""
        last = max(each.decisions[-1].time for each in self.classifications)
        return last if self.spectrogram is None else max(last, self.spectrogram.seconds)


@dataclass(frozen=True)
class Span:
    """A label that holds from one time to another, s; and text about it."""

    start: float
    end: float
    label: str
    text: str


def choose_labels(classifications: Sequence[Classification]) -> list[str]:
    """Return the labels with a look of their own: what was decided most often first, then what was most probable."""
    counts: dict[str, float] = {}
    for each in classifications:
        for decision in each.decisions:
            counts[decision.label] = counts.get(decision.label, 0.0) + 1
        if names := name_probabilities(each):
            largest = np.max([decision.probabilities for decision in each.decisions], axis=0)
            for name, share in zip(names, largest, strict=True):
                if share >= 0.2:
                    counts.setdefault(name, float(share) / 2)
    return sorted(counts, key=lambda name: -counts[name])[:MOST_LABELS]


def name_probabilities(classification: Classification) -> tuple[str, ...]:
    """Return the label of each probability; none where the document does not say."""
    labels, decisions = classification.labels, classification.decisions
    return labels if decisions and len(labels) == len(decisions[0].probabilities) else ()


def draw_timeline(frame: Frame, recording: Recording) -> str:
    """Draw the spectrogram; for each model a strip of what it decides, and the probabilities of its labels."""
    spectrogram, models = recording.spectrogram, recording.classifications
    ratios = [SPECTROGRAM] if spectrogram else []
    ratios += [STRIP, PROBABILITIES] * len(models)
    with panels(frame.canvas(sum(ratios) + REST), len(ratios), 1, shared="x", ratios=ratios) as (grid, drawing):
        rows = [row[0] for row in grid]
        if spectrogram:
            _draw_spectrogram(rows.pop(0), spectrogram)
        for classification in models:
            _draw_strip(rows.pop(0), classification, recording, frame.width)
            _draw_probabilities(rows.pop(0), classification, recording)
        axes = grid[-1][0]
        axes.set(xlim=(0, recording.seconds), xlabel="seconds")
    return drawing.svg


def _draw_spectrogram(axes: Axes, spectrogram: Spectrogram) -> None:
    levels = spectrogram.levels
    low, high = np.percentile(levels, (5, 99.5))
    extent = (0, spectrogram.seconds, -0.5, len(levels) - 0.5)
    style = {"origin": "lower", "aspect": "auto", "cmap": "magma", "interpolation": "nearest"}
    axes.imshow(levels, extent=extent, vmin=low, vmax=max(high, low + 1e-3), **style)
    kilohertz = (0.5, 1, 2, 4, 7)
    places = [int(np.abs(spectrogram.bins - 1000 * value).argmin()) for value in kilohertz]
    axes.set_yticks(places, [f"{value:g}" for value in kilohertz])
    axes.set_ylabel("kHz")
    axes.grid(False)
    axes.tick_params(labelbottom=False)


def _draw_strip(axes: Axes, classification: Classification, recording: Recording, width: float) -> None:
    spans = list_spans(classification)
    for span in spans:
        look = _look_up(recording, span.label)
        style = {"color": look.colour, "hatch": look.hatch, "edgecolor": ON_SERIES, "lw": 0}
        # Each part reaches under the next one: no ground shows between them.
        length = min(1.1 * (span.end - span.start), recording.seconds - span.start)
        axes.barh(0, length, left=span.start, height=1, **style)
        for bar in axes.containers[-1]:
            bar.set_gid(name_point(0, span.text))
    for label, run in groupby(spans, lambda span: span.label):
        parts = list(run)
        start, end = parts[0].start, parts[-1].end
        axes.plot([start, start], [-0.5, 0.5], color=ON_SERIES, lw=1.2)
        if (end - start) / recording.seconds * (width - 0.7) > LETTER * (len(label) + 1):
            axes.annotate(label, ((start + end) / 2, 0), ha="center", va="center", color=ON_SERIES, fontsize=8.5)
    axes.set_title(shorten(describe_model(classification), width), loc="left", fontsize=10, pad=3)
    axes.set(yticks=[], ylim=(-0.5, 0.5))
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(bottom=False, labelbottom=False)


def _draw_probabilities(axes: Axes, classification: Classification, recording: Recording) -> None:
    names = name_probabilities(classification)
    times = np.array([decision.time for decision in classification.decisions])
    table = np.array([decision.probabilities for decision in classification.decisions])
    if names:
        for label in recording.labels:
            if label in names:
                x, y = thin(times, 100 * table[:, names.index(label)])
                axes.plot(x, y, **_look_up(recording, label).line)
    else:
        x, y = thin(times, 100 * table.max(axis=1))
        axes.plot(x, y, color=INK, lw=1.5)
    axes.set(ylim=(0, 102), yticks=(0, 50, 100), ylabel="%")
    if axes is not axes.figure.axes[-1]:
        axes.tick_params(labelbottom=False)


def _look_up(recording: Recording, label: str) -> Look:
    labels = recording.labels
    return Look.of(labels.index(label)) if label in labels else Look("#8b8b8b", "o", (), "")


def describe_model(classification: Classification) -> str:
    """Return a title: the model, float or its scheme, and the engine without its version."""
    scheme = "float" if classification.scheme == "none" else classification.scheme
    return f"{classification.model}, {scheme}, in {classification.engine.partition(' ')[0]}"


def list_runs(classification: Classification) -> Iterator[tuple[float, float, str]]:
    """Yield start and end, s, and label of each run of equal decisions."""
    start = 0.0
    for label, run in groupby(classification.decisions, lambda decision: decision.label):
        end = max(decision.time for decision in run)
        yield start, end, label
        start = end


def list_spans(classification: Classification) -> list[Span]:
    """Return the parts of a strip: a decision each, or, of more than MOST_SPANS, as many parts of equal length."""
    names, decisions = name_probabilities(classification), classification.decisions
    spans, start = [], 0.0
    if len(decisions) > MOST_SPANS:
        for part in np.array_split(np.arange(len(decisions)), MOST_SPANS):
            ((label, count),) = Counter(decisions[i].label for i in part).most_common(1)
            end = decisions[part[-1]].time
            text = f"{start:.1f} to {end:.1f} s: {label} in {count} of {len(part)} decisions"
            spans.append(Span(start, end, label, text))
            start = end
        return spans
    for decision in decisions:
        shares = sorted(zip(decision.probabilities, names or [decision.label], strict=False), reverse=True)[:3]
        text = ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares)
        spans.append(Span(start, decision.time, decision.label, f"{decision.time:.2f} s: {decision.label} ({text})"))
        start = decision.time
    return spans


def thin(
    times: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return a line of MOST_POINTS points at most: means of as many parts, (points,) each."""
    if len(times) <= MOST_POINTS:
        return times, values
    parts = [np.array_split(each, MOST_POINTS) for each in (times, values)]
    x, y = (np.array([part.mean() for part in each]) for each in parts)
    return x, y
