"""The C file of a causal model, its header and its test.

The file compiles by itself: it begins with the text of its own header. Its contract stands in a comment, as JSON on one
line, so that a copied file still has it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from edge_asc.contract import INT16, METADATA_KEY, Signature, StreamContract, TensorSpec
from edge_asc.engines.c import CRuntime
from edge_asc.errors import ExportError
from edge_asc.seal import seal
from edge_asc.tensors import InputKind
from edge_asc_export.c.front_end import generate_front_end
from edge_asc_export.c.network import write_network
from edge_asc_export.c.part import CPart, join_sources
from edge_asc_export.c.rules import generate_rules
from edge_asc_export.c.stream import generate_stream
from edge_asc_export.c.template import read_source, rename
from edge_asc_export.c.text import comment, identifier, table
from edge_asc_export.front_end import detach_front_end
from edge_asc_export.pipeline import Lowered
from edge_asc_export.scheme import file_label, input_label
from edge_asc_export.signature import HISTORY, lowered_signature

# Steps of the test, and how far logits may be off with another compiler: of a float network, and of int8, whose
# integers are the same and whose output layer is in float.
TEST_STEPS = 8
TOLERANCE = 1e-4
OUTPUT_TOLERANCE = 1e-5
INCLUDES = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n"
# WebAssembly has instructions for these functions, and clang no library there.
MEMORY = """\
#if defined(__wasm__)
void *memcpy(void *to, const void *from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
#else
#include <string.h>
#endif
"""


class CFile:
    """A network as C that is complete but for its contract."""

    def __init__(self, lowered: Lowered) -> None:
        if any(port.role == "samples" and not port.int16 for port in lowered.graph.inputs):
            raise ExportError("C takes samples of 16 bits: use --input int16, or leave --input out")
        self._lowered = lowered
        self._networks: dict[str, CPart] = {}
        self._network("model")  # raises an ExportError where there is no C form

    def signatures(self, hop: int) -> tuple[Signature, ...]:
        """Return the signature of the step."""
        return (self.signature(hop),)

    def signature(self, hop: int) -> Signature:
        """Return the signature of the step, for a front end of `hop` samples a frame."""
        signature = lowered_signature(self._lowered, hop)
        return replace(
            signature,
            inputs=tuple(map(_as_samples, signature.inputs)),
            outputs=tuple(map(_as_samples, signature.outputs)),
        )

    def finish(self, contract: StreamContract) -> bytes:
        """Return the file with this contract, sealed."""
        parts = [
            comment(_title(contract)),
            _contract_comment(contract),
            self.header(contract),
            MEMORY,
            join_sources(self._parts(contract)),
            _interface(prefix_of(contract), contract.input),
        ]
        return seal("\n".join(parts).encode())

    def header(self, contract: StreamContract) -> str:
        """Return the header."""
        guard, declared = f"{prefix_of(contract).upper()}_H", "\n".join(part.header for part in self._parts(contract))
        body = f"{INCLUDES}\n{declared}\n{_declarations(prefix_of(contract))}"
        return f"#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"

    def _parts(self, contract: StreamContract) -> list[CPart]:
        """Return the parts of the file, each behind those that it needs."""
        prefix = prefix_of(contract)
        return [
            generate_front_end(prefix, contract.front_end),
            self._network(prefix),
            generate_rules(prefix, contract),
            generate_stream(prefix, contract),
        ]

    def _network(self, prefix: str) -> CPart:
        if prefix not in self._networks:
            behind = detach_front_end(self._lowered.graph)
            self._networks = {prefix: write_network(self._lowered.with_graph(behind), prefix)}
        return self._networks[prefix]


def write_c(graphs: Sequence[Lowered]) -> CFile:
    """Write the step of a causal model as C.

    Raises:
        ExportError: an operation has no C form.
    """
    (lowered,) = graphs
    return CFile(lowered)


def write_companions(written: CFile, contract: StreamContract, runtime: CRuntime) -> dict[str, bytes]:
    """Return the files that belong to a C file, by name: its header, its contract as JSON, and its test.

    Args:
        written: the file.
        contract: inside it.
        runtime: the file with this contract, compiled here; it gives the results that the test expects.
    """
    contents = (
        f"{comment(_title(contract))}\n{written.header(contract)}",
        json.dumps(contract.to_json(), indent=2) + "\n",
        _write_test(contract, runtime),
    )
    return dict(zip(companion_names(stem_of(contract)), map(str.encode, contents), strict=True))


def companion_names(stem: str) -> tuple[str, str, str]:
    """Return the names of the header, the contract and the test that belong to a C file, `stem` without its suffix."""
    return f"{stem}.h", f"{stem}.json", f"test_{stem}.c"


def stem_of(contract: StreamContract) -> str:
    """Return the name of the files of a model, without their endings."""
    return f"{contract.name}-{file_label(contract.scheme)}{input_label(contract.input)}"


def prefix_of(contract: StreamContract) -> str:
    """Return what public names of a model begin with, such as "fuse_int8"."""
    return identifier(stem_of(contract))


def name_program(text: str, contract: StreamContract) -> str:
    """Return a C source that uses an artefact, with its names in the place of "prefix.h", "prefix_" and "PREFIX_"."""
    return rename(text.replace('"prefix.h"', f'"{stem_of(contract)}.h"'), prefix_of(contract))


def dump_contract(contract: StreamContract) -> str:
    """Return the contract as JSON that nothing puts another one in the place of, since its rules are compiled.

    What rewrites contracts looks for the begin of their text, which has a space here.
    """
    return contract.dumps().replace("{", "{ ", 1)


def _title(contract: StreamContract) -> str:
    return (
        f"{stem_of(contract)}: a classifier of sounds, written by edge-asc {contract.provenance.edge_asc}. "
        f"C99, without a runtime.\nLabels: {', '.join(contract.labels)}."
    )


def _contract_comment(contract: StreamContract) -> str:
    text = dump_contract(contract).replace("*/", "*\\/").replace("/*", "\\/*")
    return f"/* {METADATA_KEY}\n{text}\n*/"


def _declarations(prefix: str) -> str:
    return f"""\
#ifdef __cplusplus
extern "C" {{
#endif

/* The network alone, for a program with a front end of its own: one step of normalised log-mel features,
   {prefix.upper()}_FRAMES frames one after another, each its mel bins from the lowest, to {prefix.upper()}_CLASSES
   logits, before the temperature. Set the states with {prefix}_reset_states before the first step.

   All streams share the scratch memory of a step: call {prefix}_step and {prefix}_push from one thread at a time. */
void {prefix}_reset_states({prefix}_states *states);
void {prefix}_step({prefix}_states *states, const float *features, float *logits);

#ifdef __cplusplus
}}
#endif
"""


def _as_samples(spec: TensorSpec) -> TensorSpec:
    """Return the samples that a step keeps as what they are here: integers of 16 bits."""
    if HISTORY not in (spec.name, spec.feeds):
        return spec
    return replace(spec, dtype="int16", quantisation=INT16)


def _interface(prefix: str, kind: InputKind) -> str:
    return f"""\
void {prefix}_step({prefix}_states *states, const float *features, float *logits)
{{
    {prefix}_network(features, states, logits);
}}

#if defined(EDGE_ASC_SHARED)
{read_source("shared_features.c" if kind == "features" else "shared_samples.c", prefix)}
{read_source("shared_listen.c", prefix)}#endif
"""


def _write_test(contract: StreamContract, runtime: CRuntime) -> str:
    """Return a program that compares logits of pseudo-random features and samples with what this machine computes."""
    prefix, loop = prefix_of(contract), runtime.loop("step")
    name, samples = stem_of(contract), contract.signature("step").samples
    takes_features = contract.input == "features"
    count, draw = math.prod(loop.source.shape) if takes_features else 0, _Draw()
    steps = []
    for _ in range(TEST_STEPS if takes_features else 0):
        features = ((draw(count) >> 20).astype(np.float32) - 2048) / np.float32(512)
        steps.append(loop.feed(features.reshape(loop.source.shape)).reshape(-1))
    audio = ((draw(TEST_STEPS * samples) >> 18).astype(np.int32) - 8192).astype(np.int16)
    decisions = [runtime.listen(audio[: samples * (step + 1)]) for step in range(TEST_STEPS)]
    limit = OUTPUT_TOLERANCE if contract.scheme == "int8" else TOLERANCE
    return f"""\
{comment(f"Test of {name}.c: exit status 0 if it computes what it computed at its export. Compile both together.")}
#include <stdio.h>
#include "{name}.h"

enum {{ STEPS = {TEST_STEPS}, PART = 1000 }};

{table("expected_steps", np.stack(steps)) if steps else ""}
{table("expected_decisions", np.stack(decisions))}
static uint32_t seed = {_Draw.SEED};
static int compared = 0, wrong = 0;

static uint32_t draw(void)
{{
    seed = seed * 1664525u + 1013904223u;
    return seed;
}}

static void compare(const float *logits, const float *expected)
{{
    for (int c = 0; c < {prefix.upper()}_CLASSES; c++) {{
        const float a = logits[c], b = expected[c];
        wrong += a - b <= {limit}f && b - a <= {limit}f ? 0 : 1;
        compared++;
    }}
}}

{_write_test_program(prefix, count)}"""


def _write_feature_test(prefix: str, count: int) -> str:
    """Return the function that tests steps of `count` features."""
    return f"""\
static void test_features(void)
{{
    static {prefix}_states states;
    static float features[{count}];
    float logits[{prefix.upper()}_CLASSES];

    {prefix}_reset_states(&states);
    for (int step = 0; step < STEPS; step++) {{
        for (int i = 0; i < {count}; i++) {{
            features[i] = ((float)(draw() >> 20) - 2048.0f) / 512.0f;
        }}
        {prefix}_step(&states, features, logits);
        compare(logits, expected_steps + step * {prefix.upper()}_CLASSES);
    }}
}}

"""


def _write_test_program(prefix: str, count: int) -> str:
    """Return the program of the test; `count` is that of the features of a step, 0 where it tests none."""
    upper = prefix.upper()
    return f"""\
{_write_feature_test(prefix, count) if count else ""}int main(void)
{{
    static {prefix}_stream stream;
    int16_t samples[PART];
    size_t filled = 0;
    int decisions = 0;

    {"test_features();" if count else ""}
    {prefix}_init(&stream, NULL, NULL);
    for (long i = 0; i < (long)STEPS * {upper}_STEP; i++) {{
        samples[filled++] = (int16_t)((int32_t)(draw() >> 18) - 8192);
        if (filled == PART || i == (long)STEPS * {upper}_STEP - 1) {{
            if ({prefix}_push(&stream, samples, filled) > 0 && decisions < STEPS) {{
                compare({prefix}_newest(&stream)->logits, expected_decisions + decisions * {upper}_CLASSES);
                decisions++;
            }}
            filled = 0;
        }}
    }}
    printf("%d of %d logits differ, %d decisions of %d\\n", wrong, compared, decisions, (int)STEPS);
    return wrong != 0 || decisions != STEPS;
}}
"""


class _Draw:
    """Pseudo-random integers of 32 bits, as the test draws them."""

    SEED = 1

    def __init__(self) -> None:
        self._last = self.SEED

    def __call__(self, count: int) -> npt.NDArray[np.uint32]:
        values = np.empty(count, np.uint32)
        for i in range(count):
            values[i] = self._last = (self._last * 1664525 + 1013904223) % 2**32
        return values
