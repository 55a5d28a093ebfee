"""Text from files, devices and users, made safe to print."""

from __future__ import annotations

import hashlib
import re

# Control characters, line and paragraph separators, marks that reorder the text around them, and surrogates.
UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def escape_controls(text: str, keep: str = "") -> str:
    r"""Return text in which what would act on a terminal is written out, such as `\x1b`, `\u202e` or `\n`.

    A byte of a file name that is not UTF-8, which Python holds as a surrogate, becomes `\xdf`.

    Args:
        text: to print.
        keep: characters that stay, such as "\n" in a message of several lines.
    """
    return UNSAFE.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), text)


def count_noun(count: int, noun: str) -> str:
    """Return a number and a noun whose plural ends in s, such as "1 thread" or "2 threads"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def make_slug(text: str) -> str:
    """Return a name of a-z, 0-9 and underscores for a text; different texts have different names.

    A text that is such a name already is returned as it is; others get a digest at the end.
    """
    slug = "_".join(re.findall("[a-z0-9]+", text.lower()))
    if slug and slug == text:
        return slug
    digest = hashlib.sha256(text.encode(errors="backslashreplace")).hexdigest()[:6]
    return f"{slug[:40]}_{digest}" if slug else digest


def replace_surrogates(text: str) -> str:
    """Return text that any encoding of Unicode takes; a byte of a file name that is not UTF-8 becomes `\\udcdf`."""
    return text.encode(errors="backslashreplace").decode()


def _escape(character: str) -> str:
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        number -= 0xDC00
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
