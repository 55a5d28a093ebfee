"""`edge-asc demo`."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_asc.cli.console import ConsoleProgress, json_option, log, out, print_json, quiet_option
from edge_asc.cli.output import OutputPath, save
from edge_asc.cli.strip import Strip
from edge_asc.demo import Recording, list_recordings
from edge_asc.detection.event import SoundEvent
from edge_asc.errors import CheckFailedError, ContractError
from edge_asc.rule import DecisionRule
from edge_asc.zoo import BUNDLES, DEFAULT, list_bundles, zoo_path

if TYPE_CHECKING:
    from edge_asc.jsonobject import JsonValue
    from edge_asc.runtime import Runtime
    from edge_asc.streaming import Decision

SPEED = 2.0  # of the replay in a terminal, times real time
WARM_UP = 4  # steps that are not timed
WIDTH = 92  # of the picture, characters
# rich links to a font on the web; a picture should need no network.
FONT = re.compile(r"@font-face \{.*?\n    \}\n", re.DOTALL)


@dataclass(frozen=True)
class Performance:
    """One recording and what the models say about it.

    Attributes:
        recording: with the label that is right.
        strip: the picture, with the decisions of the int8 model.
        events: of the int8 model.
        answers: labels of the decisions by the schemes in BUNDLES, one of each step.
        seconds: of computation of each step, likewise.
    """

    recording: Recording
    strip: Strip
    events: tuple[SoundEvent, ...]
    answers: tuple[tuple[str, ...], ...]
    seconds: tuple[tuple[float, ...], ...]

    @property
    def decision(self) -> Decision:
        """The last decision of the int8 model."""
        return self.strip.decisions[-1]

    @property
    def is_right(self) -> bool:
        """Whether the last decision is the recording's label."""
        return self.decision.answer == self.recording.label


@dataclass(frozen=True)
class Comparison:
    """One artefact of the model in all recordings.

    Attributes:
        scheme: such as "int8".
        engine: with its version.
        bytes: of the file.
        milliseconds: median time of a decision, front end included, one thread.
        equal: decisions with the answer of the float artefact.
        decisions: of all recordings.
    """

    scheme: str
    engine: str
    bytes: int
    milliseconds: float
    equal: int
    decisions: int


@click.command("demo", short_help="Classify three recordings that come with the package.")
@click.option("--picture", type=OutputPath(), metavar="FILE", help="Also write what is shown to an SVG file.")
@quiet_option
@json_option
def command(picture: Path | None, as_json: bool) -> None:
    """Classify recordings that the model was not trained on, and compare its int8 and float forms.

    Each recording is drawn as a spectrogram, with the answer and the most probable labels of each decision under it. A
    terminal replays it at twice its speed. It needs one runtime, and no torch.

    The exit status is 1 if an answer is wrong.
    """
    from edge_asc.engine import open_runtime

    folder = zoo_path(DEFAULT)
    bundles = {bundle.name: bundle for bundle in list_bundles(folder)} if folder else {}
    if missing := [scheme for scheme in BUNDLES if scheme not in bundles]:
        raise ContractError(f"the package has no {missing[0]} artefact of {DEFAULT}; install it again")
    runtimes = [open_runtime(bundles[scheme]) for scheme in BUNDLES]
    performances = []
    with ConsoleProgress().phase("Classifying", len(recordings := list_recordings())) as phase:
        for recording in recordings:
            performances.append(_perform(recording, runtimes))
            phase.advance()
    comparisons = _compare(performances, runtimes, [_find_file(bundles[scheme]) for scheme in BUNDLES])
    if as_json:
        print_json({"recordings": [_to_json(each) for each in performances], "models": list(map(asdict, comparisons))})
    else:
        _show(out, performances, comparisons, replay=out.is_terminal and not log.quiet)
    if picture is not None:
        save(picture, _draw_svg(performances, comparisons).encode())
    if wrong := [each.recording.label for each in performances if not each.is_right]:
        raise CheckFailedError(f"wrong answers for {', '.join(wrong)}; expected the labels of the recordings")


def _find_file(bundle: Path) -> Path:
    from edge_asc.engine import find_engine

    return find_engine(bundle)[0]


