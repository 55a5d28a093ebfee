"""A page with the current sound and the events of the last hour, served to a few browsers.

The standard library serves it, rather than starlette with uvicorn: six paths, GET alone and a handful of readers need
no framework, and a board then installs nothing more. What `http.server` leaves open is closed here: the number of
clients, the size and the time of a request, and the names under which it answers.
"""

from __future__ import annotations

import hmac
import io
import ipaddress
import json
import logging
import queue
import re
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Self
from urllib.parse import parse_qs, urlsplit

from edge_asc.errors import EdgeAscError
from edge_asc.listening.board import Board
from edge_asc.listening.sink import Change, Moment, Sink

logger = logging.getLogger(__name__)

CLIENTS = 16  # at a time
REQUEST_SIZE, REQUEST_SECONDS = 16_384, 10.0  # bytes and time of a request's line and headers
SEND_SECONDS = 10.0  # that a client may take to read what is sent
HEARTBEAT = 15.0  # s between two messages of a quiet stream
COOKIE = "edge_asc_token"
TOKEN_VARIABLE = "EDGE_ASC_HTTP_TOKEN"
SHORTEST_TOKEN = 16  # characters
PAGES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
ADVICE = {
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong; open the address that edge-asc listen has printed.",
    HTTPStatus.MISDIRECTED_REQUEST: "This name is not one of this machine; use localhost, its own name or its address.",
}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class PageAddress:
    """Where the page is served.

    Attributes:
        host: address to bind to.
        port: TCP port; 0 for any free one.
        token: that every request needs; None where only this machine can connect.
        is_new: the token was made here, so that nobody knows it yet.
    """

    host: str
    port: int
    token: str | None = field(default=None, repr=False)
    is_new: bool = False

    @classmethod
    def parse(cls, text: str, token: str | None = None) -> Self:
        """Read HOST:PORT, such as 127.0.0.1:8080 or [::]:8080; an address beyond this machine gets a token.

        Raises:
            EdgeAscError: another text, or a token that is too short or cannot stand in a cookie.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
            number = int(port) if port.isascii() and port.isdigit() else -1
        except ValueError:
            number = -1
        if not 0 <= number <= 65535:
            raise EdgeAscError(f"address is {text!r}; expected ADDRESS:PORT, such as 127.0.0.1:8080 or 0.0.0.0:8080")
        if token is not None and not re.fullmatch(rf"[\w.~-]{{{SHORTEST_TOKEN},200}}", token, re.ASCII):
            raise EdgeAscError(
                f"the token of the page is too short or has other characters; expected {SHORTEST_TOKEN} to 200 of "
                "letters, digits and . _ ~ -"
            )
        if token is None and not address.is_loopback:
            return cls(str(address), number, secrets.token_urlsafe(24), is_new=True)
        return cls(str(address), number, token)


class PageServer(Sink):
    """Serves the page from threads of its own.

    Args:
        address: to serve at.
        board: what the page shows.

    Attributes:
        url: of the page, without the token.

    Raises:
        EdgeAscError: the address cannot be bound.
    """

    def __init__(self, address: PageAddress, board: Board) -> None:
        self._board = board
        try:
            self._server = _Server(address, board)
        except OSError as error:
            raise EdgeAscError(
                f"{address.host}:{address.port}: cannot be served at ({error.strerror or error}); expected an address "
                "of this machine and a free port"
            ) from error
        host, port = self._server.server_address[:2]
        name = f"[{host!s}]" if ":" in str(host) else str(host)
        if ipaddress.ip_address(str(host)).is_unspecified:
            name = socket.gethostname()
        self.url = f"http://{name}:{port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, name="page", daemon=True)
        self._thread.start()

    def observe(self, moment: Moment) -> None:
        """Show a state."""
        self._board.observe(moment)

    def receive(self, change: Change) -> None:
        """Show an event."""
        self._board.receive(change)

    def note(self, source: str, text: str) -> None:
        """Show a remark."""
        self._board.note(source, text)

    def close(self) -> None:
        """End all connections."""
        self._board.close()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: PageAddress, board: Board) -> None:
        self.address_family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        self.board, self.token = board, address.token
        self.files = {
            path: files("edge_asc.listening.page").joinpath(name).read_bytes() for path, (name, _) in PAGES.items()
        }
        self.names = {"localhost", socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        self._free = threading.BoundedSemaphore(CLIENTS)
        super().__init__((address.host, address.port), _Handler)

    def server_bind(self) -> None:
        """Bind without a look-up of the machine's name, which may take long."""
        if hasattr(socket, "IPV6_V6ONLY") and self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: socket.socket | tuple[bytes, socket.socket], client_address: object) -> None:
        """Serve a client in a thread, or turn it away when there are too many."""
        assert isinstance(request, socket.socket)
        if not self._free.acquire(blocking=False):
            with suppress(OSError):
                request.setblocking(False)
                request.send(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: object
    ) -> None:
        """Serve a client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Note a failed connection for those who debug."""
        logger.debug("page: a connection failed", exc_info=True)


