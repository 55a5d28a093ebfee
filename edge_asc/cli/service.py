"""`edge-asc listen --install-service`: the same options as a systemd unit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

import edge_asc
from edge_asc.audio.reader import STDIN
from edge_asc.cli.console import echo, log
from edge_asc.cli.listening import ListenOptions
from edge_asc.errors import EdgeAscError, OutputError
from edge_asc.listening import unit
from edge_asc.listening.unit import CREDENTIALS, NAME, STATE_FOLDER, Argument, Unit

STATE_PATH = Path("/var/lib") / unit.STATE
JOURNAL = "events.jsonl"
PASSWORD, TOKEN = "mqtt-password", "http-token"


def install_service(options: ListenOptions) -> None:
    """Write the unit, or print it with --dry-run, and say what to run next.

    Raises:
        click.UsageError: options that a service cannot have.
        EdgeAscError: the unit cannot be written, or the service could not run.
    """
    service = make_unit(options)
    text = service.format()
    if options.dry_run:
        echo(text, newline=False)
        return
    path = unit.unit_path(is_user=options.as_user)
    if not options.as_user:
        unit.check_access(list(_paths_to_read(options)))
    try:
        changed = unit.install(path, text)
    except OutputError as error:
        if isinstance(error.__cause__, PermissionError):
            raise EdgeAscError(
                f"{path}: only root may write there; run the command with sudo, or add --user for a service of yours"
            ) from error
        raise
    log.print(f"{path}: {'written' if changed else 'is up to date'}")
    log.print("next:")
    scope, sudo = (" --user", "") if options.as_user else ("", "sudo ")
    steps = [f"{sudo}systemctl{scope} daemon-reload", f"{sudo}systemctl{scope} enable --now {NAME}"]
    if options.as_user:
        steps.append("loginctl enable-linger    # to run it while you are not logged in")
    steps.append(f"{sudo}journalctl{scope} --follow --unit {NAME}")
    for step in steps:
        echo(f"  {step}")


def make_unit(options: ListenOptions) -> Unit:
    """Return the service that runs with some options.

    Raises:
        click.UsageError: options that a service cannot have.
        EdgeAscError: a URL or an address that is wrong.
    """
    source = options.sources[0] if options.sources else None
    if source is not None and str(source) == STDIN:
        raise click.UsageError("a service has no standard input; give the path of a FIFO, or leave it out: microphone")
    broker, address = options.make_broker(), options.make_page_address()
    if broker is not None and broker.password is not None and options.mqtt_password_file is None:
        raise click.UsageError("a service does not see this shell's variables; give --mqtt-password-file")
    if address is not None and address.token is not None and options.http_token_file is None:
        raise click.UsageError("the page of a service needs a token that stays; give --http-token-file")
    words = [Argument(str(Path(sys.executable).absolute())), *map(Argument, ("-P", "-m", "edge_asc", "listen"))]
    words += _arguments(options)
    if source is not None:
        words += [Argument("--"), Argument(str(source.absolute()))]
    files = [(PASSWORD, options.mqtt_password_file), (TOKEN, options.http_token_file)]
    return Unit(
        command=words,
        is_user=options.as_user,
        has_network=broker is not None or address is not None,
        has_end=source is not None,
        credentials=() if options.as_user else [(name, path.absolute()) for name, path in files if path is not None],
        can_back_off=unit.can_back_off(),
    )


def _arguments(options: ListenOptions) -> Iterator[Argument]:
    """Yield the options as a service is to see them: absolute paths, secrets from its credentials."""
    model = Path(options.model)
    texts: list[tuple[str, object]] = [
        ("--model", model.absolute() if model.exists() else options.model),
        ("--device", options.device),
        ("--format", options.raw),
        ("--rate", options.rate),
        ("--channels", options.channels),
        ("--decision", options.decision),
        ("--event-decision", options.event_decision),
        *(("--threshold", f"{label}={p}" if label else p) for label, p in options.thresholds.items()),
        ("--release", options.release),
        ("--minimum", options.minimum),
        ("--maximum", options.maximum),
        *(("--ignore", label) for label in options.ignored),
        ("--mqtt", options.mqtt),
        ("--mqtt-ca", options.mqtt_ca and options.mqtt_ca.absolute()),
        ("--http", options.http),
        ("--threads", options.threads),
    ]
    for name, value in texts:
        if value is not None:
            yield from (Argument(name), Argument(str(value)))
    yield from (Argument("--journal"), _state_path(options.journal or STATE_PATH / JOURNAL, options))
    if options.clips is not None:
        yield from (Argument("--keep-clips"), _state_path(options.clips, options))
        yield from (Argument("--keep-clips-size"), Argument(str(options.clips_size)))
        yield from (Argument("--keep-clips-seconds"), Argument(f"{options.clips_seconds:g}"))
    for name, key, path in (
        ("--mqtt-password-file", PASSWORD, options.mqtt_password_file),
        ("--http-token-file", TOKEN, options.http_token_file),
    ):
        if path is not None:
            yield Argument(name)
            yield Argument(str(path.absolute())) if options.as_user else Argument(f"/{key}", CREDENTIALS)
    if options.as_json:
        yield Argument("--json")


def _state_path(path: Path, options: ListenOptions) -> Argument:
    """Return a path that the service may write: its state folder, or any of a user's own.

    Raises:
        click.UsageError: another path of a system's service, whose user owns nothing else.
    """
    path = path.absolute()
    if path.is_relative_to(STATE_PATH):
        return Argument(f"/{path.relative_to(STATE_PATH)}", STATE_FOLDER)
    if not options.as_user:
        raise click.UsageError(
            f"{path}: the service's own user cannot write there; expected a path below {STATE_PATH}, or --user"
        )
    return Argument(str(path))


def _paths_to_read(options: ListenOptions) -> Iterator[Path]:
    yield Path(sys.executable)
    yield Path(edge_asc.__file__)
    if Path(options.model).exists():
        yield Path(options.model)
    if options.mqtt_ca is not None:
        yield options.mqtt_ca
