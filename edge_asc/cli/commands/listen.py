"""`edge-asc listen`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from edge_asc.audio.pcm import RAW_FORMATS, PcmFormat
from edge_asc.audio.reader import RATES, STDIN
from edge_asc.cli.console import ConsoleProgress, Rule, log, quiet_option, threads_option
from edge_asc.cli.output import OutputPath
from edge_asc.detection.tables import FORMATS
from edge_asc.errors import AudioError, EdgeAscError
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.detection.rules import EventRules
    from edge_asc.frontend import Array
    from edge_asc.listening.folder import Search
    from edge_asc.listening.sink import Sink
    from edge_asc.rule import DecisionRule
    from edge_asc.runtime import Runtime


@dataclass(frozen=True)
class _Options:
    """The arguments and options of the command, by their names."""

    sources: tuple[Path, ...]
    model: str
    device: str | None
    raw: str | None
    rate: int | None
    channels: int | None
    decision: DecisionRule | None
    thresholds: Mapping[str, float]
    release: float | None
    minimum: float | None
    maximum: float | None
    ignored: tuple[str, ...]
    output: Path | None
    formats: tuple[str, ...]
    journal: Path | None
    threads: int
    as_json: bool

    def find_pipe(self) -> Path | None:
        """Return the pipe to read; None where the sources are files and folders, or there are none.

        Raises:
            click.UsageError: a pipe among several sources.
        """
        from edge_asc import audio

        pipes = [path for path in self.sources if str(path) == STDIN or (path.exists() and _is_stream(path))]
        if pipes and len(self.sources) > 1:
            raise click.UsageError(f"{pipes[0]} is a pipe; expected it alone, or several files and folders")
        return pipes[0] if pipes and audio.is_pipe(pipes[0]) else None

    def make_rules(self, runtime: Runtime) -> EventRules:
        """Return the contract's rules for events with the changes asked for.

        Raises:
            click.UsageError: a label that the model does not have.
        """
        from edge_asc.detection.rules import default_rules

        contract = runtime.contract
        unknown = None if contract.unknown is None else contract.unknown.label
        rules = contract.events or default_rules(contract.labels, unknown)
        thresholds = dict(self.thresholds)
        if strange := sorted({*thresholds, *self.ignored} - {"", *contract.labels}):
            raise click.UsageError(
                f"{contract.name} has no label {', '.join(strange)}; expected some of {', '.join(contract.labels)}"
            )
        everywhere = thresholds.pop("", None)
        if everywhere is not None:
            rules = replace(rules, threshold=everywhere, thresholds={})
        if thresholds or everywhere is not None:
            rules = replace(
                rules,
                thresholds={**rules.thresholds, **thresholds},
                false_alarms_per_day=None,
                measured_on="",
                ignored=tuple(label for label in rules.ignored if label not in thresholds),
            )
        return replace(
            rules,
            release=rules.release if self.release is None else self.release,
            minimum=rules.minimum if self.minimum is None else self.minimum,
            maximum=rules.maximum if self.maximum is None else self.maximum,
            ignored=tuple(dict.fromkeys((*rules.ignored, *self.ignored))),
        )


class Thresholds(click.ParamType):  # type: ignore[type-arg]
    """A probability for all labels, "0.6", or for one, "rain=0.6"."""

    name = "threshold"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return the label, "" for all, and the probability."""
        if isinstance(value, tuple):
            return value
        label, _, number = str(value).rpartition("=")
        try:
            threshold = float(number)
        except ValueError:
            threshold = 0.0
        if not 0.0 < threshold <= 1.0:
            self.fail(f"{value!r}: expected a probability such as 0.6, or LABEL=0.6; above 0, at most 1", param, ctx)
        return label, threshold


