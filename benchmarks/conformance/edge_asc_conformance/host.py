"""A host: a runtime in some language that streams an artefact, in a process of its own or in this one."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import ClassVar

import msgspec

from edge_asc.errors import MissingExtraError
from edge_asc.registry import Registry

# Folders with the JavaScript of a stream, and that of its measurement.
PAGE = Path(str(files("edge_asc_export"))) / "page"
WEB = Path(str(files("edge_asc_conformance"))) / "web"


@dataclass(frozen=True)
class Task:
    """One artefact to stream.

    Attributes:
        golden: folder of the golden vectors.
        artefact: file, relative to the folder.
        samples: file, relative to the folder, float32.
        rounds: number of times to stream them.
        modules: folder node_modules.
    """

    golden: Path
    artefact: str
    samples: str
    rounds: int
    modules: Path


class Event(msgspec.Struct, frozen=True):
    """One change of an event: it was confirmed (`end` is None) or has ended; times in s."""

    label: str
    start: float
    end: float | None
    peak: float


class Inference(msgspec.Struct, frozen=True):
    """Results of a host.

    Attributes:
        logits, probabilities: (steps, classes), probabilities by the contract's rule for streams.
        answers: index of the label to report after each step.
        events: in their order.
        milliseconds: of each step of each round, with the decision rules in the host's language.
    """

    logits: list[list[float]]
    probabilities: list[list[float]]
    answers: list[int]
    events: list[Event]
    milliseconds: list[float]


class Host(ABC):
    """A runtime in a language. A module of a host loads without the host's packages."""

    title: ClassVar[str]
    """Name and language, such as "onnxruntime-node"."""
    suffix: ClassVar[str]
    """Of the artefacts that it runs."""
    reference: ClassVar[bool] = False
    """Whether the other hosts of this suffix are compared with this one."""

    unsupported: ClassVar[Mapping[str, str]] = {}
    """Why the host cannot run artefacts of a scheme, by the scheme's name."""

    @abstractmethod
    def version(self, modules: Path) -> str:
        """Return the installed version.

        Raises:
            MissingExtraError: something that the host needs is not installed.
        """

    @abstractmethod
    def infer(self, task: Task) -> Inference:
        """Stream the samples.

        Raises:
            EdgeAscError: the host failed.
        """


HOSTS: Registry[type[Host]] = Registry("edge_asc.hosts", type, "HOST", "host")


def python_version(distribution: str, extra: str) -> str:
    """Return the version of an installed distribution.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return version(distribution)
    except PackageNotFoundError as error:
        raise MissingExtraError(
            f"{distribution} is not installed; install it with: pip install 'edge-asc[{extra}]'"
        ) from error


def npm_version(package: str, modules: Path) -> str:
    """Return the version of an installed npm package.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return str(json.loads((modules / package / "package.json").read_text(encoding="utf-8"))["version"])
    except OSError as error:
        raise MissingExtraError(
            f"{package} is not in {modules}; install it with: npm ci --prefix {modules.parent}"
        ) from error
