"""The program on a board: streams artefacts and writes their logits, or marks the parts of a decision for counting.

`python -m edge_asc_arm.guest ACTION FOLDER ARTEFACT...` reads its inputs from the folder and writes its results there.
It needs the packages of a device alone.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import numpy as np

from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import choose_inputs, stream_logits
from edge_asc.frontend import Array, LogMel
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier

# Inputs: samples, and raw log-mel of them. Results: a report, the board's own log-mel, and logits by number.
AUDIO, FEATURES = "audio.npy", "features.npy"
REPORT, COMPUTED_FEATURES, LOGITS = "report.json", "computed-features.npy", "logits-{}.npy"
MARK = 0xEA5C
# Marks: an artefact's are its index times MARKS, plus one of these.
NOTHING, BEGIN, FRONT_END_DONE, DECIDED, CALL, RETURNED = range(6)
MARKS = 16
WARM_UP, DECISIONS = 4, 15
PACKAGES = ("ai-edge-litert", "numpy", "onnxruntime")


@dataclass(frozen=True)
class Report:
    """The environment of the program.

    Attributes:
        machine: architecture, such as "aarch64".
        python: version.
        packages: versions of the packages that compute a decision.
        engines: engine of each artefact, with its version.
    """

    machine: str
    python: str
    packages: dict[str, str]
    engines: tuple[str, ...]

    @classmethod
    def of(cls, engines: Sequence[str]) -> Self:
        """Describe this process."""
        packages = {}
        for name in PACKAGES:
            with suppress(PackageNotFoundError):
                packages[name] = version(name)
        return cls(platform.machine(), platform.python_version(), packages, tuple(engines))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the report in a folder."""
        fields = json.loads((folder / REPORT).read_text())
        return cls(fields["machine"], fields["python"], fields["packages"], tuple(fields["engines"]))

    def write(self, folder: Path) -> None:
        """Write the report to a folder."""
        (folder / REPORT).write_text(json.dumps(asdict(self)))


def mark(number: int) -> None:
    """Report a number to the counting emulator, by a system call that fails and does nothing else."""
    with suppress(OSError):
        os.getpriority(MARK, number)


def mark_call(call: Callable[[], None], index: int) -> Callable[[], None]:
    """Return an engine's own call with a mark before and after it."""

    def marked_call() -> None:
        mark(MARKS * index + CALL)
        call()
        mark(MARKS * index + RETURNED)

    return marked_call


def infer(folder: Path, artefacts: Sequence[str]) -> list[str]:
    """Write each artefact's logits, and the front end's features of the audio; return the engines."""
    audio, features = np.load(folder / AUDIO), np.load(folder / FEATURES)
    engines = []
    for i, path in enumerate(artefacts):
        runtime = open_runtime(path)
        engines.append(runtime.engine)
        (logits,) = stream_logits(runtime, choose_inputs(runtime.contract, [features], [audio]))
        np.save(folder / LOGITS.format(i), logits)
    np.save(folder / COMPUTED_FEATURES, LogMel()(audio))
    return engines


def count(folder: Path, artefacts: Sequence[str]) -> list[str]:
    """Decide DECISIONS times with each artefact, with marks before and after each part; return the engines."""
    audio = np.load(folder / AUDIO)
    engines = []
    for i, path in enumerate(artefacts):
        runtime = open_runtime(path)
        engines.append(runtime.engine)
        size = runtime.contract.signature("step").samples
        steps = [audio[k * size : (k + 1) * size] for k in range(WARM_UP + DECISIONS)]
        _decide(StreamingClassifier(runtime), runtime, steps, MARKS * i)
        # The engine's call is counted in a run of its own: its marks would add to the other counts.
        classifier = StreamingClassifier(runtime)
        (loop,) = classifier.loops
        loop.call = mark_call(loop.call, i)
        _decide(classifier, runtime, steps)
        for _ in range(DECISIONS):
            mark(MARKS * i + NOTHING)
    return engines


def _decide(
    classifier: StreamingClassifier, runtime: Runtime, steps: Sequence[Array], first_mark: int | None = None
) -> None:
    """Push steps of samples through front end and model; after the warm-up, mark both if there is a first mark.

    A front end inside the model is a part of the model.
    """
    contract = runtime.contract
    log_mel = LogMel(contract.front_end) if contract.input == "features" else None
    for k, samples in enumerate(steps):
        number = first_mark if k >= WARM_UP else None
        if number is not None:
            mark(number + BEGIN)
        value = samples if log_mel is None else log_mel.push(samples)
        if number is not None:
            mark(number + FRONT_END_DONE)
        classifier.push_input(value)
        if number is not None:
            mark(number + DECIDED)


ACTIONS = {"infer": infer, "count": count}


def main() -> None:
    """Run one action."""
    action, folder, *artefacts = sys.argv[1:]
    Report.of(ACTIONS[action](Path(folder), artefacts)).write(Path(folder))


if __name__ == "__main__":
    main()
