"""The public part of a C artefact: a stream that takes samples, and gives decisions and events."""

from __future__ import annotations

from edge_asc.contract import StreamContract
from edge_asc_export.c.part import CPart
from edge_asc_export.c.template import read_source


def generate_stream(prefix: str, contract: StreamContract) -> CPart:
    """Return the type `PREFIX_stream`, and the functions that a program calls.

    Its declarations follow those of the front end, the network and the rules, in this order; so do its definitions. The
    network has these functions; logits are (classes,), features (8, mels), frame after frame:

        static void PREFIX_reset_states(PREFIX_states *states);
        static void PREFIX_network(const float *features, PREFIX_states *states, float *logits);

    Args:
        prefix: a C identifier, in lower case.
        contract: of a causal model.
    """
    names = ",\n".join(f"    {_literal(label)}" for label in contract.labels)
    labels = f"const char *const {prefix}_labels[{prefix.upper()}_CLASSES] = {{\n{names},\n}};\n"
    return CPart(read_source("stream.h", prefix), f"{labels}\n{read_source('stream.c', prefix)}")


def _literal(text: str) -> str:
    """Return a string literal of UTF-8 text."""
    plain = (chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\?' else f"\\{byte:03o}" for byte in text.encode())
    return f'"{"".join(plain)}"'
