"""`edge-asc listen` as its users call it."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edge_asc import audio
from edge_asc.cli import cli
from edge_asc.errors import AudioError
from edge_asc.frontend import Array
from edge_asc.listening.source import follow_microphone
from systemd import unquote, verify
from test_light import GOLDEN, samples

MODEL = ("--model", str(GOLDEN / "fuse-int8.tflite"))
# The recording has no clear sound: at this threshold it has events.
STEPS = ("--decision", "last", "--event-decision", "last")
EVENTS = (*STEPS, "--threshold", "0.01")
PROGRAM = [sys.executable, "-m", "edge_asc", "listen", *MODEL]
RAW = ("--format", "s16le", "--rate", "16000")
PATIENCE = 60.0  # s, of a busy machine


def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [*PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=False, timeout=10 * PATIENCE, **options)


def invoke(*arguments: object) -> tuple[int, str, str]:
    """Run in this process; return exit code, stdout and message of the error."""
    result = CliRunner().invoke(cli, ["listen", *MODEL, *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return 2, result.stdout, str(result.exception)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio") / "recordings"
    for name in ("one.wav", "two.wav", "deep/three.wav"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        audio.write(folder / name, samples())
    return folder


def raw() -> bytes:
    return (np.clip(samples(), -1, 1) * 32767).astype("<i2").tobytes()


def events(text: str | bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def ended(changes: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    return sorted((e["label"], e["start"], e["end"]) for e in changes if e["event"] == "end")


@pytest.fixture(scope="module")
def expected(recordings: Path) -> list[tuple[str, float, float]]:
    code, output, _ = invoke(recordings / "one.wav", *EVENTS, "--json")
    assert code == 0
    found = ended(events(output))
    assert len(found) >= 2
    return found


def test_a_pipe_a_fifo_and_a_file_have_the_same_events(
    recordings: Path, tmp_path: Path, expected: list[tuple[str, float, float]]
) -> None:
    wav = (recordings / "one.wav").read_bytes()
    pipe = run("-", *EVENTS, "--json", input=wav)
    unframed = run("-", *RAW, *EVENTS, "--json", "--journal", tmp_path / "journal", input=raw())
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen([*PROGRAM, str(fifo), *EVENTS, "--json"], stdout=subprocess.PIPE) as process:
        fifo.write_bytes(wav)
        assert process.stdout is not None
        from_fifo = process.stdout.read()
    with (recordings / "one.wav").open("rb") as file:
        regular = run("-", *EVENTS, "--json", stdin=file)
    for text in (pipe.stdout, unframed.stdout, from_fifo, regular.stdout):
        assert ended(events(text)) == expected
    assert {e["source"] for e in events(pipe.stdout)} == {"standard input"}
    assert {e["source"] for e in events(from_fifo)} == {str(fifo)}
    assert all(e["time"] for e in events(pipe.stdout))
    assert not any(e["time"] for e in events(regular.stdout))
    assert (tmp_path / "journal").read_bytes() == unframed.stdout
    starts = [(e["label"], e["start"]) for e in events(pipe.stdout) if e["event"] == "start"]
    assert sorted(starts) == [(label, start) for label, start, _ in expected]


def test_lines_for_people(recordings: Path) -> None:
    live = run("-", *EVENTS, input=(recordings / "one.wav").read_bytes())
    assert live.returncode == 0, live.stderr
    lines = live.stdout.decode().splitlines()
    assert any(line.endswith("%)") and " ended after " in line for line in lines)
    assert any(line.endswith("%)") and " ended after " not in line for line in lines)
    code, output, _ = invoke(recordings / "one.wav", *EVENTS)
    assert code == 0
    assert all(line.startswith("one.wav  0:00:0") and " peak " in line for line in output.splitlines())


def test_a_folder_is_searched_once_and_resumes(recordings: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(recordings, *EVENTS, "--output", out, "--table", "audacity", "--table", "raven")
    assert first.returncode == 0, first.stderr
    assert b" in 3 recordings, 0 of them searched before: " in first.stderr
    with (out / "events.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {"one.wav", "two.wav", "deep/three.wav"}
    assert (out / "deep/three.wav.txt").read_text()
    assert (out / "one.wav.Table.1.selections.txt").exists()
    table = (out / "events.csv").read_bytes()
    again = run(recordings, *EVENTS, "--output", out)
    assert b" 3 of them searched before: " in again.stderr
    assert (out / "events.csv").read_bytes() == table
    (out / "two.wav.events.json").write_text("damaged")
    damaged = run(recordings, *EVENTS, "--output", out)
    assert b" 2 of them searched before: " in damaged.stderr
    assert (out / "events.csv").read_bytes() == table
    other = run(recordings, *STEPS, "--threshold", "0.02", "--output", out, "--table", "audacity")
    assert b" 0 of them searched before: " in other.stderr
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_unreadable_recordings_are_reported_at_the_end(recordings: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    (folder / "a-bad.wav").write_bytes(b"RIFF")
    (folder / "b-strange.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    audio.write(folder / "c-good.wav", samples())
    done = run(folder, tmp_path / "missing.wav", *EVENTS, "--output", tmp_path / "out")
    assert done.returncode == 2
    assert b"3 of 4 recordings could not be read, such as: " in done.stderr
    assert b"missing.wav: no such file" in done.stderr
    assert b"c-good.wav" in done.stdout
    assert b"c-good.wav" in (tmp_path / "out/events.csv").read_bytes()
    alone = run(tmp_path / "missing.wav")
    assert alone.returncode == 2


def test_the_journal_takes_the_events_of_files(recordings: Path, tmp_path: Path) -> None:
    code, output, _ = invoke(recordings / "one.wav", *EVENTS, "--json", "--journal", tmp_path / "journal")
    assert code == 0
    assert (tmp_path / "journal").read_text() == output


def test_thresholds_are_by_label(recordings: Path, expected: list[tuple[str, float, float]]) -> None:
    label = expected[0][0]
    recording = recordings / "one.wav"
    _, output, _ = invoke(recording, "--json", *STEPS, "--threshold", "1", "--threshold", f"{label}=0.01")
    assert {e["label"] for e in events(output)} == {label}
    _, output, _ = invoke(recording, "--json", *EVENTS, "--ignore", label)
    assert ended(events(output)) == [event for event in expected if event[0] != label]
    _, output, _ = invoke(recording, "--json", *EVENTS, "--minimum", "100")
    assert output == ""
    _, output, _ = invoke(recording, "--json", *EVENTS, "--minimum", "0.2", "--maximum", "0.6")
    assert all(end - start <= 0.6 for _, start, end in ended(events(output)))
    _, output, _ = invoke(recording, "--json", *STEPS, "--threshold", "0.000001")
    assert "other" not in {e["label"] for e in events(output)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--threshold", "0"], "expected a probability such as 0.6"),
        (["--threshold", "nan"], "expected a probability"),
        (["--threshold", "=0.5"], "expected a probability"),
        (["--threshold", "rain"], "expected a probability"),
        (["x.wav", "--threshold", "snow=0.5"], "has no label snow; expected some of airplane"),
        (["x.wav", "--threshold", "other=0.5"], "other is never reported"),
        (["x.wav", "--ignore", "snow"], "has no label snow"),
        (["x.wav", "--minimum", "2", "--maximum", "1"], "maximum is 1 s; expected more than the minimum"),
        (["x.wav", "--decision", "median"], "decision rule is 'median'"),
        (["x.wav", "--table", "raven"], "--table needs --output"),
        (["--output", "out"], "--output and --table belong to files"),
        (["x.wav", "--device", "1"], "belong to a live source"),
        (["x.wav", *RAW], "belong to a live source"),
        (["x.wav", "--mqtt", "mqtt://h"], "belong to a live source"),
        (["x.wav", "--keep-clips", "clips"], "belong to a live source"),
        (["-", "--rate", "8000"], "--rate and --channels belong to --format"),
        (["-", "--format", "s16le"], "--format needs --rate"),
        (["-", "x.wav"], "- is a pipe; expected it alone"),
        (["--mqtt-ca", str(GOLDEN / "make.py")], "need --mqtt"),
        (["--mqtt", "mqtt://h", "--mqtt-ca", str(GOLDEN / "make.py")], "belongs to an mqtts"),
        (["--mqtt", "mqtts://h", "--mqtt-password-file", str(GOLDEN / "make.py")], "needs a user in the URL"),
        (["--mqtt", "http://h"], "MQTT URL: its scheme is 'http'"),
        (["--mqtt", "mqtt://u:hunter2@h"], "it has a password"),
        (["--http-token-file", str(GOLDEN / "make.py")], "needs --http"),
        (["--http", "8080"], "expected ADDRESS:PORT"),
        (["--keep-clips-size", "0"], "expected bytes such as 500M"),
        (["--keep-clips-size", "5X"], "expected bytes such as 500M"),
        (["--dry-run"], "need --install-service"),
        (["x.wav", "--install-service"], "belong to a live source"),
        (["-", "--install-service"], "a service has no standard input"),
    ],
)
def test_options_of_no_sense_are_refused(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(audio, "is_pipe", lambda path: str(path) == "-")
    monkeypatch.setattr(audio, "check_path", lambda path: None)
    code, _, error = invoke(*arguments)
    assert code == 2
    assert message in " ".join(error.split())
    assert "hunter2" not in error
    assert list(tmp_path.iterdir()) == []


def microphone(*blocks: Array | BaseException) -> Any:
    def play(rate: int, device: object = None) -> Iterator[Array | Any]:
        for block in blocks:
            if isinstance(block, BaseException):
                raise block
            yield block

    return play


@pytest.fixture
def play(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Replace the microphone by one that plays blocks each time it is opened."""

    def replace(*lives: Any) -> None:
        remaining = list(lives)
        monkeypatch.setattr(audio, "check_microphone", lambda: None)
        defaults = follow_microphone.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "open_device", lambda rate, device=None: remaining.pop(0)(rate, device))
        monkeypatch.setitem(defaults, "sleep", lambda _: None)
        monkeypatch.setitem(defaults, "refresh", lambda: None)

    return replace


