"""JSON documents that the commands write: loaded, and validated against a type."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from edge_asc.errors import EdgeAscError
from edge_asc.jsonobject import parse_json

T = TypeVar("T")

Document = dict[str, object]

# Bytes of a document; those of large data sets have a few.
LARGEST = 256_000_000

_PLACE = re.compile(r"^(?P<problem>.*?)(?: - at `(?:key in )?\$(?P<path>.*)`)?$")
_PROBLEMS = (
    (re.compile(r"Expected `(.+)`, got `(.+)`"), r"got \2, expected \1"),
    (re.compile(r"Expected `(\w+)` (>=|<=|>|<) (\S+)"), r"expected \1 \2 \3"),
    (re.compile(r"Expected `(\w+)` (matching|of length|with) (.+)"), r"expected \1 \2 \3"),
    (re.compile(r"Object missing required field `(.+)`"), r"lacks the field \1"),
    (re.compile(r"Object contains unknown field `(.+)`"), r"has the unknown field \1"),
)


def load(path: Path, expected: str) -> Document:
    """Read a JSON object that states its kind.

    Args:
        path: of the file.
        expected: what the file should be, for the message.

    Raises:
        EdgeAscError: the file cannot be read, or holds no such object.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ValueError(f"it has more than {LARGEST / 1e6:.0f} MB")
        value = parse_json(data)
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be read ({error.strerror}); expected {expected}") from error
    except ValueError as error:
        raise EdgeAscError(f"{path}: not a result ({error}); expected {expected}") from error
    if not isinstance(value, dict) or "kind" not in value:
        raise EdgeAscError(f"{path}: not a result (it states no kind); expected {expected}")
    return value


def check_version(path: Path, value: Document, kind: str, version: int, writer: str) -> None:
    """Check kind and schema version of a document.

    Raises:
        EdgeAscError: they are others; says whether to upgrade edge-asc or to make the file again.
    """
    if value["kind"] != kind:
        raise EdgeAscError(f"{path}: a result of kind {value['kind']!r}; expected {kind!r}, which {writer} writes")
    given = value.get("schema_version")
    if type(given) is not int or given != version:
        newer = type(given) is int and given > version
        advice = "upgrade edge-asc" if newer else "measure again"
        raise EdgeAscError(f"{path}: schema version {given!r}; this edge-asc reads {version}: {advice}")


def convert(path: Path, value: Document, kind: type[T], advice: str) -> T:
    """Validate a document.

    Args:
        path: of the file, for the message.
        value: as `load` returns it.
        kind: a msgspec struct or a dataclass.
        advice: what a user can do about a bad field.

    Raises:
        EdgeAscError: a field is missing, unknown, of another type or out of its range; names the field and its place.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise EdgeAscError(f"{path}: {_describe(str(error), value)}; {advice}") from error
    except UnicodeEncodeError as error:
        raise EdgeAscError(
            f"{path}: the name of a field holds half of a surrogate pair, which is no character; {advice}"
        ) from error


def convert_reply(device: str, text: str, kind: type[T]) -> T:
    """Validate what a device reports as JSON; `device` names it in messages.

    Raises:
        EdgeAscError: not JSON, or a field is missing or of another type.
    """
    try:
        return msgspec.convert(parse_json(text), kind)
    except (ValueError, msgspec.ValidationError) as error:
        raise EdgeAscError(
            f"{device}: reports {text[:80]!r} ({error}); use the same version of edge-asc on both sides"
        ) from error


def validate(path: Path, check: Callable[[], None], advice: str) -> None:
    """Check that the fields of a document agree with each other.

    Args:
        path: of the file, for the message.
        check: raises ValueError with the place and the problem.
        advice: what a user can do.

    Raises:
        EdgeAscError: they do not.
    """
    try:
        check()
    except ValueError as error:
        raise EdgeAscError(f"{path}: {error}; {advice}") from error


def _describe(message: str, value: Document) -> str:
    """Turn "Expected `int`, got `str` - at `$.variants[0].bytes`" into "variants[0] (NAME).bytes: got str, …"."""
    match = _PLACE.match(message)
    assert match is not None
    problem = match["problem"]
    for pattern, text in _PROBLEMS:
        problem = pattern.sub(text, problem)
    place, own = _find_place(match["path"] or "", value)
    if problem.startswith("expected") and not isinstance(own, dict | list):
        problem = f"got {str(own)[:40]!r}, {problem}" if isinstance(own, str) else f"got {own}, {problem}"
    return f"{place or 'result'}: {problem}"


def _find_place(path: str, value: object) -> tuple[str, object]:
    """Return the place of a path such as ".variants[0].bytes", with the name of what an index selects beside it.

    The second part is the value there.
    """
    shown = ""
    for part in re.findall(r"\.\w+|\[\d+\]|\[\.\.\.\]", path):
        if part.startswith("."):
            shown += part if shown else part[1:]
            value = value.get(part[1:]) if isinstance(value, dict) else None
        elif part == "[...]":
            only = next(iter(value)) if isinstance(value, dict) and len(value) == 1 else "*"
            shown += f".{only}"
            value = value.get(only) if isinstance(value, dict) else None
        else:
            index = int(part[1:-1])
            value = value[index] if isinstance(value, list) and index < len(value) else None
            name = value.get("name") if isinstance(value, dict) else None
            shown += part if name is None else f"{part} ({name})"
    return shown, value
