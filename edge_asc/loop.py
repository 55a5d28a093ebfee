"""A stream through one signature, run after run, with its states where the engine wants them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from edge_asc.contract import Signature, TensorSpec, check_tensors
from edge_asc.errors import ContractError

if TYPE_CHECKING:
    from edge_asc.runtime import Runtime, Tensors


class Loop:
    """A stream whose states go out of the engine and come back with every run.

    Engines that can keep states inside have loops of their own. Loops of one runtime do not disturb each other.

    Attributes:
        signature: what is run.
        source, result: its input and its output that are no state.
    """

    def __init__(self, runtime: Runtime, signature: Signature) -> None:
        """Start a stream.

        Raises:
            ContractError: the signature has several inputs or outputs that are no state.
        """
        self._runtime, self.signature = runtime, signature
        self.source = _stateless(signature.inputs, f"{signature.name} input")
        self.result = _stateless(signature.outputs, f"{signature.name} output")
        self._feeds = {spec.name: spec.feeds for spec in signature.outputs if spec.feeds is not None}
        self._initial = {spec.name: spec.initial() for spec in signature.states()}
        self._kinds = {name: signature.input_kinds[name] for name in self._initial}
        self._inputs: Tensors = {}
        self._outputs: Tensors = {}
        self._watched: Callable[[], None] | None = None
        self._prepare()
        self.reset()

    def _prepare(self) -> None:
        """Make what an engine needs to keep states, before they are set."""

    @property
    def call(self) -> Callable[[], None]:
        """The engine's own computation of a run and nothing else; set it to a function around it to time it."""
        # Not bound once: a loop that holds itself would keep the engine's memory after its last user.
        return self._watched or self._run

    @call.setter
    def call(self, call: Callable[[], None]) -> None:
        self._watched = call

    @property
    def state(self) -> Tensors:
        """A copy of the states that the next run starts from; setting it goes back, or on elsewhere.

        Raises:
            ContractError: on setting: a state is missing, unknown, of another shape or type, or not finite; nothing is
                changed.
        """
        return copied(self._state)

    @state.setter
    def state(self, state: Tensors) -> None:
        self._check(state)
        self._state = copied(state)

    def _check(self, state: Tensors) -> None:
        check_tensors(self.signature.name, "state", self._kinds, state)

    def reset(self) -> None:
        """Go back to the start of a stream."""
        self.state = self._initial

    def feed(self, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Run on finite values of the source's own shape and type; the result, which is the caller's."""
        self._inputs = {self.source.name: value, **self._state}
        self.call()
        self._state = {target: self._outputs[name] for name, target in self._feeds.items()}
        return self._outputs[self.result.name]

    def _run(self) -> None:
        self._outputs = self._runtime.run(self.signature.name, self._inputs)


def copied(state: Tensors) -> Tensors:
    """States of their own memory."""
    return {name: value.copy() for name, value in state.items()}


def _stateless(specs: tuple[TensorSpec, ...], what: str) -> TensorSpec:
    found = [spec for spec in specs if spec.role != "state"]
    if len(found) != 1:
        raise ContractError(f"{what}: {len(found)} tensors that are no state; expected one")
    return found[0]
