"""The page: who gets what, and what a client cannot do."""

from __future__ import annotations

import hmac
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.resources import files

import pytest

from edge_asc.detection.event import SoundEvent
from edge_asc.errors import EdgeAscError
from edge_asc.listening import server as module
from edge_asc.listening.board import WAITING, Board
from edge_asc.listening.server import COOKIE, PageAddress, PageServer
from edge_asc.listening.sink import Change
from listeners import make_listener, steps

TOKEN = "0123456789abcdefXYZ"
TIMEOUT = 30  # s, of a busy machine


@contextmanager
def serve(token: str | None = None) -> Iterator[tuple[PageServer, int]]:
    server = PageServer(PageAddress("127.0.0.1", 0, token), Board("fake", ["rain"]))
    try:
        yield server, server._server.server_port
    finally:
        server.close()


def get(port: int, path: str = "/", method: str = "GET", **headers: str) -> tuple[int, dict[str, str], str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()


def send(port: int, data: bytes) -> bytes:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)) as connection:
        connection.sendall(data)
        answer = b""
        try:
            while part := connection.recv(65536):
                answer += part
        except ConnectionResetError:
            pass
        return answer


def test_the_page_and_its_files_are_served() -> None:
    with serve() as (server, port):
        assert server.url == f"http://127.0.0.1:{port}/"
        for path, kind in (("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")):
            status, headers, text = get(port, path)
            assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
            assert text
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
        status, headers, text = get(port, "/", "HEAD")
        assert (status, text) == (200, "")
        assert int(headers["Content-Length"]) > 0
        assert "Python" not in headers["Server"]


def test_nothing_comes_from_elsewhere_and_no_script_is_inline() -> None:
    with serve() as (_, port):
        _, headers, page = get(port)
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        texts = [page, *(files("edge_asc.listening.page").joinpath(n).read_text() for n in ("page.css", "page.js"))]
    assert not any(re.search(r"https?:|//\w+\.\w|url\(|@import|innerHTML|eval\(", text) for text in texts)
    assert re.findall(r"<script[^>]*>(.*?)</script>", page) == [""]
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)


def test_events_are_json_and_health_is_that_of_the_audio() -> None:
    with serve() as (server, port):
        assert get(port, "/health")[0] == 503
        listener = make_listener(server)
        listener.push(steps("rain", "rain", "-"))
        assert get(port, "/health")[0] == 200
        assert json.loads(get(port, "/health")[2]) == {"status": "ok"}
        value = json.loads(get(port, "/events.json")[2])
        assert [(event["label"], event["end"]) for event in value["events"]] == [("rain", 0.5)]
        assert value["state"]["level"] == -60.0
        assert get(port, "/none")[0] == 404
        assert get(port, "/../page.js")[0] == 404


def read_events(port: int, path: str = "/stream", **headers: str) -> Iterator[tuple[str, object]]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)) as connection:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        assert (response.status, response.getheader("Content-Type")) == (200, "text/event-stream")
        name = ""
        while line := response.readline().decode().rstrip("\n"):
            if line.startswith("retry"):
                response.readline()
            elif line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))
                response.readline()


