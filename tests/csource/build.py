"""Generated C, compiled with a small network of its own and called from here."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edge_asc.contract import Signature, StreamContract, TensorSpec
from edge_asc.detection.rules import EventRules
from edge_asc.frontend import FrontEnd
from edge_asc.rule import DecisionRule
from edge_asc.unknown import UnknownRule
from edge_asc_export.c.front_end import generate_front_end
from edge_asc_export.c.part import CPart, join_sources
from edge_asc_export.c.rules import generate_rules
from edge_asc_export.c.stream import generate_stream

PREFIX = "toy"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
COMPILERS = ("gcc", "clang")
INCLUDES = "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n\n"
LABELS = ("rain", "wind", "train", "other")

# A network whose logits are sums over the features of a step with fixed signs, and over its last logits.
NETWORK = CPart(
    "typedef struct {\n    float logits[4];\n} toy_states;\n",
    """
static void toy_reset_states(toy_states *states)
{
    memset(states, 0, sizeof *states);
}

static void toy_network(const float *features, toy_states *states, float *logits)
{
    for (size_t i = 0; i < 4; i++) {
        float sum = 0.0f;
        for (size_t j = 0; j < TOY_FRAMES * TOY_MELS; j++) {
            sum += ((j >> i) & 1u) != 0u ? features[j] : -features[j];
        }
        states->logits[i] = 0.5f * states->logits[i] + 0.2f * sum;
        logits[i] = states->logits[i];
    }
}
""",
)


def compiler(name: str) -> str:
    """Return the path of a compiler, or skip the test."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def make_contract(
    front_end: FrontEnd | None = None,
    *,
    live: DecisionRule | None = None,
    events: EventRules | None = None,
    unknown: UnknownRule | None = None,
    temperature: float = 1.0,
    labels: tuple[str, ...] = LABELS,
) -> StreamContract:
    """Return the contract of a causal model without states."""
    front_end = front_end or FrontEnd()
    features = TensorSpec("features", "features", (1, 8, front_end.mels, 1), ("batch", "time", "mel", "channel"))
    logits = TensorSpec("logits", "logits", (1, len(labels)), ("batch", "unit"))
    return StreamContract(
        name="toy",
        backbone="toy",
        form="causal",
        output="multi",
        labels=labels,
        front_end=front_end,
        decision="mean",
        parameters=0,
        macs={},
        scheme="none",
        signatures=(Signature("step", 8, 8 * front_end.hop, (features,), (logits,)),),
        temperature=temperature,
        unknown=unknown,
        live=live or DecisionRule("forgetting", 2.0),
        events=events,
    )


def join(parts: Sequence[CPart], more: str = "") -> str:
    """Return the parts as one source."""
    return INCLUDES + "\n".join(part.header for part in parts) + "\n" + join_sources(parts) + more


def stream_parts(contract: StreamContract, network: CPart = NETWORK) -> list[CPart]:
    """Return the parts of a whole artefact."""
    return [
        generate_front_end(PREFIX, contract.front_end),
        network,
        generate_rules(PREFIX, contract),
        generate_stream(PREFIX, contract),
    ]


def compile_library(source: str, folder: Path, cc: str, *flags: str) -> ctypes.CDLL:
    """Compile a source with all warnings as errors, and load it."""
    file, library = folder / "toy.c", folder / f"toy-{len(list(folder.iterdir()))}.so"
    file.write_text(source)
    command = [compiler(cc), *STRICT, *(flags or ("-O2",)), "-shared", "-fPIC", str(file), "-o", str(library)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


class CEvent(ctypes.Structure):
    """The type PREFIX_event."""

    _fields_ = (
        ("label", ctypes.c_int),
        ("has_ended", ctypes.c_bool),
        ("start", ctypes.c_uint64),
        ("end", ctypes.c_uint64),
        ("peak", ctypes.c_float),
        ("mean", ctypes.c_float),
    )


def make_decision_type(classes: int) -> type[ctypes.Structure]:
    """Return the type PREFIX_decision for so many classes."""

    class CDecision(ctypes.Structure):
        _fields_ = (
            ("time", ctypes.c_uint64),
            ("index", ctypes.c_int),
            ("answer", ctypes.c_int),
            ("is_unknown", ctypes.c_bool),
            ("confidence", ctypes.c_float),
            ("probabilities", ctypes.c_float * classes),
            ("logits", ctypes.c_float * classes),
        )

    return CDecision


Handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.POINTER(CEvent))

Event = tuple[int, bool, int, int, float, float]
SIZE = "size_t toy_size(void);\nsize_t toy_size(void) { return sizeof(toy_stream); }\n"


@dataclass
class CStream:
    """A stream of compiled C, which needs SIZE in its source."""

    library: ctypes.CDLL
    classes: int = len(LABELS)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.library.toy_size.restype = ctypes.c_size_t
        self.library.toy_newest.restype = ctypes.POINTER(make_decision_type(self.classes))
        size = self.library.toy_size() + 16
        # Rubbish: nothing may depend on what was in memory.
        self._memory = ctypes.create_string_buffer(b"\xa5" * size, size)
        self._at = ctypes.c_void_p((ctypes.addressof(self._memory) + 15) // 16 * 16)
        self._handler = Handler(self._receive)
        self.library.toy_init(self._at, self._handler, None)

    def _receive(self, context: int | None, pointer: ctypes._Pointer[CEvent]) -> None:
        e = pointer.contents
        self.events.append((e.label, e.has_ended, e.start, e.end, e.peak, e.mean))

    def push(self, samples: npt.NDArray[np.int16]) -> int:
        """Take samples; return the number of decisions."""
        samples = np.ascontiguousarray(samples, np.int16)
        pointer = samples.ctypes.data_as(ctypes.c_void_p)
        return int(self.library.toy_push(self._at, pointer, ctypes.c_size_t(len(samples))))

    def newest(self) -> tuple[int, int, int, bool, float, tuple[float, ...], tuple[float, ...]] | None:
        """Return the newest decision."""
        pointer = self.library.toy_newest(self._at)
        if not pointer:
            return None
        d = pointer.contents
        return d.time, d.index, d.answer, d.is_unknown, d.confidence, tuple(d.probabilities), tuple(d.logits)

    def reset(self) -> None:
        """Start again."""
        self.library.toy_reset(self._at)

    def finish(self) -> None:
        """End events."""
        self.library.toy_finish(self._at)
