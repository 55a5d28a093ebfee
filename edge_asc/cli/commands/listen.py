"""`edge-asc listen`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge_asc.audio.pcm import RAW_FORMATS
from edge_asc.audio.reader import RATES, STDIN
from edge_asc.cli.console import ConsoleProgress, Rule, log, quiet_option, threads_option
from edge_asc.cli.listening import ListenOptions, Size, Thresholds, parse_device
from edge_asc.cli.model import ModelName
from edge_asc.cli.output import OutputPath
from edge_asc.detection.tables import FORMATS
from edge_asc.errors import AudioError, EdgeAscError, MissingExtraError
from edge_asc.text import count_noun
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.frontend import Array
    from edge_asc.listening.folder import Search
    from edge_asc.listening.sink import Sink
    from edge_asc.listening.source import Gap

INPUT_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("listen", short_help="Report sound events: live, from a pipe, or in recordings.")
@click.argument("sources", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--model",
    type=ModelName(),
    default=DEFAULT,
    show_default=True,
    help="Artefact, bundle, checkpoint, or name of a pretrained model.",
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
    "--event-decision",
    type=Rule(),
    help="The same for the probabilities that events are found in [default: the artefact's, or forgetting:1.5].",
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
@click.option(
    "--mqtt",
    metavar="URL",
    help="Publish to a broker, mqtt[s]://[USER@]HOST[:PORT][/PREFIX], as Home Assistant finds it. The password never "
    "stands in the URL, which other users can read: it comes from EDGE_ASC_MQTT_PASSWORD or a file.",
)
@click.option("--mqtt-password-file", type=INPUT_FILE, help="File with the broker's password in its first line.")
@click.option("--mqtt-ca", type=INPUT_FILE, help="Certificate authorities (PEM) to trust instead of the system's.")
@click.option(
    "--http",
    metavar="ADDRESS:PORT",
    help="Serve a page with the events of the last hour, such as 127.0.0.1:8080. An address beyond this machine needs "
    "a token: of EDGE_ASC_HTTP_TOKEN, of a file, or one that is made and printed.",
)
@click.option("--http-token-file", type=INPUT_FILE, help="File with the page's token in its first line.")
@click.option(
    "--keep-clips",
    "clips",
    type=OutputPath(folder=True),
    help="Keep the audio around each event in this folder, as FLAC. Without it, no audio is kept.",
)
@click.option(
    "--keep-clips-size",
    "clips_size",
    type=Size(),
    default="500M",
    show_default=True,
    help="Limit of all clips together; then the oldest are removed.",
)
@click.option(
    "--keep-clips-seconds",
    "clips_seconds",
    type=click.FloatRange(0, 60),
    default=5.0,
    show_default=True,
    help="Seconds before and after the event.",
)
@click.option("--install-service", is_flag=True, help="Write a systemd unit that runs with these options.")
@click.option("--user", "as_user", is_flag=True, help="With --install-service: for your user, without root.")
@click.option("--dry-run", is_flag=True, help="With --install-service: print the unit alone.")
@threads_option
@quiet_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line on stdout.")
def command(**given: Any) -> None:
    """Report when sounds start and end.

    Without SOURCES, the command listens to the microphone until Ctrl-C. SOURCES are a pipe (`-`, a FIFO), or any number
    of recordings and folders of recordings:

    \b
        edge-asc listen
        arecord -f S16_LE -r 16000 -t wav | edge-asc listen -
        edge-asc listen recordings/ --output events/ --table audacity

    An event starts where a label's probability reaches its threshold and ends where it falls well below it. Thresholds
    are those of the artefact where it was calibrated (`edge-asc evaluate --stream --calibrate`). The label `other` and
    silence are never reported.
    """
    options = ListenOptions(**{**given, "thresholds": dict(given["thresholds"])})
    pipe = options.find_pipe()
    is_live = pipe is not None or not options.sources
    options.check(is_live=is_live)
    options.parse_raw()
    if options.install_service:
        from edge_asc.cli.service import install_service

        install_service(options)
        return
    _listen(options, pipe, is_live=is_live)


def _listen(options: ListenOptions, pipe: Path | None, *, is_live: bool) -> None:
    from edge_asc import audio
    from edge_asc.engine import find_engine, open_runtime
    from edge_asc.files import identity
    from edge_asc.listening.folder import Search

    if len(options.sources) == 1 and not options.sources[0].is_dir():
        audio.check_path(options.sources[0])
    runtime = open_runtime(options.model, threads=options.threads)
    contract = runtime.contract
    if contract.form != "causal":
        raise click.UsageError(f"{contract.name} is a windowed model; events need a causal one")
    digest = identity(find_engine(Path(options.model))[0])[0] if options.output else ""
    search = Search(runtime, options.decision or contract.live, options.make_rules(contract), digest)
    with ExitStack() as stack:
        sinks = options.open_sinks(stack, contract, search.rules, is_live=is_live)
        if is_live:
            _listen_live(search, pipe, options, sinks)
        else:
            _search_files(search, options, sinks)


def _listen_live(search: Search, pipe: Path | None, options: ListenOptions, sinks: Sequence[Sink]) -> None:
    """Follow a pipe to its end, or the microphone until Ctrl-C."""
    from edge_asc import audio
    from edge_asc.audio.bytestream import display
    from edge_asc.listening.listener import Listener, now
    from edge_asc.listening.notify import Notifier
    from edge_asc.listening.source import Gap, follow_microphone
    from edge_asc.streaming import StreamingClassifier

    rate = search.runtime.contract.front_end.sample_rate
    name = "microphone" if pipe is None else "standard input" if str(pipe) == STDIN else display(pipe)
    classifier = StreamingClassifier(search.runtime, decision=search.decision)
    listener = Listener(name, classifier, search.rules, sinks, clock=now)
    if pipe is None:
        audio.check_microphone()
        blocks: Iterable[Array | Gap] = follow_microphone(rate, parse_device(options.device))
        log.print(f"listening at {rate} Hz with {search.runtime.engine}; Ctrl-C stops it")
    else:
        blocks = audio.stream(pipe, rate, raw=options.parse_raw())
    manager = Notifier()
    manager.say_ready()
    try:
        for block in blocks:
            if isinstance(block, Gap):
                listener.interrupt(block.seconds)
                listener.note(block.reason)
            else:
                listener.push(block)
            manager.keep_alive()
    except KeyboardInterrupt:
        pass  # the way to stop
    finally:
        manager.say_stopping()
        listener.finish()


def _search_files(search: Search, options: ListenOptions, sinks: Sequence[Sink]) -> None:
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
                except (AudioError, MissingExtraError) as error:
                    failures.append(str(error))
                    progress.note(str(error))
                phase.advance(1)
        if folder:
            table = folder.save_table(results)
            count = sum(len(result.events) for result in results)
            found = f"{count_noun(count, 'event')} in {count_noun(len(results), 'recording')}"
            progress.note(f"{found}, {known} of them searched before: {table}")
    if failures:
        if len(recordings) == 1:
            raise EdgeAscError(failures[0])
        raise EdgeAscError(
            f"{len(failures)} of {len(recordings)} recordings could not be read, such as: {failures[0]}; "
            "the others were searched"
        )
