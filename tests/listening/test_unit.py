"""The systemd unit: quoting, what it may do, and whose it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asc.errors import EdgeAscError, OutputError
from edge_asc.listening import unit as module
from edge_asc.listening.unit import CREDENTIALS, STATE_FOLDER, Argument, Unit, check_access, install, unit_path
from systemd import unquote, verify

COMMAND = [Argument(sys.executable), Argument("-c"), Argument("print('a b', \"$HOME 100%\\\\\")")]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_an_argument_is_read_back(text: str) -> None:
    assert unquote(Argument(text).quote()) == [text]


def test_specifiers_stand_as_they_are() -> None:
    assert Argument("/events.jsonl", STATE_FOLDER).quote() == "%S/edge-asc-listen/events.jsonl"
    assert Argument("/a b%", CREDENTIALS).quote() == '"%d/a b%%"'
    assert Argument("/opt/$x").quote(is_program=True) == '"/opt/$x"'
    assert Argument("").quote() == '""'


@pytest.mark.parametrize("text", ["a\0b", "a\udcff"])
def test_what_cannot_stand_in_a_unit_is_refused(text: str) -> None:
    with pytest.raises(EdgeAscError, match="cannot stand in a systemd unit"):
        Argument(text).quote()


@pytest.mark.parametrize("is_user", [False, True])
@pytest.mark.parametrize("has_network", [False, True])
@pytest.mark.parametrize("has_end", [False, True])
def test_systemd_accepts_the_unit(is_user: bool, has_network: bool, has_end: bool, tmp_path: Path) -> None:
    secret = [] if is_user else [("mqtt-password", tmp_path / "a b%")]
    unit = Unit(COMMAND, is_user, has_network, has_end, secret, can_back_off=False)
    path = tmp_path / "edge-asc-listen.service"
    assert install(path, unit.format())
    done = verify(path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


@pytest.mark.parametrize("name", ["a\nb", "a ", "a\\", "a\udcff"])
def test_a_secret_of_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(EdgeAscError, match="cannot stand in a systemd unit"):
        Unit(COMMAND, False, True, False, [("x", Path("/") / name)]).format()


def test_systemd_notices_what_is_wrong(tmp_path: Path) -> None:
    """The check above can fail."""
    path = tmp_path / "edge-asc-listen.service"
    path.write_text(Unit(COMMAND, False, False, False).format().replace("Type=notify", "Type=notfy"))
    assert "notfy" in verify(path).stderr


def test_a_service_without_network_has_none() -> None:
    private, network = (Unit(COMMAND, False, has_network, False).format() for has_network in (False, True))
    assert "PrivateNetwork=yes" in private
    assert "RestrictAddressFamilies=AF_UNIX\n" in private
    assert "PrivateNetwork" not in network
    assert "After=network-online.target" in network


def test_a_microphone_has_a_watchdog_and_a_pipe_is_opened_again() -> None:
    microphone, pipe = (Unit(COMMAND, False, False, has_end).format() for has_end in (False, True))
    assert "WatchdogSec=60" in microphone
    assert "Restart=on-failure" in microphone
    assert "WatchdogSec" not in pipe
    assert "Restart=always" in pipe


def test_a_failing_service_waits_longer_each_time_where_systemd_can() -> None:
    assert "RestartMaxDelaySec=" in Unit(COMMAND, False, False, False, can_back_off=True).format()
    assert "RestartSec=30\n" in Unit(COMMAND, False, False, False, can_back_off=False).format()


def test_a_unit_of_somebody_else_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "system/edge-asc-listen.service"
    text = Unit(COMMAND, False, False, False).format()
    assert install(path, text)
    assert not install(path, text)
    assert install(path, Unit(COMMAND, False, True, False).format())
    edited = path.read_text().replace("RestartSec", "#RestartSec")
    for other in (edited, "[Service]\nExecStart=/bin/true\n", text[:50]):
        path.write_text(other)
        with pytest.raises(OutputError, match="was not written by edge-asc, or was edited since"):
            install(path, text)
        assert path.read_text() == other


def test_the_unit_is_where_its_manager_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert unit_path(is_user=False) == Path("/etc/systemd/system/edge-asc-listen.service")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert unit_path(is_user=True) == tmp_path / "systemd/user/edge-asc-listen.service"
    monkeypatch.setenv("XDG_CONFIG_HOME", "")
    assert unit_path(is_user=True) == Path.home() / ".config/systemd/user/edge-asc-listen.service"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX")
def test_folders_that_are_closed_to_the_service_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "closed/model"
    path.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    with pytest.raises(EdgeAscError, match=r"is closed to the service's own user.*--user"):
        check_access([path])
    check_access([Path("/usr/bin/env")])


def test_the_version_of_systemd_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(text: str) -> None:
        done = subprocess.CompletedProcess[str]([], 0, text, "")
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)

    for text, expected in (("systemd 252 (x)", False), ("systemd 257", True), ("", False)):
        answer(text)
        assert module.can_back_off() == expected
