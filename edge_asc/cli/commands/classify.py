"""`edge-asc classify`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json, threads_option
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.frontend import Array
    from edge_asc.streaming import Decision, StreamingClassifier, WindowedClassifier

BLOCK = 4096


@click.command("classify", short_help="Classify a recording, or the microphone live.")
@click.argument("recording", required=False, type=click.Path(path_type=Path))
@click.option("--model", default=DEFAULT, show_default=True, help="Artefact, bundle, checkpoint, or zoo model.")
@click.option("--microphone", is_flag=True, help="Listen live; Ctrl-C ends it.")
@click.option("--device", help="Microphone: number or part of its name in `python -m sounddevice`.")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after so much audio.")
@click.option("--decision", type=click.Choice(["last", "mean"]), help="[default: the artefact's]")
@click.option(
    "--window", type=click.IntRange(1, 10), help="Window length, s, of a windowed model [default: its first]."
)
@click.option(
    "--carry",
    type=click.Choice(["final", "aligned", "none"]),
    help="GRU state that a window starts from: that after the window before, that of where this one begins, or zeros "
    "[default: final].",
)
@threads_option
@json_option
def command(
    recording: Path | None,
    model: str,
    microphone: bool,
    device: str | None,
    seconds: float | None,
    decision: Any,
    window: int | None,
    carry: Any,
    threads: int,
    as_json: bool,
) -> None:
    """Print a line for each decision on RECORDING (every 256 ms; 250 ms for a windowed model), and a summary.

    Any file that libsndfile reads is taken; it is mixed down and resampled to the model's rate.
    """
    from edge_asc import audio
    from edge_asc.engine import open_runtime

    if (recording is None) != microphone:
        raise click.UsageError("give a recording, or --microphone")
    runtime = open_runtime(model, threads=threads)
    classifier = _classifier(runtime, decision, window, carry)
    rate = runtime.contract.front_end.sample_rate
    limit = None if seconds is None else round(seconds * rate)
    if recording is None:
        log.print(f"listening at {rate} Hz with {runtime.engine}; Ctrl-C ends it")
        number = int(device) if device is not None and device.isdecimal() else device
        _listen(_limited(audio.microphone(rate, device=number), limit), classifier, as_json=as_json)
        return
    samples = audio.read(recording, rate)[:limit]
    begun = time.perf_counter()
    decisions = [d for i in range(0, len(samples), BLOCK) for d in classifier.push(samples[i : i + BLOCK])]
    spent = time.perf_counter() - begun
    if as_json:
        print_json(_json(decisions, classifier, runtime.engine, str(recording)))
    else:
        for found in decisions:
            click.echo(_line(found))
        if decisions:
            click.echo(_summary(decisions[-1], Counter(found.label for found in decisions)))
    heard = len(samples) / rate
    if decisions:
        ratio = heard / max(spent, 1e-9)
        log.print(f"{heard:.2f} s of audio in {spent:.2f} s ({ratio:.0f} times real time), {runtime.engine}")
    else:
        log.print(f"no decision: {heard:.3f} s of audio is less than the first one needs")


def _classifier(
    runtime: Any, decision: Any, window: int | None, carry: Any
) -> StreamingClassifier | WindowedClassifier:
    from edge_asc.streaming import StreamingClassifier, WindowedClassifier

    if runtime.contract.form == "causal":
        if window is not None or carry is not None:
            raise click.UsageError("--window and --carry belong to a windowed model; this one is causal")
        return StreamingClassifier(runtime, decision=decision)
    if decision is not None:
        raise click.UsageError("--decision belongs to a causal model; each window of this one is decided by itself")
    return WindowedClassifier(runtime, window or runtime.contract.windows[0], carry=carry or "final")


def _limited(blocks: Iterable[Array], limit: int | None) -> Iterator[Array]:
    heard = 0
    for block in blocks:
        yield block if limit is None else block[: limit - heard]
        heard += len(block)
        if limit is not None and heard >= limit:
            return


def _listen(blocks: Iterable[Array], classifier: Any, *, as_json: bool) -> None:
    """Show decisions as they come: a live table in a terminal, lines elsewhere, a JSON object a line for machines."""
    counts: Counter[str] = Counter()
    last = None
    live = out.is_terminal and not as_json
    try:
        with Live(console=out, transient=True, auto_refresh=False) if live else nullcontext() as view:
            for block in blocks:
                for last in classifier.push(block):
                    counts[last.label] += 1
                    if view is not None:
                        view.update(_bars(last, classifier.labels), refresh=True)
                    else:
                        click.echo(json.dumps(_decision(last)) if as_json else _line(last))
    except KeyboardInterrupt:
        pass  # the way to stop listening
    if last is not None and not as_json:
        click.echo(_summary(last, counts))


def _line(decision: Decision) -> str:
    return f"{decision.time:8.3f} s  {decision.label:<20} {decision.probability:6.1%}"


def _summary(last: Decision, counts: Counter[str]) -> str:
    shares = ", ".join(f"{label} {count / counts.total():.0%}" for label, count in counts.most_common(3))
    return f"summary: {last.label} ({last.probability:.1%}) after {last.time:.2f} s; decisions: {shares}"


def _decision(decision: Decision) -> dict[str, Any]:
    probabilities = [round(float(p), 6) for p in decision.probabilities]
    return {"time": round(decision.time, 6), "label": decision.label, "probabilities": probabilities}


def _bars(decision: Decision, labels: tuple[str, ...]) -> Table:
    table = Table(title=f"{decision.time:.1f} s", show_header=False, box=None)
    order = sorted(range(len(labels)), key=lambda i: -decision.probabilities[i])
    for i in order[:5]:
        share = float(decision.probabilities[i])
        table.add_row(labels[i], f"{share:6.1%}", "█" * round(30 * share))
    return table


def _json(decisions: list[Decision], classifier: Any, engine: str, source: str) -> dict[str, Any]:
    contract = classifier.contract
    return {
        "kind": "classification",
        "schema_version": 1,
        "source": source,
        "model": contract.name,
        "engine": engine,
        "scheme": contract.scheme,
        "labels": list(classifier.labels),
        "decisions": [_decision(found) for found in decisions],
    }
