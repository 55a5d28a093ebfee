"""The C file of a causal model, its header and its test.

The file compiles by itself: it begins with the text of its own header. Its contract stands in a comment, as JSON on one
line, so that a copied file still has it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from edge_asc.contract import METADATA_KEY, Signature, StreamContract
from edge_asc.errors import ExportError
from edge_asc.runtime import Runtime
from edge_asc.seal import seal
from edge_asc_export.c.network import write_network
from edge_asc_export.c.part import CPart
from edge_asc_export.c.text import comment, float_literal, identifier
from edge_asc_export.pipeline import Lowered
from edge_asc_export.scheme import file_label
from edge_asc_export.signature import lowered_signature

# Steps of the test, and how far logits of a float network may be off with another compiler.
TEST_STEPS = 8
TOLERANCE = 1e-4
INCLUDES = "#include <stddef.h>\n#include <stdint.h>\n"


class CFile:
    """A network as C that is complete but for its contract."""

    def __init__(self, lowered: Lowered) -> None:
        self._lowered = lowered
        self._parts: dict[str, CPart] = {}
        self.signature(1)
        self._network("model")  # fails early where there is no C form

    def signatures(self, hop: int) -> tuple[Signature, ...]:
        """Return the signature of the step."""
        return (self.signature(hop),)

    def signature(self, hop: int) -> Signature:
        """Return the signature of the step, for a front end of `hop` samples a frame."""
        return lowered_signature(self._lowered, hop)

    def finish(self, contract: StreamContract) -> bytes:
        """Return the file with this contract, sealed."""
        prefix = prefix_of(contract)
        parts = [
            comment(_title(contract)),
            _contract_comment(contract),
            self.header(contract),
            "#include <string.h>\n",
            self._network(prefix).source,
            _interface(prefix),
        ]
        return seal("\n".join(parts).encode())

    def header(self, contract: StreamContract) -> str:
        """Return the header."""
        prefix = prefix_of(contract)
        guard = f"{prefix.upper()}_H"
        body = self._network(prefix).header
        return (
            f'#ifndef {guard}\n#define {guard}\n\n{INCLUDES}\n#ifdef __cplusplus\nextern "C" {{\n#endif\n\n'
            f"#define {prefix.upper()}_CLASSES {len(contract.labels)}\n\n{body}\n{_declarations(prefix)}\n"
            f"#ifdef __cplusplus\n}}\n#endif\n\n#endif\n"
        )

    def _network(self, prefix: str) -> CPart:
        if prefix not in self._parts:
            self._parts = {prefix: write_network(self._lowered, prefix)}
        return self._parts[prefix]


def write_c(graphs: Sequence[Lowered]) -> CFile:
    """Write the step of a causal model as C.

    Raises:
        ExportError: an operation has no C form.
    """
    (lowered,) = graphs
    return CFile(lowered)


def write_companions(written: CFile, contract: StreamContract, runtime: Runtime) -> dict[str, bytes]:
    """Return the files that belong to a C file, by name: its header, its contract as JSON, and its test.

    Args:
        written: the file.
        contract: inside it.
        runtime: the file with this contract, compiled here; it gives the results that the test expects.
    """
    name = stem_of(contract)
    return {
        f"{name}.h": f"{comment(_title(contract))}\n{written.header(contract)}".encode(),
        f"{name}.json": (json.dumps(contract.to_json(), indent=2) + "\n").encode(),
        f"test_{name}.c": _write_test(contract, runtime).encode(),
    }


def stem_of(contract: StreamContract) -> str:
    """Return the name of the files of a model, without their endings."""
    return f"{contract.name}-{file_label(contract.scheme)}"


def prefix_of(contract: StreamContract) -> str:
    """Return what public names of a model begin with, such as "fuse_int8"."""
    return identifier(stem_of(contract))


def _title(contract: StreamContract) -> str:
    return (
        f"{stem_of(contract)}: a classifier of sounds, written by edge-asc {contract.provenance.edge_asc}. "
        f"C99, without a runtime.\nLabels: {', '.join(contract.labels)}."
    )


def _contract_comment(contract: StreamContract) -> str:
    # A space after the brace: rules are compiled, so that nothing may put another contract in its place.
    text = contract.dumps().replace("*/", "*\\/").replace("/*", "\\/*").replace("{", "{ ", 1)
    return f"/* {METADATA_KEY}\n{text}\n*/"


def _declarations(prefix: str) -> str:
    return (
        "/* Compute one step of log-mel features: 8 frames, one after another, each its mel bins from the lowest,\n"
        f"   normalised. Logits, {prefix.upper()}_CLASSES of them, are before the temperature. Not for two threads at "
        "once:\n   all calls share their scratch memory. */\n"
        f"void {prefix}_step({prefix}_states *states, const float *features, float *logits);\n"
    )


def _interface(prefix: str) -> str:
    return f"""\
