"""Live listening from the command line: its options, and where its events go."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge_asc import audio
from edge_asc.audio.pcm import PcmFormat, raw_format
from edge_asc.audio.reader import STDIN
from edge_asc.cli.console import log
from edge_asc.cli.lines import JsonLines, Lines
from edge_asc.contract import StreamContract
from edge_asc.detection.rules import BACKGROUND, EventRules
from edge_asc.listening.sink import Sink

if TYPE_CHECKING:
    from edge_asc.listening.broker import Broker
    from edge_asc.listening.server import PageAddress
    from edge_asc.rule import DecisionRule

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Size(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, such as "500M" or "2G"."""

    name = "size"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,15})([KMGT]?)B?", str(value).upper(), re.ASCII)
        if match is None or not int(match[1]):
            self.fail(f"{value!r}: expected bytes such as 500M or 2G", param, ctx)
        return int(match[1]) * UNITS[match[2]]


class Thresholds(click.ParamType):  # type: ignore[type-arg]
    """A probability for all labels, "0.6", or for one, "rain=0.6"."""

    name = "threshold"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """Return the label, "" for all, and the probability."""
        if isinstance(value, tuple):
            return value
        label, separator, number = str(value).rpartition("=")
        try:
            threshold = float(number)
        except ValueError:
            threshold = 0.0
        if not 0.0 < threshold <= 1.0 or (separator and not label):
            self.fail(f"{value!r}: expected a probability such as 0.6, or LABEL=0.6; above 0, at most 1", param, ctx)
        return label, threshold


