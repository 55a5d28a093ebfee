"""The seal of an artefact: a digest of the whole file, inside the contract that the file holds.

The contract is in the file as JSON text, in UTF-8 and as it is: not compressed, not split. Its field `file_sha256` is
the SHA-256 of the file, in hexadecimal, in which these 64 digits are zeros. A reader thus needs no knowledge of the
format: find `"file_sha256":"` and 64 digits, which a file holds exactly once, put zeros there, and compare.

Spaces follow the JSON text, so that another contract of another length fits in its place and nothing else in the file
moves: rules that were calibrated on a device are written into an artefact without its writer.

A seal detects damage. It is not a signature: anybody who changes the file can seal it again.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from edge_asc.contract import LONGEST_TEXT, METADATA_KEY, StreamContract
from edge_asc.errors import ContractError

# Bytes of spaces behind a contract.
SPARE = 2048
START = b'{"schema_version":'
SEAL = re.compile(rb'"file_sha256":"([0-9a-f]{64})"')


def seal(data: bytes) -> bytes:
    """Return a file with its digest in the field `file_sha256` of its contract, whatever was there.

    Raises:
        ContractError: the file does not hold the field exactly once.
    """
    places = list(SEAL.finditer(data))
    if len(places) != 1:
        raise ContractError(f"the file holds file_sha256 {len(places)} times; expected a contract as plain text, once")
    start, end = places[0].span(1)
    return data[:start] + _digest(data, start, end) + data[end:]


def replace_contract(data: bytes, contract: StreamContract) -> bytes:
    """Return an artefact with another contract in place of its own, sealed; all else stays as it is.

    Raises:
        ContractError: the file holds no contract as plain text, or one without enough spaces behind it.
    """
    places = list(SEAL.finditer(data))
    start = data.rfind(START, 0, places[0].start()) if len(places) == 1 else -1
    if start < 0:
        raise ContractError("the file holds no sealed contract as plain text; export it again")
    end = _find_end(data, start)
    room = end - start
    text = contract.dumps().encode()
    if len(text) > room:
        raise ContractError(
            f"the contract has {len(text)} bytes, the file has room for {room}: export it again with this edge-asc"
        )
    return seal(data[:start] + text.ljust(room) + data[end:])


def _find_end(data: bytes, start: int) -> int:
    """Return the end of the JSON text that starts at a byte, and of the spaces behind it."""
    try:
        text = data[start : start + LONGEST_TEXT].decode("utf-8", "replace")
        _, length = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError) as error:
        raise ContractError(f"the contract in the file is not JSON ({error}); export it again") from error
    end = start + len(text[:length].encode())
    while data[end : end + 1] == b" ":
        end += 1
    return end


def check_seal(path: Path) -> None:
    """Make sure that an artefact is the one that was exported.

    Raises:
        ContractError: the file is damaged, holds no contract or an unsealed one, or cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ContractError(f"{path}: cannot be read ({error.strerror})") from error
    if METADATA_KEY.encode() not in data:
        raise ContractError(
            f"{path}: no stream contract inside (metadata {METADATA_KEY}); expected an artefact of `edge-asc export`"
        )
    places = list(SEAL.finditer(data))
    if len(places) != 1:
        raise ContractError(
            f"{path}: no digest inside its contract (file_sha256), so that damage would not show: the file is damaged, "
            "or an older edge-asc wrote it; export it again. If you trust it, open it in Python with verify=False"
        )
    start, end = places[0].span(1)
    if places[0][1] != (digest := _digest(data, start, end)):
        raise ContractError(
            f"{path}: SHA-256 is {digest[:12].decode()}…, its contract says {places[0][1][:12].decode()}…: "
            "the file is damaged; copy it again, or export it again"
        )


def _digest(data: bytes, start: int, end: int) -> bytes:
    """Return the SHA-256 of a file whose bytes from `start` to `end` are zeros, in hexadecimal."""
    sha = hashlib.sha256(data[:start])
    sha.update(b"0" * (end - start))
    sha.update(data[end:])
    return sha.hexdigest().encode()
