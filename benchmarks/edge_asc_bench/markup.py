"""Text from results, devices and users in documents: one function for each kind of document."""

from __future__ import annotations

import re

from edge_asc.text import escape_controls

# Characters that XML 1.0 has no way to write.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Punctuation that acts inside a line or a table cell of GitHub's Markdown.
MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&$#])")


def escape_xml(text: str) -> str:
    """Return text for an XML document: what XML cannot hold is written as `\\x00`; markup is left to the XML writer."""
    return NOT_XML.sub(lambda match: escape_controls(match[0]) if match[0] < "\ufffe" else "\ufffd", text)


def escape_markdown(text: str) -> str:
    """Return text for a line or a table cell of Markdown: it shows as it stands, and notifies nobody."""
    return MARKDOWN.sub(r"\\\1", escape_controls(text)).replace("@", "@&#8203;")


def to_code(text: str) -> str:
    """Return text as a code span of Markdown."""
    plain = escape_controls(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    room = " " if plain.startswith("`") or plain.endswith("`") or not plain.strip() else ""
    return f"{fence}{room}{plain}{room}{fence}"
