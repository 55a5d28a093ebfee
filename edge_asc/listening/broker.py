"""Where an MQTT broker is: its URL, the password, and the trust in its certificate."""

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from edge_asc.errors import EdgeAscError
from edge_asc.text import UNSAFE, make_slug

PORTS = {"mqtt": 1883, "mqtts": 8883}
EXPECTED = "expected mqtt[s]://[USER@]HOST[:PORT][/PREFIX], such as mqtts://ear@broker.local/kitchen"
PASSWORD_VARIABLE = "EDGE_ASC_MQTT_PASSWORD"
LONGEST_PREFIX = 200  # characters
LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Broker:
    """An MQTT broker, and how to reach it.

    Attributes:
        host: name or address.
        port: TCP port.
        is_encrypted: TLS is used.
        user: "" for none.
        prefix: of all topics, without a slash at its ends.
        password: None for none.
        authorities: PEM file of the certificate authorities to trust; None for those of the system.
    """

    host: str
    port: int
    is_encrypted: bool
    user: str
    prefix: str
    password: str | None = field(default=None, repr=False)
    authorities: Path | None = None

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL, mqtt[s]://[USER@]HOST[:PORT][/PREFIX]; the default prefix has the name of this machine.

        Raises:
            EdgeAscError: a part is missing, or is not allowed; the message never holds a password.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise EdgeAscError(f"MQTT URL: {error}; {EXPECTED}") from error
        if parts.scheme not in PORTS:
            raise EdgeAscError(f"MQTT URL: its scheme is {parts.scheme!r}; {EXPECTED}")
        if parts.password is not None:
            raise EdgeAscError(
                "MQTT URL: it has a password, which other users of this machine could read; leave it out, and set "
                f"{PASSWORD_VARIABLE} or give --mqtt-password-file"
            )
        if not parts.hostname or UNSAFE.search(url) or " " in url:
            raise EdgeAscError(f"MQTT URL: it has no valid host; {EXPECTED}")
        if port == 0 or parts.query or parts.fragment:
            raise EdgeAscError(f"MQTT URL: it has a port of 0, a query or a fragment; {EXPECTED}")
        try:
            parts.hostname.encode("idna")
        except UnicodeError as error:
            raise EdgeAscError(f"MQTT URL: {parts.hostname!r} is no host; {EXPECTED}") from error
        prefix = unquote(parts.path).strip("/") or f"edge-asc/{make_slug(socket.gethostname())}"
        _check_prefix(prefix)
        encrypted = parts.scheme == "mqtts"
        return cls(parts.hostname, port or PORTS[parts.scheme], encrypted, unquote(parts.username or ""), prefix)

    @property
    def name(self) -> str:
        """Host and port, for messages."""
        return f"{self.host}:{self.port}"

    @property
    def exposes_password(self) -> bool:
        """Whether the password crosses a network that others can read."""
        return self.password is not None and not self.is_encrypted and self.host not in LOOPBACK

    def make_tls(self) -> ssl.SSLContext:
        """Return the settings of TLS: host name and certificate are verified.

        Raises:
            EdgeAscError: the file of authorities cannot be read, or holds no certificate.
        """
        try:
            return ssl.create_default_context(cafile=self.authorities)
        except OSError as error:
            reason = error.strerror or str(error)
            raise EdgeAscError(f"{self.authorities}: {reason}; expected certificates in a PEM file") from error


def read_password(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the password from a file, else from PASSWORD_VARIABLE, else None.

    Raises:
        EdgeAscError: the file cannot be read, or its first line is empty.
    """
    return read_secret(file, environment.get(PASSWORD_VARIABLE), "password")


def read_secret(file: Path | None, given: str | None, noun: str) -> str | None:
    """Return the first line of a file, or what was given where there is no file; None for an empty one.

    Raises:
        EdgeAscError: the file cannot be read, or its first line is empty.
    """
    if file is None:
        return given or None
    try:
        secret = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise EdgeAscError(f"{file}: {reason}; expected a file with a {noun} in its first line") from error
    if not secret:
        raise EdgeAscError(f"{file}: its first line is empty; expected a {noun} there")
    return secret


def _check_prefix(prefix: str) -> None:
    """Check the start of a topic, which has neither wildcards nor empty levels."""
    if len(prefix) > LONGEST_PREFIX or re.search(r"[+#\x00-\x1f]|//", prefix) or prefix.startswith("$"):
        raise EdgeAscError(
            f"MQTT URL: the prefix is {prefix!r}; expected levels such as home/kitchen without +, # or $, at most "
            f"{LONGEST_PREFIX} characters"
        )