@dataclass(frozen=True)
class ListenOptions:
    """The arguments and options of `edge-asc listen`, by their names."""

    sources: tuple[Path, ...]
    model: str
    device: str | None
    raw: str | None
    rate: int | None
    channels: int | None
    decision: DecisionRule | None
    event_decision: DecisionRule | None
    thresholds: Mapping[str, float]
    release: float | None
    minimum: float | None
    maximum: float | None
    ignored: tuple[str, ...]
    output: Path | None
    formats: tuple[str, ...]
    journal: Path | None
    mqtt: str | None
    mqtt_password_file: Path | None
    mqtt_ca: Path | None
    http: str | None
    http_token_file: Path | None
    clips: Path | None
    clips_size: int
    clips_seconds: float
    install_service: bool
    as_user: bool
    dry_run: bool
    threads: int
    as_json: bool

    def find_pipe(self) -> Path | None:
        """Return the pipe to read; None where the sources are files and folders, or there are none.

        Raises:
            click.UsageError: a pipe among several sources.
        """
        pipes = [path for path in self.sources if str(path) == STDIN or (path.exists() and _is_stream(path))]
        if pipes and len(self.sources) > 1:
            raise click.UsageError(f"{pipes[0]} is a pipe; expected it alone, or several files and folders")
        return pipes[0] if pipes and audio.is_pipe(pipes[0]) else None

    def check(self, *, is_live: bool) -> None:
        """Check that the options go together.

        Raises:
            click.UsageError: they do not.
        """
        raw = self.raw or self.device
        live = self.mqtt or self.http or self.clips or self.install_service
        if is_live and (self.output or self.formats):
            raise click.UsageError("--output and --table belong to files and folders; for a live source use --journal")
        if not is_live and raw:
            raise click.UsageError("--format and --device belong to a live source")
        if not is_live and live:
            raise click.UsageError("--mqtt, --http, --keep-clips and --install-service belong to a live source")
        if self.formats and not self.output:
            raise click.UsageError("--table needs --output")
        if (self.mqtt_password_file or self.mqtt_ca) and not self.mqtt:
            raise click.UsageError("--mqtt-password-file and --mqtt-ca need --mqtt")
        if self.http_token_file and not self.http:
            raise click.UsageError("--http-token-file needs --http")
        if (self.as_user or self.dry_run) and not self.install_service:
            raise click.UsageError("--user and --dry-run need --install-service")

    def parse_raw(self) -> PcmFormat | None:
        """Return how samples without a header stand in the source, None for a source with a header.

        Raises:
            click.UsageError: options that belong together are not all there.
        """
        return parse_raw(self.raw, self.rate, self.channels)

    def make_broker(self) -> Broker | None:
        """Return the MQTT broker, with its password.

        Raises:
            EdgeAscError: a wrong URL, or a password file that cannot be read.
            click.UsageError: a password without a user.
        """
        from edge_asc.listening.broker import Broker, read_password

        if self.mqtt is None:
            return None
        broker = Broker.parse(self.mqtt)
        if self.mqtt_ca and not broker.is_encrypted:
            raise click.UsageError("--mqtt-ca belongs to an mqtts:// URL")
        if self.mqtt_password_file and not broker.user:
            raise click.UsageError("--mqtt-password-file needs a user in the URL: mqtts://USER@HOST")
        password = read_password(self.mqtt_password_file) if broker.user else None
        return replace(broker, password=password, authorities=self.mqtt_ca)

    def make_page_address(self) -> PageAddress | None:
        """Return where the page is served.

        Raises:
            EdgeAscError: a wrong address, or a token that cannot be read or is too short.
        """
        from edge_asc.listening.broker import read_secret
        from edge_asc.listening.server import TOKEN_VARIABLE, PageAddress

        if self.http is None:
            return None
        return PageAddress.parse(self.http, read_secret(self.http_token_file, os.environ.get(TOKEN_VARIABLE), "token"))

    def make_rules(self, contract: StreamContract) -> EventRules:
        """Return the contract's rules for events with the changes asked for.

        Raises:
            click.UsageError: a label that the model does not have, or that is never reported.
            ContractError: numbers that contradict each other.
        """
        unknown = None if contract.unknown is None else contract.unknown.label
        rules = contract.event_rules
        thresholds = dict(self.thresholds)
        if strange := sorted({*thresholds, *self.ignored} - {"", *contract.labels}):
            raise click.UsageError(
                f"{contract.name} has no label {', '.join(strange)}; expected some of {', '.join(contract.labels)}"
            )
        if never := sorted(label for label in thresholds if label == unknown or label.lower() in BACKGROUND):
            raise click.UsageError(f"{', '.join(never)} is never reported, so that it has no threshold")
        everywhere = thresholds.pop("", None)
        if everywhere is not None:
            rules = replace(rules, threshold=everywhere, thresholds={})
        # What false alarms were measured for are the calibrated thresholds with all that belongs to them.
        if self.thresholds or any(
            given is not None for given in (self.release, self.minimum, self.maximum, self.event_decision)
        ):
            rules = replace(rules, false_alarms_per_day=None, measured_on="")
        wanted = tuple(label for label in rules.ignored if label not in thresholds)
        return replace(
            rules,
            thresholds={**rules.thresholds, **thresholds},
            release=rules.release if self.release is None else self.release,
            minimum=rules.minimum if self.minimum is None else self.minimum,
            maximum=rules.maximum if self.maximum is None else self.maximum,
            ignored=tuple(dict.fromkeys((*wanted, *self.ignored))),
            decision=self.event_decision or rules.decision,
        )

    def open_sinks(self, stack: ExitStack, contract: StreamContract, rules: EventRules, *, is_live: bool) -> list[Sink]:
        """Return the sinks that the options ask for, the journal first; `stack` closes them.

        Raises:
            EdgeAscError: one cannot be opened.
        """
        from edge_asc.listening.journal import Journal

        broker, address = self.make_broker(), self.make_page_address()
        printer: Sink = JsonLines() if self.as_json else Lines(is_live=is_live)
        stack.callback(printer.close)
        labels = [label for label in contract.labels if label not in rules.ignored]
        sinks: list[Sink] = []

        def add(sink: Sink) -> None:
            stack.callback(sink.close)
            sinks.append(sink)

        if self.journal is not None:
            add(Journal(self.journal))
        if self.clips is not None:
            from edge_asc.listening.clips import Clips

            rate, report = contract.front_end.sample_rate, _reporter(printer, "clips")
            add(Clips(self.clips, self.clips_seconds, self.clips_size, rate, rules.minimum, report))
        if broker is not None:
            from edge_asc.listening.mqtt import MqttSink

            if broker.exposes_password:
                printer.note("MQTT", "the password crosses the network in plain text; mqtts:// encrypts it")
            add(MqttSink(broker, contract, labels, _reporter(printer, "MQTT")))
        if address is not None:
            from edge_asc.listening.board import Board
            from edge_asc.listening.server import PageServer

            server = PageServer(address, Board(contract.name, labels))
            add(server)
            if address.is_new:  # printed in any case, and once: nobody else knows the token
                click.echo(f"page: {server.url}?token={address.token}", err=True)
            else:
                log.print(f"page: {server.url}")
        return [*sinks, printer]


def _reporter(printer: Sink, name: str) -> Callable[[str], None]:
    return lambda text: printer.note(name, text)


def _is_stream(path: Path) -> bool:
    return not path.is_file() and not path.is_dir()


def parse_raw(raw: str | None, rate: int | None, channels: int | None) -> PcmFormat | None:
    """Return how samples without a header stand in a recording, None for a recording with a header.

    Raises:
        click.UsageError: options that belong together are not all there.
    """
    if raw is None:
        if rate is not None or channels is not None:
            raise click.UsageError("--rate and --channels belong to --format; other recordings have a header")
        return None
    if rate is None:
        raise click.UsageError("--format needs --rate: samples without a header do not say their rate")
    return raw_format(raw, rate, channels or 1)


def parse_device(device: str | None) -> int | str | None:
    """Return the number of a microphone, or a part of its name."""
    return int(device) if device is not None and device.isdecimal() else device
