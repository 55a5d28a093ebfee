"""The URL of a broker, and secrets that are on no command line."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edge_asc.errors import EdgeAscError
from edge_asc.listening.broker import PASSWORD_VARIABLE, Broker, read_password
from edge_asc.text import make_slug


def test_a_url_has_parts_with_defaults() -> None:
    broker = Broker.parse("mqtts://ear%40home@broker.local:1234/home/kitchen%20ear/")
    assert (broker.host, broker.port, broker.is_encrypted) == ("broker.local", 1234, True)
    assert (broker.user, broker.prefix, broker.password) == ("ear@home", "home/kitchen ear", None)
    assert broker.name == "broker.local:1234"
    plain = Broker.parse("mqtt://[::1]")
    assert (plain.host, plain.port, plain.is_encrypted, plain.user) == ("::1", 1883, False, "")
    assert plain.prefix == f"edge-asc/{make_slug(socket.gethostname())}"
    assert Broker.parse("mqtts://h").port == 8883


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "its scheme is ''; expected mqtt"),
        ("broker.local:1883", "its scheme is"),
        ("http://h", "its scheme is 'http'"),
        ("mqtt://", "no valid host"),
        ("mqtt:///prefix", "no valid host"),
        ("mqtt://a b", "no valid host"),
        ("mqtt://h\n", "no valid host"),
        ("mqtt://" + "a" * 64, "is no host"),
        ("mqtt://[::1", "Invalid IPv6 URL"),
        ("mqtt://h:0", "port of 0"),
        ("mqtt://h:99999", "[Pp]ort"),
        ("mqtt://h:x", "[Pp]ort"),
        ("mqtt://h/p?x=1", "a query"),
        ("mqtt://h/p#x", "a fragment"),
        ("mqtt://h/a/+/b", "the prefix is"),
        ("mqtt://h/a%23", "the prefix is"),
        ("mqtt://h/%24SYS/x", "the prefix is"),
        ("mqtt://h/a//b", "the prefix is"),
        ("mqtt://h/%00", "the prefix is"),
        ("mqtt://h/" + "a" * 201, "the prefix is"),
    ],
)
def test_a_wrong_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(EdgeAscError, match=f"^MQTT URL: .*{message}"):
        Broker.parse(url)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(EdgeAscError, match=PASSWORD_VARIABLE) as caught:
        Broker.parse("mqtt://u:secret99@h")
    assert "secret99" not in str(caught.value)


def test_a_password_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("from file\r\nmore\n")
    assert read_password(path, {PASSWORD_VARIABLE: "x"}) == "from file"
    assert read_password(None, {PASSWORD_VARIABLE: "from environment"}) == "from environment"
    assert read_password(None, {PASSWORD_VARIABLE: ""}) is None
    assert read_password(None, {}) is None


@pytest.mark.parametrize("content", [b"", b"\nx", b"\xff"])
def test_a_file_without_a_password_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(content)
    with pytest.raises(EdgeAscError, match=r"expected a .*password"):
        read_password(tmp_path / "password", {})
    with pytest.raises(EdgeAscError, match="No such file"):
        read_password(tmp_path / "none", {})


def test_a_password_is_in_no_text() -> None:
    broker = Broker("h", 1883, False, "u", "p", password="secret99")
    assert "secret99" not in repr(broker)
    assert broker.exposes_password
    assert not Broker("localhost", 1883, False, "u", "p", password="x").exposes_password
    assert not Broker("h", 8883, True, "u", "p", password="x").exposes_password


def test_authorities_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("ca.pem", "none.pem"):
        with pytest.raises(EdgeAscError, match=f"{name}: .*expected certificates in a PEM file"):
            Broker("h", 8883, True, "", "p", authorities=tmp_path / name).make_tls()


@pytest.mark.parametrize("text", ["a b", "A", "ä", "a/b", "a__b", "", "+", "x" * 90])
def test_names_of_topics_differ_where_labels_do(text: str) -> None:
    slug = make_slug(text)
    assert slug.replace("_", "").isalnum()
    assert slug.isascii()
    assert slug == slug.lower()
    assert len(slug) <= 90
    assert len({make_slug(each) for each in (text, text + "!", text + " ", "other")}) == 4
    assert make_slug("church_bells") == "church_bells"
