"""A recording: the inputs of every step of a stream, states included, as quantisers calibrate on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from edge_asc.engine import open_runtime
from edge_asc.frontend import Array
from edge_asc.runtime import Tensors
from edge_asc.streaming import Stream


@dataclass(frozen=True)
class Recording:
    """The inputs of each step of a float artefact on some clips.

    States are inputs of a step. They are those that the float model has at this step of the clip; every clip starts
    from a reset.

    Attributes:
        artefact: float artefact with a signature "step".
        features: raw log-mel of each clip, (frames, mels); frames behind the last whole step are left out.
    """

    artefact: Path
    features: tuple[Array, ...]

    def count_steps(self) -> int:
        """Return the number of steps, which no model computes."""
        size = open_runtime(self.artefact).contract.signature("step").frames
        return sum(len(clip) // size for clip in self.features)

    def __iter__(self) -> Iterator[Tensors]:
        """Yield the inputs of each step by name, clip after clip; they are computed anew at each iteration."""
        runtime = open_runtime(self.artefact)
        size = runtime.contract.signature("step").frames
        for clip in self.features:
            stream = Stream(runtime, "step")
            for begin in range(0, len(clip) - size + 1, size):
                frames = clip[begin : begin + size]
                yield {stream.loop.source.name: stream.to_layout(frames), **stream.loop.state}
                stream.feed(frames)

    def shuffle(self) -> tuple[Tensors, ...]:
        """Return all steps in a random but fixed order.

        Some quantisers average the ranges of successive steps. In the order of the clips, the last clip would decide.
        """
        steps = list(self)
        Random(0).shuffle(steps)
        return tuple(steps)