def test_ctrl_c_is_the_way_to_stop_and_ends_events(play: Any, expected: list[tuple[str, float, float]]) -> None:
    play(microphone(samples(), KeyboardInterrupt()))
    code, output, _ = invoke(*EVENTS, "--json", "-q")
    assert code == 0
    assert ended(events(output)) == expected


def test_a_lost_microphone_comes_back_and_no_event_is_lost(
    play: Any, tmp_path: Path, expected: list[tuple[str, float, float]]
) -> None:
    lost = AudioError("microphone: the device stopped")
    play(microphone(samples(), lost), microphone(lost), microphone(samples(), KeyboardInterrupt()))
    code, _, _ = invoke(*EVENTS, "--json", "-q", "--journal", tmp_path / "journal")
    assert code == 0
    lines = events((tmp_path / "journal").read_text())
    assert [line["text"] for line in lines if line["event"] == "note"] == [str(lost), "the device is back"]
    found = ended([line for line in lines if line["event"] != "note"])
    assert [label for label, _, _ in found] == sorted(2 * [label for label, _, _ in expected])
    length = len(samples()) / 16_000
    again = [(label, start, end) for label, start, end in found if start >= length]
    gap = again[0][1] - next(start for label, start, _ in expected if label == again[0][0])
    assert [(label, round(start - gap, 2), round(end - gap, 2)) for label, start, end in again] == [
        (label, round(start, 2), round(end, 2)) for label, start, end in expected
    ]


