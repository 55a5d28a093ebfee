"""`edge-asc classify`."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edge_asc.audio.pcm import RAW_FORMATS
from edge_asc.audio.reader import RATES
from edge_asc.cli.console import Rule, echo, json_option, log, out, quiet_option, threads_option
from edge_asc.cli.listening import parse_device, parse_raw
from edge_asc.cli.model import ModelName
from edge_asc.errors import AudioError
from edge_asc.rule import DecisionRule
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.frontend import Array
    from edge_asc.jsonobject import JsonValue
    from edge_asc.runtime import Runtime
    from edge_asc.streaming import Carry, Decision, StreamingClassifier, WindowedClassifier

# 1: first version.
SCHEMA_VERSION = 1
BLOCK = 4096
LONGEST_DRAWN = 1800.0  # s
PROBABILITIES = 3  # rows of a picture
CLIP = 10.1  # s: longer files are streams; a clip of 10 s may be a few samples longer


@click.command("classify", short_help="Classify a recording, a pipe, or the microphone live.")
@click.argument("recording", required=False, type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=ModelName(),
    default=DEFAULT,
    show_default=True,
    help="Artefact, bundle, checkpoint, or name of a pretrained model.",
)
@click.option("--microphone", is_flag=True, help="Classify live audio; Ctrl-C stops it.")
@click.option("--device", help="Microphone: a number, or a part of a name, of `python -m sounddevice`.")
@click.option("--format", "raw", type=click.Choice(RAW_FORMATS), help="RECORDING holds samples without a header.")
@click.option("--rate", type=click.IntRange(*RATES), help="With --format: sample rate, Hz.")
@click.option("--channels", type=click.IntRange(1, 1024), help="With --format: number of channels [default: 1].")
@click.option("--seconds", type=click.FloatRange(0, min_open=True), help="Stop after this much audio, s.")
@click.option(
    "--decision",
    type=Rule(),
    help="last, mean, forgetting:SECONDS or sticky:SECONDS[:WEIGHT] [default: the artefact's rule for clips of up to "
    "10 s, and its rule for streams].",
)
@click.option(
    "--window", type=click.IntRange(1, 10), help="Window length, s, of a windowed model [default: its shortest]."
)
@click.option(
    "--carry",
    type=click.Choice(["final", "aligned", "none"]),
    help="GRU state that a window starts from: the state after the window before, the state at the point where this "
    "window begins, or zeros [default: final].",
)
@click.option(
    "--draw", "drawn", is_flag=True, help="Of a file: draw spectrogram, answers and probabilities in place of lines."
)
@threads_option
@quiet_option
@json_option
def command(
    recording: Path | None,
    model: str,
    microphone: bool,
    device: str | None,
    raw: str | None,
    rate: int | None,
    channels: int | None,
    seconds: float | None,
    decision: DecisionRule | None,
    window: int | None,
    carry: Carry | None,
    drawn: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Print one line for each decision on RECORDING (every 256 ms; 250 ms for a windowed model), and a summary.

    RECORDING is any file that libsndfile reads; it is mixed down and resampled to the model's rate. Decisions appear
    while it is read. It may be a pipe, such as a FIFO, or `-` for the standard input, with a WAV of any length:

    \b
        arecord -f S16_LE -r 16000 -t wav | edge-asc classify -

    With --json, a file gives one document; a pipe and the microphone give one JSON object a line.

    A model trained with the label `other` can say that it does not know a sound: a decision is `other` where the
    probability of that label reaches the threshold in the model's contract, which stands for a stated rate of false
    alarms. Elsewhere the decision is the most probable of the other labels.

    A file of up to 10 s is one clip: its decisions are based on all audio since the start. On longer files, pipes and
    the microphone a decision forgets old audio, so that a new sound shows within seconds.
    """
    from edge_asc import audio
    from edge_asc.engine import open_runtime

    _check(recording, microphone=microphone, drawn=drawn, as_json=as_json)
    pcm = parse_raw(raw, rate, channels)
    runtime = open_runtime(model, threads=threads)
    target = runtime.contract.front_end.sample_rate
    limit = None if seconds is None else round(seconds * target)
    if recording is None:
        classifier = _make_classifier(runtime, decision, window, carry)
        log.print(Text(f"listening at {target} Hz with {runtime.engine}; Ctrl-C stops it"))
        _classify_live(
            _limit(audio.microphone(target, device=parse_device(device)), limit), classifier, as_json=as_json
        )
        return
    blocks = _limit(audio.stream(recording, target, raw=pcm), limit)
    if audio.is_pipe(recording):
        _classify_live(blocks, _make_classifier(runtime, decision, window, carry), as_json=as_json)
    else:
        if decision is None and runtime.contract.form == "causal":
            blocks, is_clip = _peek(blocks, round(CLIP * target))
            decision = DecisionRule(runtime.contract.decision) if is_clip else runtime.contract.live
        classifier = _make_classifier(runtime, decision, window, carry)
        if drawn:
            _draw_file(recording, blocks, classifier, runtime)
        else:
            _classify_file(recording, blocks, classifier, runtime, as_json=as_json)


