"""A stream through one signature, step after step, with its states where the engine keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from edge_asc.contract import AnyArray, Signature, Tensors, TensorSpec, check_tensors
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.tensors import check_values


class Runner(Protocol):
    """Anything that computes a signature once, such as a `Runtime`."""

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute a signature: outputs by name, for inputs by name."""
        ...


class Loop:
    """A stream whose states leave the engine and return to it with every run.

    Engines that can keep states inside have loops of their own. Loops of one runtime do not disturb each other.

    Attributes:
        signature: the computation of one run.
        source, result: its one input and its one output that are not states.
    """

    def __init__(self, runtime: Runner, signature: Signature) -> None:
        """Start a stream.

        Raises:
            ContractError: the signature has several inputs or outputs that are not states.
        """
        self._runtime, self.signature = runtime, signature
        self.source = _stateless(signature.inputs, f"{signature.name} input")
        self.result = _stateless(signature.outputs, f"{signature.name} output")
        self._feeds = {spec.name: spec.feeds for spec in signature.outputs if spec.feeds is not None}
        self._initial = {spec.name: spec.initial() for spec in signature.states()}
        self._kinds = {name: signature.input_kinds[name] for name in self._initial}
        self._inputs: Tensors = {}
        self._outputs: Tensors = {}
        self._wrapped: Callable[[], None] | None = None
        self._prepare()
        self.reset()

    def _prepare(self) -> None:
        """Allocate the memory in which an engine keeps states, before they are set."""

    @property
    def call(self) -> Callable[[], None]:
        """The engine's own computation of one run and nothing else; set a function around it to time it."""
        # Not bound once: a loop that holds itself would keep the engine's memory after its last user.
        return self._wrapped or self._run

    @call.setter
    def call(self, call: Callable[[], None]) -> None:
        self._wrapped = call

    @property
    def state(self) -> Tensors:
        """A copy of the states that the next run starts from; setting them continues from another point.

        Raises:
            ContractError: on setting: a state is missing, unknown, of another shape or type, or not finite; nothing is
                changed.
        """
        return copy_tensors(self._state)

    @state.setter
    def state(self, state: Tensors) -> None:
        self._check(state)
        self._state = copy_tensors(state)

    def _check(self, state: Tensors) -> None:
        check_tensors(self.signature.name, "state", self._kinds, state)

    def reset(self) -> None:
        """Go back to the start of a stream."""
        self.state = self._initial

    def feed(self, value: AnyArray) -> AnyArray:
        """Run once on finite values of the source's shape and type; return the result, which the caller owns.

        Raises:
            ContractError: the engine failed, or the result or a state for the next run is not finite or beyond
                ±LARGEST; the stream must be reset.
        """
        try:
            result = self._step(value)
        except EdgeAscError:
            raise
        except Exception as error:  # engines have errors of many kinds, and no common one
            raise ContractError(
                f"{self.signature.name}: the engine failed ({error}); the file may be damaged"
            ) from error
        check_values(f"{self.signature.name}: output {self.result.name}", result)
        for name, state in self._peek().items():
            check_values(f"{self.signature.name}: state {name}", state)
        return result

    def _step(self, value: AnyArray) -> AnyArray:
        """Run once, and keep the states for the next run."""
        self._inputs = {self.source.name: value, **self._state}
        self.call()
        self._state = {target: self._outputs[name] for name, target in self._feeds.items()}
        return self._outputs[self.result.name]

    def _peek(self) -> Tensors:
        """Return the states that the next run starts from, as they are and not copied."""
        return self._state

    def _run(self) -> None:
        self._outputs = self._runtime.run(self.signature.name, self._inputs)


def copy_tensors(state: Tensors) -> Tensors:
    """Return copies in new memory."""
    return {name: value.copy() for name, value in state.items()}


def _stateless(specs: tuple[TensorSpec, ...], where: str) -> TensorSpec:
    stateless = [spec for spec in specs if spec.role != "state"]
    if len(stateless) != 1:
        raise ContractError(f"{where}: got {len(stateless)} tensors that are not states; expected one")
    return stateless[0]