def test_a_microphone_that_is_not_there_is_an_error(play: Any) -> None:
    play(microphone(AudioError("microphone: No input; expected an input")))
    code, _, error = invoke()
    assert (code, "No input" in error) == (2, True)


@pytest.mark.parametrize("command", [PROGRAM, [*PROGRAM[:3], "classify", *MODEL, "--microphone"]])
@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("raise ModuleNotFoundError('no', name='sounddevice')", "sounddevice is not installed; install it with: pip"),
        ("raise OSError('PortAudio library not found')", "PortAudio library not found; expected the PortAudio library"),
    ],
)
def test_nothing_listens_without_sounddevice(command: list[str], module: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "sounddevice.py").write_text(module)
    done = subprocess.run(
        [*command, "--device", "1"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(tmp_path)}
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "listening" not in done.stderr


def test_a_reader_that_leaves_ends_it_and_the_journal_is_whole(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    command = shlex.join([*PROGRAM, "-", *RAW, *EVENTS, "--json", "--journal", str(journal)])
    data = tmp_path / "data"
    data.write_bytes(raw() * 20)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; cat {data} | {command} | head -1"], capture_output=True, check=False
    )
    assert len(events(done.stdout)) == 1
    assert done.stderr.replace(b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n", b"") == b""
    lines = events(journal.read_text())
    starts, ends = ([e for e in lines if e["event"] == kind] for kind in ("start", "end"))
    assert len(starts) == len(ends) >= 1


def test_sigterm_ends_events_and_exits_with_its_number(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    command = [*PROGRAM, "-", *RAW, *EVENTS, "--journal", str(journal)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(raw())
        process.stdin.flush()
        process.stdout.readline()  # an event has started
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=PATIENCE)
    assert process.returncode == 143
    lines = events(journal.read_text())
    assert lines[-1]["event"] == "end"
    assert sum(e["event"] == "start" for e in lines) == sum(e["event"] == "end" for e in lines)


def test_a_service_says_that_it_is_ready_and_alive(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "60000000"}
        environment.pop("WATCHDOG_PID", None)
        assert run("-", *RAW, input=raw(), env=environment).returncode == 0
        manager.setblocking(False)
        messages = []
        while select.select([manager], [], [], 0)[0]:
            messages.append(manager.recv(100))
    assert messages == [b"READY=1", b"WATCHDOG=1", b"STOPPING=1"]


def in_terminal(command: list[str], data: bytes, **options: Any) -> str:
    """Run a command whose stderr, and stdout if it is not given, is a terminal; return what it shows."""
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    environment.pop("NO_COLOR", None)
    streams: dict[str, Any] = {"stdout": follower, "stderr": follower} | options
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, **streams) as process:
        os.close(follower)
        assert process.stdin is not None
        process.stdin.write(data)
        process.stdin.close()
        shown, deadline = b"", time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                part = os.read(leader, 65536)
            except OSError:  # its end, on Linux
                break
            if not part:
                break
            shown += part
    os.close(leader)
    assert process.returncode == 0
    return shown.decode()


def test_a_terminal_shows_the_level_below_the_lines(recordings: Path) -> None:
    shown = in_terminal([*PROGRAM, "-", *EVENTS], (recordings / "one.wav").read_bytes())
    assert "▮" in shown
    assert "dBFS" in shown
    assert " ended after " in shown
    # The last thing on the terminal is a line of its own: the meter is gone, and the cursor is back.
    assert shown.rstrip().endswith("\x1b[?25h") or "\x1b[?25h" in shown


def test_events_of_files_go_to_stdout_also_beside_a_bar(recordings: Path, tmp_path: Path) -> None:
    with (tmp_path / "lines").open("wb") as file:
        shown = in_terminal([*PROGRAM, str(recordings), *EVENTS], b"", stdout=file)
    lines = (tmp_path / "lines").read_text().splitlines()
    assert len(lines) >= 6
    assert all(".wav  0:00:0" in line for line in lines)
    assert "Searching recordings" in shown
    assert ".wav  0:00:0" not in shown


def test_events_of_files_stand_above_the_bar(recordings: Path) -> None:
    shown = in_terminal([*PROGRAM, str(recordings), *EVENTS], b"")
    lines = [line for line in re.split(r"[\r\n]+", shown) if ".wav  0:00:0" in line]
    assert len(lines) >= 6
    assert not [line for line in lines if "Searching" in line or "0:00:00one" in line]


def test_a_token_is_printed_where_it_is_new_alone(recordings: Path, tmp_path: Path) -> None:
    wav, environment = (recordings / "one.wav").read_bytes(), {k: v for k, v in os.environ.items() if "TOKEN" not in k}
    made = run("-q", "-", "--http", "0.0.0.0:0", input=wav, env=environment)
    assert made.returncode == 0
    assert re.search(rb"page: http://[^ ]+:\d+/\?token=[\w-]{32}\n", made.stderr)
    (tmp_path / "token").write_text("0123456789abcdef\n")
    given = run("-", "--http", "0.0.0.0:0", "--http-token-file", tmp_path / "token", input=wav, env=environment)
    assert b"page: http://" in given.stderr
    assert b"0123456789abcdef" not in given.stderr


@pytest.mark.parametrize("scope", [[], ["--user"]])
def test_a_service_is_printed_and_systemd_accepts_it(scope: list[str], tmp_path: Path) -> None:
    folder = tmp_path / 'a "b" 100% $c'
    folder.mkdir()
    for name in ("password", "token"):
        (folder / name).write_text("0123456789abcdef\n")
    clips = "/var/lib/edge-asc-listen/clips" if not scope else str(folder / "clips")
    arguments = [
        *("--mqtt", "mqtts://ear@broker.local/a%20b", "--mqtt-password-file", folder / "password"),
        *("--http", "0.0.0.0:8080", "--http-token-file", folder / "token", "--device", "USB $mic"),
        *(
            "--threshold",
            "0.6",
            "--threshold",
            "rain=0.7",
            "--ignore",
            "wind",
            "--minimum",
            "1",
            "--decision",
            "sticky:5",
            "--event-decision",
            "forgetting:2",
        ),
        *("--keep-clips", clips, "--keep-clips-size", "1G", "--json"),
    ]
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("EDGE_ASC")}
    done = run("--install-service", "--dry-run", *scope, *arguments, env=environment)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "edge-asc-listen.service"
    path.write_bytes(done.stdout)
    checked = verify(path)
    assert (checked.returncode, checked.stderr) == (0, "")
    text = done.stdout.decode()
    (line,) = [line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart=")]
    words = unquote(line)
    assert words[1:5] == ["-P", "-m", "edge_asc", "listen"]
    assert words[words.index("--device") + 1] == "USB $mic"
    assert words[words.index("--mqtt") + 1] == "mqtts://ear@broker.local/a%20b"
    assert words[words.index("--keep-clips-size") + 1] == "1000000000"
    if scope:
        assert words[words.index("--mqtt-password-file") + 1] == str(folder / "password")
        assert "DynamicUser" not in text
    else:
        assert words[words.index("--mqtt-password-file") + 1] == "%d/mqtt-password"
        assert words[words.index("--journal") + 1] == "%S/edge-asc-listen/events.jsonl"
        assert words[words.index("--keep-clips") + 1] == "%S/edge-asc-listen/clips"
        assert "DynamicUser=yes" in text
    # The same command line, with the values that systemd puts in, is accepted by the command.
    for specifier, value in (("%d", str(folder)), ("%S", str(tmp_path))):
        words = [word.replace(specifier, value) for word in words]
    (folder / "mqtt-password").write_text("x\n")
    (folder / "http-token").write_text("0123456789abcdef\n")
    again = subprocess.run([*words, "--install-service", "--user", "--dry-run"], capture_output=True, check=False)
    assert again.returncode == 0, again.stderr


def test_a_service_is_installed_once_and_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    code, output, error = invoke("--install-service", "--user")
    assert code == 0, error
    unit = tmp_path / "systemd/user/edge-asc-listen.service"
    assert "WatchdogSec=" in unit.read_text()
    assert "systemctl --user enable --now edge-asc-listen" in output
    assert invoke("--install-service", "--user")[0] == 0
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    code, _, error = invoke("--install-service", "--user")
    assert (code, "was not written by edge-asc" in error) == (2, True)
    assert unit.read_text() == "[Service]\nExecStart=/bin/true\n"


def test_a_service_cannot_read_this_shell_nor_write_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGE_ASC_MQTT_PASSWORD", "x")
    for arguments, message in (
        (["--mqtt", "mqtt://u@h"], "give --mqtt-password-file"),
        (["--http", "0.0.0.0:80"], "give --http-token-file"),
        (["--journal", str(tmp_path / "journal")], "cannot write there; expected a path below /var/lib/edge-asc"),
        (["--keep-clips", str(tmp_path / "clips")], "cannot write there"),
    ):
        code, _, error = invoke("--install-service", "--dry-run", *arguments)
        assert (code, message in " ".join(error.split())) == (2, True), error
