"""`edge-asc classify`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_asc.cli.console import json_option, log, out, print_json, quiet_option, threads_option
from edge_asc.contract import DECISION_RULES, DecisionRule
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.frontend import Array
    from edge_asc.jsonobject import JsonValue
    from edge_asc.runtime import Runtime
    from edge_asc.streaming import Carry, Decision, StreamingClassifier, WindowedClassifier

# 1: first version.
SCHEMA_VERSION = 1
BLOCK = 4096


@click.command("classify", short_help="Classify a recording, or the microphone live.")
@click.argument("recording", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model", default=DEFAULT, show_default=True, help="Artefact, bundle, checkpoint, or name of a pretrained model."
)
@click.option("--microphone", is_flag=True, help="Classify live audio; Ctrl-C stops it.")
@click.option("--device", help="Microphone: a number, or a part of a name, of `python -m sounddevice`.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after this much audio, s.")
@click.option("--decision", type=click.Choice(DECISION_RULES), help="Decision rule [default: the artefact's]")
@click.option(
    "--window", type=click.IntRange(1, 10), help="Window length, s, of a windowed model [default: its shortest]."
)
@click.option(
    "--carry",
    type=click.Choice(["final", "aligned", "none"]),
    help="GRU state that a window starts from: the state after the window before, the state at the point where this "
    "window begins, or zeros [default: final].",
)
@threads_option
@quiet_option
@json_option
def command(
    recording: Path | None,
    model: str,
    microphone: bool,
    device: str | None,
    seconds: float | None,
    decision: DecisionRule | None,
    window: int | None,
    carry: Carry | None,
    threads: int,
    as_json: bool,
) -> None:
    """Print one line for each decision on RECORDING (every 256 ms; 250 ms for a windowed model), and a summary.

    RECORDING is any file that libsndfile reads; it is mixed down and resampled to the model's rate.

    A model trained with the label `other` can say that it does not know a sound: a decision is `other` where the
    probability of that label reaches the threshold in the model's contract, which stands for a stated rate of false
    alarms. Elsewhere the decision is the most probable of the other labels.
    """
    from edge_asc import audio
    from edge_asc.engine import open_runtime

    if (recording is None) != microphone:
        raise click.UsageError("give a recording, or --microphone")
    runtime = open_runtime(model, threads=threads)
    classifier = _make_classifier(runtime, decision, window, carry)
    rate = runtime.contract.front_end.sample_rate
    limit = None if seconds is None else round(seconds * rate)
    if recording is None:
        log.print(Text(f"listening at {rate} Hz with {runtime.engine}; Ctrl-C stops it"))
        number = int(device) if device is not None and device.isdecimal() else device
        _classify_live(_limit(audio.microphone(rate, device=number), limit), classifier, as_json=as_json)
        return
    samples = audio.read(recording, rate)[:limit]
    begun = time.perf_counter()
    decisions = [d for i in range(0, len(samples), BLOCK) for d in classifier.push(samples[i : i + BLOCK])]
    spent = time.perf_counter() - begun
    if as_json:
        print_json(Classification(str(recording), runtime, tuple(decisions)).to_json())
    else:
        for each in decisions:
            click.echo(_line(each))
        if decisions:
            click.echo(_summary(decisions[-1], Counter(each.answer for each in decisions)))
    length = len(samples) / rate
    if decisions:
        ratio = length / max(spent, 1e-9)
        log.print(Text(f"{length:.2f} s of audio in {spent:.2f} s ({ratio:.0f} times real time), {runtime.engine}"))
    else:
        log.print(Text(f"no decision: {length:.3f} s of audio is too short for the first one"))


@dataclass(frozen=True)
class Classification:
    """The document that `--json` prints for a recording.

    Attributes:
        source: path of the recording.
        runtime: the model in its engine.
        decisions: all decisions, in order.
    """

    source: str
    runtime: Runtime
    decisions: tuple[Decision, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object, which `edge-asc report` reads."""
        contract = self.runtime.contract
        return {
            "kind": "classification",
            "schema_version": SCHEMA_VERSION,
            "source": self.source,
            "model": contract.name,
            "engine": self.runtime.engine,
            "scheme": contract.scheme,
            "labels": list(contract.labels),
            "decisions": [_decision_json(each) for each in self.decisions],
        }


def _make_classifier(
    runtime: Runtime, decision: DecisionRule | None, window: int | None, carry: Carry | None
) -> StreamingClassifier | WindowedClassifier:
    from edge_asc.streaming import StreamingClassifier, WindowedClassifier

    if runtime.contract.form == "causal":
        if window is not None or carry is not None:
            raise click.UsageError("--window and --carry belong to a windowed model; this one is causal")
        return StreamingClassifier(runtime, decision=decision)
    if decision is not None:
        raise click.UsageError("--decision belongs to a causal model; a windowed one decides each window by itself")
    return WindowedClassifier(runtime, window or runtime.contract.windows[0], carry=carry or "final")


def _limit(blocks: Iterable[Array], limit: int | None) -> Iterator[Array]:
    """Yield blocks up to a number of samples in all."""
    count = 0
    for block in blocks:
        yield block if limit is None else block[: limit - count]
        count += len(block)
        if limit is not None and count >= limit:
            return


def _classify_live(
    blocks: Iterable[Array], classifier: StreamingClassifier | WindowedClassifier, *, as_json: bool
) -> None:
    """Show decisions as they are made: a live table in a terminal, lines elsewhere, one JSON object a line."""
    counts: Counter[str] = Counter()
    last = None
    live = out.is_terminal and not as_json
    try:
        with Live(console=out, transient=True, auto_refresh=False) if live else nullcontext() as view:
            for block in blocks:
                for last in classifier.push(block):
                    counts[last.answer] += 1
                    if view is not None:
                        view.update(_bars(last, classifier.labels), refresh=True)
                    else:
                        click.echo(json.dumps(_decision_json(last)) if as_json else _line(last))
    except KeyboardInterrupt:
        pass  # the way to stop
    if last is not None and not as_json:
        click.echo(_summary(last, counts))


def _line(decision: Decision) -> str:
    return f"{decision.time:8.3f} s  {decision.answer:<20} {decision.confidence:6.1%}"


def _summary(last: Decision, counts: Counter[str]) -> str:
    shares = ", ".join(f"{label} {count / counts.total():.0%}" for label, count in counts.most_common(3))
    return f"summary: {last.answer} ({last.confidence:.1%}) after {last.time:.2f} s; decisions: {shares}"


def _decision_json(decision: Decision) -> dict[str, JsonValue]:
    probabilities = [round(float(p), 6) for p in decision.probabilities]
    return {
        "time": round(decision.time, 6),
        "label": decision.answer,
        "unknown": decision.unknown,
        "probabilities": probabilities,
    }


def _bars(decision: Decision, labels: tuple[str, ...]) -> Table:
    table = Table(title=Text(f"{decision.time:.1f} s: {decision.answer}"), show_header=False, box=None)
    order = sorted(range(len(labels)), key=lambda i: -decision.probabilities[i])
    for i in order[:5]:
        share = float(decision.probabilities[i])
        table.add_row(Text(labels[i]), f"{share:6.1%}", "█" * round(30 * share))
    return table