class _RequestReader(io.RawIOBase):
    """The bytes of one request, within its size and its time; more than that is the end."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._left = connection, REQUEST_SIZE
        self._deadline = time.monotonic() + REQUEST_SECONDS

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer)[: self._left]  # type: ignore[arg-type]
        seconds = self._deadline - time.monotonic()
        if not len(view) or seconds <= 0.0:
            raise TimeoutError
        self._connection.settimeout(seconds)
        count = self._connection.recv_into(view)
        self._left -= count
        return count


class _Handler(BaseHTTPRequestHandler):
    """One request on one connection."""

    server: _Server
    protocol_version = "HTTP/1.0"  # the connection ends with the answer

    def setup(self) -> None:
        super().setup()
        self.rfile = io.BufferedReader(_RequestReader(self.connection))

    def version_string(self) -> str:
        return "edge-asc"

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet: a request may hold the token."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with one line of text, without any part of the request."""
        text = ADVICE.get(HTTPStatus(code), f"{HTTPStatus(code).phrase}.")
        self._answer(HTTPStatus(code), "text/plain; charset=utf-8", f"{text}\n".encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        """Answer a request."""
        self.connection.settimeout(SEND_SECONDS)
        parts = urlsplit(self.path)
        if not self._is_known_host():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif parts.path == "/health":
            status = HTTPStatus.OK if self.server.board.is_live else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer_json({"status": "ok" if status == HTTPStatus.OK else "no audio"}, status)
        elif not self._is_allowed(parts.query):
            self.send_error(HTTPStatus.UNAUTHORIZED)
        elif parts.path == "/" and parts.query and self.server.token:
            # The token moves from the address, which histories keep, to a cookie.
            self._answer(HTTPStatus.SEE_OTHER, "text/plain", b"", self._cookie_headers())
        elif parts.path in PAGES:
            self._answer(HTTPStatus.OK, PAGES[parts.path][1], self.server.files[parts.path])
        elif parts.path == "/events.json":
            self._answer_json(self.server.board.snapshot())
        elif parts.path == "/stream" and self.command == "GET":
            self._stream()
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _is_known_host(self) -> bool:
        """Whether the browser asked for this machine; an attacker's name may lead to its address, too."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1:
            return False
        match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+)(:\d{1,5})?", hosts[0], re.ASCII)
        if match is None:
            return False
        name = match[1].strip("[]").lower()
        with suppress(ValueError):
            return bool(ipaddress.ip_address(name))
        return name in self.server.names

    def _is_allowed(self, query: str) -> bool:
        if self.server.token is None:
            return True
        given = parse_qs(query).get("token", [])[:1]
        with suppress(CookieError):
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
            given += [cookie.value] if cookie is not None else []
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        given += [bearer.strip()] if scheme.lower() == "bearer" else []
        token = self.server.token.encode()
        return any(hmac.compare_digest(each.encode(errors="replace"), token) for each in given)

    def _cookie_headers(self) -> dict[str, str]:
        return {
            "Location": "/",
            "Set-Cookie": f"{COOKIE}={self.server.token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000",
        }

    def _answer_json(self, value: object, status: HTTPStatus = HTTPStatus.OK) -> None:
        self._answer(status, "application/json", json.dumps(value, allow_nan=False).encode() + b"\n")

    def _answer(self, status: HTTPStatus, kind: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        self._start(status, kind, {"Content-Length": str(len(data))} | (headers or {}))
        if self.command != "HEAD":
            self.wfile.write(data)

    def _start(self, status: HTTPStatus, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, **HEADERS, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self) -> None:
        """Send server-sent events until the client, or the listener, ends."""
        self._start(HTTPStatus.OK, "text/event-stream", {})
        reader = self.server.board.subscribe()
        try:
            self.wfile.write(b"retry: 2000\n\n")
            while True:
                try:
                    message = reader.get(timeout=HEARTBEAT)
                except queue.Empty:
                    self.wfile.write(b": quiet\n\n")
                    continue
                if message is None:
                    return
                name, data = message
                self.wfile.write(f"event: {name}\ndata: {data}\n\n".encode())
        finally:
            self.server.board.unsubscribe(reader)