def test_events_are_streamed_until_the_end() -> None:
    with serve() as (server, port):
        events = read_events(port)
        assert next(events)[0] == "all"
        listener = make_listener(server)
        listener.push(steps("rain", "rain"))
        names = [next(events)[0] for _ in range(2)]
        assert names == ["state", "change"]
        label = 'rain\n\ndata: "x"</script>'
        server.receive(Change("a\nb", SoundEvent(label, 0.0, 1.0, 0.9, 0.8)))
        name, value = next(events)
        assert name == "change"
        assert isinstance(value, dict)
        assert (value["label"], value["source"]) == (label, "a\nb")
    assert list(events) == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:80", 200),
        ("127.0.0.1:8080", 200),
        ("192.168.1.5", 200),
        ("[::1]:8080", 200),
        (socket.gethostname(), 200),
        (f"{socket.gethostname()}.local:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("", 421),
    ],
)
def test_a_name_that_an_attacker_could_own_is_refused(host: str, status: int) -> None:
    with serve() as (_, port):
        for path in ("/", "/events.json", "/health", "/stream") if status == 421 else ("/",):
            assert get(port, path, Host=host)[0] == status
        double = send(port, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
        assert double.startswith(b"HTTP/1.0 421")


def test_a_token_is_needed_for_everything_but_health() -> None:
    with serve(TOKEN) as (server, port):
        for path in ("/", "/page.js", "/events.json", "/stream", "/?token=", f"/?token={TOKEN}x", "/?token=ä"):
            assert get(port, path.replace("ä", "%C3%A4"))[0] == 401
        assert get(port, "/", Cookie=f"{COOKIE}=wrong; {COOKIE}2={TOKEN}")[0] == 401
        assert get(port, "/", Cookie="\x01=;;")[0] == 401
        assert get(port, "/", Authorization=f"Basic {TOKEN}")[0] == 401
        assert get(port, "/health")[0] == 503
        status, headers, _ = get(port, f"/?token={TOKEN}")
        assert (status, headers["Location"]) == (303, "/")
        cookie, *attributes = headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(attributes)
        assert get(port, "/", Cookie=cookie)[0] == 200
        assert get(port, "/events.json", Authorization=f"Bearer {TOKEN}")[0] == 200
        assert get(port, f"/events.json?token={TOKEN}")[0] == 200
        assert next(read_events(port, Cookie=cookie))[0] == "all"
        assert TOKEN not in server.url


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def watch(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", watch)
    with serve(TOKEN) as (_, port):
        assert get(port, "/?token=guess")[0] == 401
    assert compared == [b"guess"]


def test_an_address_beyond_this_machine_gets_a_token() -> None:
    assert PageAddress.parse("127.0.0.1:8080").token is None
    assert PageAddress.parse("localhost:8080") == PageAddress("127.0.0.1", 8080)
    assert PageAddress.parse("[::1]:0") == PageAddress("::1", 0)
    tokens = {PageAddress.parse(text).token for text in ("0.0.0.0:1", "[::]:1", "192.168.1.2:1", "0.0.0.0:1")}
    assert len(tokens) == 4
    assert all(token and len(token) >= 32 for token in tokens)
    assert PageAddress.parse("0.0.0.0:1", TOKEN) == PageAddress("0.0.0.0", 1, TOKEN)
    assert PageAddress.parse("0.0.0.0:1").is_new
    assert PageAddress.parse("127.0.0.1:1", TOKEN).token == TOKEN
    assert TOKEN not in repr(PageAddress.parse("0.0.0.0:1", TOKEN))


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "h:1", "1.2.3:1", "::1"]
)
def test_a_wrong_address_is_refused(text: str) -> None:
    with pytest.raises(EdgeAscError, match="expected ADDRESS:PORT"):
        PageAddress.parse(text)


@pytest.mark.parametrize("token", ["", "tiny", "a" * 15, "a" * 201, "with spaces in it; x", "ä" * 20])
def test_a_weak_token_is_refused(token: str) -> None:
    with pytest.raises(EdgeAscError, match="the token of the page is too short or has other characters") as caught:
        PageAddress.parse("0.0.0.0:1", token)
    assert not token or token not in str(caught.value)


def test_a_port_that_is_taken_is_an_error() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        address = PageAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(EdgeAscError, match=r"cannot be served at .*in use"):
            PageServer(address, Board("fake", []))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "<script>"])
def test_other_methods_are_refused_without_an_echo(method: str) -> None:
    with serve() as (_, port):
        answer = send(port, f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.0 501")
        assert b"script>" not in answer


@pytest.mark.parametrize(
    "data",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\nHost: localhost\r\n\r\n",
    ],
)
def test_a_large_request_is_not_read(data: bytes) -> None:
    with serve() as (_, port):
        try:
            answer = send(port, data)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        assert b" 200 " not in answer
        assert get(port)[0] == 200


@pytest.mark.parametrize(
    "data", [b"\x00\xff\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET /\r\n\r\n", b"\r\n"]
)
def test_nonsense_is_refused(data: bytes) -> None:
    with serve() as (_, port):
        assert b" 200 " not in send(port, data + b"\r\n")
        assert get(port)[0] == 200


def test_a_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.2)
    with serve() as (_, port), closing(socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert connection.recv(100) == b""


def test_the_number_of_clients_is_bounded_and_places_become_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CLIENTS", 3)
    with serve() as (_, port):
        readers = [read_events(port) for _ in range(3)]
        assert [next(reader)[0] for reader in readers] == ["all"] * 3
        assert send(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").startswith(b"HTTP/1.1 503")
    with serve() as (_, port):
        assert [get(port)[0] for _ in range(12)] == [200] * 12


def test_a_client_that_reads_nothing_delays_nobody() -> None:
    with serve() as (server, port), closing(socket.create_connection(("127.0.0.1", port), TIMEOUT)) as connection:
        connection.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        quick = read_events(port)
        assert next(quick)[0] == "all"
        done = threading.Event()

        def listen() -> None:
            for _ in range(20 * WAITING):
                server.note("x", "y" * 10_000)
            done.set()

        threading.Thread(target=listen, daemon=True).start()
        assert done.wait(TIMEOUT)


def test_requests_are_never_logged(capfd: pytest.CaptureFixture[str]) -> None:
    with serve(TOKEN) as (_, port):
        get(port, f"/?token={TOKEN}")
        get(port, "/none")
        send(port, b"\xff\r\n\r\n")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