def _check(recording: Path | None, *, microphone: bool, drawn: bool, as_json: bool) -> None:
    from edge_asc import audio

    if (recording is None) != microphone:
        raise click.UsageError("give a recording, or --microphone")
    if drawn and (recording is None or audio.is_pipe(recording) or as_json):
        raise click.UsageError("--draw belongs to a file, without --json")
    if recording is None:
        audio.check_microphone()
    else:
        audio.check_path(recording)


def _classify_file(
    recording: Path,
    blocks: Iterable[Array],
    classifier: StreamingClassifier | WindowedClassifier,
    runtime: Runtime,
    *,
    as_json: bool,
) -> None:
    """Print decisions on a file while it is read: lines and a summary, or one JSON document."""
    counts: Counter[str] = Counter()
    last, length, begun = None, 0, time.perf_counter()
    if as_json:
        click.echo(_document_head(recording, runtime), nl=False)
    for block in blocks:
        length += len(block)
        for i in range(0, len(block), BLOCK):
            for each in classifier.push(block[i : i + BLOCK]):
                if as_json:
                    separator = "," if last else ""
                    click.echo(f"{separator}\n  {json.dumps(_decision_json(each), allow_nan=False)}", nl=False)
                else:
                    echo(_line(each))
                counts[each.answer] += 1
                last = each
    if as_json:
        click.echo("\n ]\n}")
    elif last:
        echo(_summary(last, counts))
    spent, seconds = time.perf_counter() - begun, length / runtime.contract.front_end.sample_rate
    if last:
        ratio = seconds / max(spent, 1e-9)
        log.print(Text(f"{seconds:.2f} s of audio in {spent:.2f} s ({ratio:.0f} times real time), {runtime.engine}"))
    else:
        log.print(Text(f"no decision: {seconds:.3f} s of audio is too short for the first one"))


def _draw_file(
    recording: Path, blocks: Iterable[Array], classifier: StreamingClassifier | WindowedClassifier, runtime: Runtime
) -> None:
    """Print one picture of a file, and a summary."""
    from edge_asc.audio.bytestream import display
    from edge_asc.cli.strip import Strip
    from edge_asc.frontend import LogMel

    front_end = runtime.contract.front_end
    log_mel, frames, decisions = LogMel(front_end.raw), [], []
    length = 0
    for block in blocks:
        frames.append(log_mel.push(block))
        decisions += classifier.push(block)
        length += len(block)
        if length > LONGEST_DRAWN * front_end.sample_rate:
            raise AudioError(
                f"longer than the {LONGEST_DRAWN:g} s that --draw takes; use --seconds, or leave out --draw"
            )
    if not decisions:
        raise AudioError(f"{display(recording)}: too short for a decision")
    strip = Strip(np.concatenate(frames), decisions, classifier.labels, front_end.hop / front_end.sample_rate)
    out.print(strip.draw(PROBABILITIES, colour=out.color_system is not None))
    echo(_summary(decisions[-1], Counter(decision.answer for decision in decisions)))


def _document_head(recording: Path, runtime: Runtime) -> str:
    """Return the document that `--json` prints for a recording, up to the first decision.

    Its fields are kind, schema_version, source, model, engine, scheme, labels and decisions. `edge-asc report` reads
    it. Decisions are printed as they are made, so that a document that ends early is that of a failed reading.
    """
    from edge_asc.audio.bytestream import display

    contract = runtime.contract
    head: JsonValue = {
        "kind": "classification",
        "schema_version": SCHEMA_VERSION,
        "source": display(recording),
        "model": contract.name,
        "engine": runtime.engine,
        "scheme": contract.scheme,
        "labels": list(contract.labels),
    }
    return json.dumps(head, indent=1, allow_nan=False).removesuffix("\n}") + ',\n "decisions": ['


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


def _peek(blocks: Iterable[Array], samples: int) -> tuple[Iterator[Array], bool]:
    """Return all blocks, and whether they have no more than so many samples together."""
    blocks, ahead, count = iter(blocks), [], 0
    for block in blocks:
        ahead.append(block)
        count += len(block)
        if count > samples:
            break
    return chain(ahead, blocks), count <= samples


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
                        echo(json.dumps(_decision_json(last)) if as_json else _line(last))
    except KeyboardInterrupt:
        pass  # the way to stop
    if last is not None and not as_json:
        echo(_summary(last, counts))


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