def _perform(recording: Recording, runtimes: Sequence[Runtime]) -> Performance:
    """Classify a recording as one clip, in all runtimes by turns, so that one run compares their times."""
    from edge_asc import audio
    from edge_asc.frontend import LogMel
    from edge_asc.streaming import StreamingClassifier

    contract = runtimes[0].contract
    front_end, rule = contract.front_end, DecisionRule(contract.decision)
    samples = audio.read(recording.path, front_end.sample_rate)
    classifiers = [StreamingClassifier(runtime, decision=rule) for runtime in runtimes]
    step = contract.signature("step").samples
    decisions: list[list[Decision]] = [[] for _ in runtimes]
    seconds: list[list[float]] = [[] for _ in runtimes]
    for start in range(0, len(samples) - step + 1, step):
        for each, made, spent in zip(classifiers, decisions, seconds, strict=True):
            begun = time.perf_counter()
            made += each.push(samples[start : start + step])
            spent.append(time.perf_counter() - begun)
    return Performance(
        recording,
        Strip(LogMel(front_end.raw)(samples), decisions[-1], contract.labels, front_end.hop / front_end.sample_rate),
        _find_events(recording, runtimes[-1]),
        tuple(tuple(decision.answer for decision in made) for made in decisions),
        tuple(map(tuple, seconds)),
    )


def _find_events(recording: Recording, runtime: Runtime) -> tuple[SoundEvent, ...]:
    from edge_asc.listening.folder import Recording as Source
    from edge_asc.listening.folder import Search

    contract = runtime.contract
    return Search(runtime, contract.live, contract.event_rules).run(Source(recording.path, recording.path.name)).events


def _compare(
    performances: Sequence[Performance], runtimes: Sequence[Runtime], files: Sequence[Path]
) -> list[Comparison]:
    reference = [answer for each in performances for answer in each.answers[0]]
    comparisons = []
    for index, (scheme, runtime, file) in enumerate(zip(BUNDLES, runtimes, files, strict=True)):
        answers = [answer for each in performances for answer in each.answers[index]]
        spent = [second for each in performances for second in each.seconds[index][WARM_UP:]]
        equal = sum(a == b for a, b in zip(answers, reference, strict=True))
        size, milliseconds = file.stat().st_size, 1e3 * median(spent)
        comparisons.append(Comparison(scheme, runtime.engine, size, milliseconds, equal, len(reference)))
    return comparisons


def _show(
    console: Console, performances: Sequence[Performance], comparisons: Sequence[Comparison], *, replay: bool
) -> None:
    for each in performances:
        console.print(_headline(each.recording))
        colour = console.color_system is not None
        if replay:
            _replay(each.strip, console, colour=colour)
        else:
            console.print(each.strip.draw(colour=colour))
        console.print(_verdict(each))
    console.print(_table(comparisons))


def _replay(strip: Strip, console: Console, *, colour: bool) -> None:
    begun = time.monotonic()
    with Live(console=console, auto_refresh=False) as view:
        for index, decision in enumerate(strip.decisions):
            time.sleep(max(0.0, begun + decision.time / SPEED - time.monotonic()))
            view.update(strip.until(index).draw(colour=colour), refresh=True)
        view.update(strip.draw(colour=colour), refresh=True)


def _headline(recording: Recording) -> Text:
    credit = f"by {recording.author}, {recording.licence}; not in the training data"
    return Text.assemble((recording.label.replace("_", " "), "bold"), ("  " + credit, "dim"))


def _verdict(each: Performance) -> Text:
    mark, style = ("✓", "green") if each.is_right else ("✗", "red")
    decision = each.decision
    text = Text.assemble((f"{mark} ", style), f"{decision.answer} ({decision.confidence:.0%})")
    if not each.events:
        text.append("; no event: its probability stays below the threshold")
    for event in each.events:
        assert event.end is not None
        text.append(f"; event {event.start:.1f}-{event.end:.1f} s, peak {event.peak:.0%}")
    return text.append("\n")


def _table(comparisons: Sequence[Comparison]) -> Table:
    table = Table(title="The same model as float and as int8, on this machine", title_justify="left", box=SIMPLE_HEAD)
    for name in ("model", "answers as float", "file", "a decision, one thread", "engine"):
        table.add_column(name, justify="left" if name in ("model", "engine") else "right")
    for each in comparisons:
        table.add_row(
            f"{DEFAULT} {each.scheme}",
            f"{each.equal} of {each.decisions}",
            f"{each.bytes / 1000:.0f} KB",
            f"{each.milliseconds:.2f} ms",
            each.engine,
        )
    return table


def _draw_svg(performances: Sequence[Performance], comparisons: Sequence[Comparison]) -> str:
    """Return what a terminal shows at the end, as SVG."""
    console = Console(file=io.StringIO(), record=True, width=WIDTH, color_system="truecolor", emoji=False)
    _show(console, performances, comparisons, replay=False)
    return FONT.sub("", console.export_svg(title="edge-asc demo"))


def _to_json(each: Performance) -> dict[str, JsonValue]:
    decision = each.decision
    return {
        "file": each.recording.path.name,
        "label": each.recording.label,
        "author": each.recording.author,
        "licence": each.recording.licence,
        "url": each.recording.url,
        "answer": decision.answer,
        "probability": round(decision.confidence, 4),
        "events": [event.to_json() for event in each.events],
    }