void {prefix}_step({prefix}_states *states, const float *features, float *logits)
{{
    {prefix}_network(features, states, logits);
}}

#if defined(EDGE_ASC_SHARED)
/* Names that do not depend on the model, for edge-asc itself. */
size_t edge_asc_state_bytes(void);
void edge_asc_step(void *states, const float *features, float *logits);

size_t edge_asc_state_bytes(void)
{{
    return sizeof({prefix}_states);
}}

void edge_asc_step(void *states, const float *features, float *logits)
{{
    {prefix}_step(states, features, logits);
}}
#endif
"""


def _write_test(contract: StreamContract, runtime: Runtime) -> str:
    """Return a program that compares steps of pseudo-random features with what this machine computes."""
    prefix, loop = prefix_of(contract), runtime.loop("step")
    values, rows = loop.source.shape, []
    count, seed = int(np.prod(values)), 1
    for _ in range(TEST_STEPS):
        features = np.empty(count, np.float32)
        for i in range(count):
            seed = (seed * 1664525 + 1013904223) % 2**32
            features[i] = ((seed >> 20) - 2048) / 512
        rows.append(loop.feed(features.reshape(values)).reshape(-1))
    if not np.ptp(np.stack(rows), axis=0).any():
        raise ExportError(f"{stem_of(contract)}: the logits are the same in every step; the checkpoint is not trained")
    table = ",\n    ".join(f"{{{', '.join(map(float_literal, row))}}}" for row in rows)
    exact = contract.scheme == "int8"
    match = "logits[c] == expected[step][c]" if exact else f"error <= {TOLERANCE}f && error >= -{TOLERANCE}f"
    return f"""\
{comment(f"Test of {stem_of(contract)}.c: exit status 0 if it computes what edge-asc computed. Compile both together.")}
#include <stdio.h>
#include "{stem_of(contract)}.h"

static const float expected[{TEST_STEPS}][{prefix.upper()}_CLASSES] = {{
    {table}
}};

int main(void)
{{
    static {prefix}_states states;
    static float features[{count}];
    float logits[{prefix.upper()}_CLASSES];
    uint32_t seed = 1;
    int wrong = 0;
    {prefix}_reset_states(&states);
    for (int step = 0; step < {TEST_STEPS}; step++) {{
        for (int i = 0; i < {count}; i++) {{
            seed = seed * 1664525u + 1013904223u;
            features[i] = (float)((int32_t)(seed >> 20) - 2048) / 512.0f;
        }}
        {prefix}_step(&states, features, logits);
        for (int c = 0; c < {prefix.upper()}_CLASSES; c++) {{
            {"" if exact else "const float error = logits[c] - expected[step][c];"}
            wrong += !({match});
        }}
    }}
    printf("%d of {TEST_STEPS * len(contract.labels)} logits differ\\n", wrong);
    return wrong != 0;
}}
"""