@click.command("listen", short_help="Report sound events: live, from a pipe, or in recordings.")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--model", default=DEFAULT, show_default=True, help="Artefact, bundle, checkpoint, or name of a pretrained model."
)
@click.option("--device", help="Microphone: a number, or a part of a name, of `python -m sounddevice`.")
@click.option("--format", "raw", type=click.Choice(RAW_FORMATS), help="A pipe holds samples without a header.")
@click.option("--rate", type=click.IntRange(*RATES), help="With --format: sample rate, Hz.")
@click.option("--channels", type=click.IntRange(1, 1024), help="With --format: number of channels [default: 1].")
@click.option(
    "--decision",
    type=Rule(),
    help="last, mean, forgetting:SECONDS or sticky:SECONDS[:WEIGHT] [default: the artefact's rule for streams].",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=Thresholds(),
    metavar="[LABEL=]P",
    help="Probability from which on a label is an event; may be repeated [default: the artefact's, or 0.5].",
)
@click.option("--release", type=click.FloatRange(0, 1, min_open=True), help="An event ends below this share of it.")
@click.option("--minimum", type=click.FloatRange(0, 86400), help="Shortest event, s.")
@click.option("--maximum", type=click.FloatRange(0, 86400), help="Longest event, s; 0 for no limit.")
@click.option("--ignore", "ignored", multiple=True, metavar="LABEL", help="Never report this label; may be repeated.")
@click.option(
    "--output",
    type=OutputPath(folder=True),
    help="Folder for the events of files: events.csv, and one file for each recording. A second run continues.",
)
@click.option(
    "--table",
    "formats",
    multiple=True,
    type=click.Choice(sorted(FORMATS)),
    help="With --output: also write this table for each recording; may be repeated.",
)
@click.option(
    "--journal",
    type=OutputPath(append=True),
    help="Append each event to this file, as JSON lines; its size is bounded.",
)
@threads_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line on stdout.")
def command(**given: Any) -> None:
    """Report when sounds start and end.

    Without SOURCES, the microphone is heard until Ctrl-C. SOURCES are a pipe (`-`, a FIFO), or any number of recordings
    and folders of recordings:

    \b
        edge-asc listen
        arecord -f S16_LE -r 16000 -t wav | edge-asc listen -
        edge-asc listen recordings/ --output events/ --table audacity

    An event starts where a label's probability reaches its threshold and ends where it falls well below it. Thresholds
    are those of the artefact where it was calibrated (`edge-asc evaluate --stream --calibrate`). The label `other` and
    silence are never reported.
    """
    from edge_asc.cli.listening import open_sinks, parse_raw
    from edge_asc.engine import open_runtime

    options = _Options(**{**given, "thresholds": dict(given["thresholds"])})
    pipe = options.find_pipe()
    pcm = parse_raw(options.raw, options.rate, options.channels)
    is_live = pipe is not None or not options.sources
    if is_live and (options.output or options.formats):
        raise click.UsageError("--output and --table belong to files and folders; for a live source use --journal")
    if not is_live and (pcm or options.device):
        raise click.UsageError("--format and --device belong to a live source")
    if options.formats and not options.output:
        raise click.UsageError("--table needs --output")
    runtime = open_runtime(options.model, threads=options.threads)
    if runtime.contract.form != "causal":
        raise click.UsageError(f"{runtime.contract.name} is a windowed model; events need a causal one")
    from edge_asc.listening.folder import Search

    search = Search(runtime, options.decision or runtime.contract.live, options.make_rules(runtime))
    with ExitStack() as stack:
        sinks = open_sinks(stack, options.journal, as_json=options.as_json, is_live=is_live)
        if is_live:
            _listen_live(search, pipe, pcm, options, sinks)
        else:
            _search_files(search, options, sinks)


def _is_stream(path: Path) -> bool:
    return not path.is_file() and not path.is_dir()


def _listen_live(
    search: Search, pipe: Path | None, pcm: PcmFormat | None, options: _Options, sinks: Sequence[Sink]
) -> None:
    """Follow a pipe to its end, or the microphone until Ctrl-C."""
    from edge_asc import audio
    from edge_asc.audio.bytestream import display
    from edge_asc.cli.listening import parse_device
    from edge_asc.listening.listener import Listener, now
    from edge_asc.listening.source import Gap, follow_microphone
    from edge_asc.streaming import StreamingClassifier

    rate = search.runtime.contract.front_end.sample_rate
    name = "microphone" if pipe is None else "standard input" if str(pipe) == STDIN else display(pipe)
    classifier = StreamingClassifier(search.runtime, decision=search.decision)
    listener = Listener(name, classifier, search.rules, sinks, clock=now)
    if pipe is None:
        blocks: Iterable[Array | Gap] = follow_microphone(rate, parse_device(options.device))
        log.print(Text(f"listening at {rate} Hz with {search.runtime.engine}; Ctrl-C stops it"))
    else:
        blocks = audio.stream(pipe, rate, raw=pcm)
    try:
        for block in blocks:
            if isinstance(block, Gap):
                listener.interrupt(block.seconds)
                for sink in sinks:
                    sink.note(name, block.reason)
            else:
                listener.push(block)
    except KeyboardInterrupt:
        pass  # the way to stop
    finally:
        listener.finish()


def _search_files(search: Search, options: _Options, sinks: Sequence[Sink]) -> None:
    """Search recordings one after another; with --output, skip those that have results.

    Raises:
        EdgeAscError: some recordings could not be read; the others were searched.
    """
    from edge_asc.listening.folder import ResultFolder, find_recordings
    from edge_asc.output import claim_folder

    recordings = find_recordings(options.sources)
    progress, failures, known = ConsoleProgress(), [], 0
    with ExitStack() as stack:
        folder = None
        if options.output is not None:
            stack.enter_context(claim_folder(options.output))
            folder = ResultFolder(options.output, search, options.formats)
        results = []
        with progress.phase("Searching recordings", len(recordings)) as phase:
            for recording in recordings:
                result = folder.load(recording) if folder else None
                known += result is not None
                try:
                    if result is None:
                        result = search.run(recording, sinks)
                        if folder:
                            folder.save(recording, result)
                    results.append(result)
                except AudioError as error:
                    failures.append(str(error))
                    progress.note(str(error))
                phase.advance(1)
        if folder:
            table = folder.save_table(results)
            count = sum(len(result.events) for result in results)
            progress.note(f"{count} events in {len(results)} recordings, {known} of them searched before: {table}")
    if failures:
        raise EdgeAscError(
            f"{len(failures)} of {len(recordings)} recordings could not be read, such as: {failures[0]}; "
            "the others were searched"
        )
