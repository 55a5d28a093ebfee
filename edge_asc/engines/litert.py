"""Runs TFLite artefacts in LiteRT, or in an older interpreter where LiteRT is not installed."""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from threading import Lock
from typing import Any, TypedDict
from weakref import ref

import numpy as np

from edge_asc.contract import AnyArray, Signature, Tensors
from edge_asc.engine import Engine, Substitute, has_suffix
from edge_asc.errors import ContractError, MissingExtraError, require
from edge_asc.loop import Loop, copy_tensors
from edge_asc.native import drop_lines
from edge_asc.runtime import Kind, Runtime, check_inputs, check_interface, read_tflite_contract
from edge_asc.seal import check_seal

Run = Callable[[Mapping[str, AnyArray]], Tensors]

# Packages that also hold an interpreter.
SUBSTITUTES = (
    Substitute(
        distribution="tflite-runtime",
        module="tflite_runtime",
        # Measured with 2.14.0 on the pretrained models: docs/quantisation-results.md.
        loss="it does not accelerate int8 models with XNNPACK, so that a step takes 2.5 to 5 times as long, and it "
        "rounds differently: of 100 int8 decisions, one to six are others than in LiteRT, with logits up to 0.7 apart",
    ),
    Substitute(
        distribution="tensorflow",
        module="tensorflow",
        loss="it takes ten times the memory, and is slower to start",
    ),
)


# What the interpreter prints on stderr when it allocates; it has no setting that keeps it quiet.
ROUTINE = ("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", "INFO: Initialized TensorFlow Lite runtime.")


class _Detail(TypedDict):
    """The interpreter's description of a tensor."""

    index: int
    shape: AnyArray
    dtype: type[np.generic]


class LiteRTRuntime(Runtime):
    """A TFLite artefact and its signatures."""

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        """Load `path` for `threads` threads.

        Raises:
            ContractError: not a TFLite file, a damaged one, without a contract, or with tensors that its
                contract does not describe.
            MissingExtraError: no TFLite interpreter is installed.
        """
        path = Path(path)
        self.engine, interpreter = _interpreter()
        data = path.read_bytes()
        self.contract = read_tflite_contract(path, data)
        self._interpreter = interpreter(model_content=data, num_threads=threads)
        known = self._interpreter.get_signature_list()
        for signature in self.contract.signatures:
            if signature.name not in known:
                raise ContractError(
                    f"{path}: no signature {signature.name} in the file; it is damaged: export it again"
                )
        # The interpreter holds the tensors of a run, so that streams in several threads must alternate.
        self._lock = Lock()
        # The loop whose states are in the interpreter, unless it was deleted.
        self._resident: ref[_ResidentLoop] | None = None
        self._memory: Tensors = {}
        self._runs: dict[str, Run] = {}
        with drop_lines(*ROUTINE):
            for signature in self.contract.signatures:
                self._runs[signature.name] = self._open_signature(path, signature)

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute a signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        check_inputs(self.contract, signature, inputs)
        with self._lock:
            self._admit(None)
            return self._runs[signature](inputs)

    def loop(self, signature: str) -> Loop:
        """Start a stream through a signature; in a file of one signature, states stay in the interpreter."""
        spec = self.contract.signature(signature)
        return _ResidentLoop(self, spec) if self._memory else _RunnerLoop(self, spec)

    @property
    def resident(self) -> _ResidentLoop | None:
        """The loop whose states are in the interpreter; None where no living loop has its states there."""
        return None if self._resident is None else self._resident()

    def _admit(self, loop: _ResidentLoop | None) -> None:
        """Put a loop's states into the interpreter, after those of the loop before it have been saved."""
        before = self.resident
        if before is not None and before is loop:
            return
        if before is not None:
            before.save()
        self._resident = None
        if loop is not None:
            loop.restore()
            self._resident = ref(loop)

    def _open_signature(self, path: Path, signature: Signature) -> Run:
        runner = self._interpreter.get_signature_runner(signature.name)
        inputs, outputs = runner.get_input_details(), runner.get_output_details()
        check_interface(path, signature, _tensors(inputs), _tensors(outputs))
        if len(self.contract.signatures) > 1:
            return _run_through(runner)
        # A file of one signature has it in the main subgraph, where the plain interface spares the
        # reallocation that a runner does at every call. A live runner would forbid it to allocate.
        del runner
        self._interpreter.allocate_tensors()
        indices = {k: v["index"] for k, v in (inputs | outputs).items()}
        self._memory = {name: self._view(index) for name, index in indices.items()}
        return self._set_and_invoke({k: indices[k] for k in inputs}, {k: indices[k] for k in outputs})

    def _view(self, index: int) -> AnyArray:
        """Return a tensor in the interpreter's memory, which stays in place until tensors are allocated again.

        The view is made from the address: the interpreter refuses to run while a view that it handed out exists.
        """
        tensor = self._interpreter.tensor(index)()
        memory = (ctypes.c_char * tensor.nbytes).from_address(tensor.ctypes.data)
        return np.frombuffer(memory, tensor.dtype).reshape(tensor.shape)

    def _set_and_invoke(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Run:
        interpreter = self._interpreter

        def run(values: Mapping[str, AnyArray]) -> Tensors:
            for name, value in values.items():
                interpreter.set_tensor(inputs[name], value)
            interpreter.invoke()
            return {name: interpreter.get_tensor(index) for name, index in outputs.items()}

        return run


class _LockedLoop(Loop):
    """A loop that runs alone: all streams of a runtime share one interpreter."""

    _runtime: LiteRTRuntime

    def feed(self, value: AnyArray) -> AnyArray:
        """Run once, while no other stream uses the interpreter."""
        with self._runtime._lock:
            return super().feed(value)


class _ResidentLoop(_LockedLoop):
    """States that stay in the interpreter as long as nothing else is run there."""

    def _prepare(self) -> None:
        memory = self._runtime._memory
        self._value, self._result = memory[self.source.name], memory[self.result.name]
        self._resident = {spec.name: memory[spec.name] for spec in self.signature.states()}
        self._fed = [(memory[target], memory[name]) for name, target in self._feeds.items()]
        self.call = self._runtime._interpreter.invoke

    @property
    def state(self) -> Tensors:
        """A copy of the states that the next run starts from."""
        with self._runtime._lock:
            if self._runtime.resident is self:
                self.save()
            return copy_tensors(self._state)

    @state.setter
    def state(self, state: Tensors) -> None:
        self._check(state)
        with self._runtime._lock:
            self._state = copy_tensors(state)
            if self._runtime.resident is self:
                self.restore()

    def save(self) -> None:
        """Copy the states out of the interpreter."""
        self._state = copy_tensors(self._resident)

    def restore(self) -> None:
        """Copy the states into the interpreter."""
        for name, value in self._resident.items():
            value[...] = self._state[name]

    def _step(self, value: AnyArray) -> AnyArray:
        self._runtime._admit(self)
        self._value[...] = value
        self.call()
        for target, fed in self._fed:
            target[...] = fed
        return self._result.copy()

    def _peek(self) -> Tensors:
        return self._resident


class _RunnerLoop(_LockedLoop):
    """States that pass through the runner of a signature, in a file with several signatures."""

    def _run(self) -> None:
        self._outputs = self._runtime._runs[self.signature.name](self._inputs)


def _run_through(runner: Any) -> Run:
    return lambda values: dict(runner(**values))


def _tensors(details: Mapping[str, _Detail]) -> dict[str, Kind]:
    return {k: (tuple(int(s) for s in v["shape"]), np.dtype(v["dtype"]).name) for k, v in details.items()}


@cache
def _interpreter() -> tuple[str, Any]:
    """Return the best installed engine with its version, and its Interpreter class; warn, once, of an older one."""
    try:
        module = require("ai_edge_litert.interpreter", "tflite")
    except MissingExtraError:
        older = _older_interpreter()
        if older is None:
            raise
        return older
    return f"litert {import_module('ai_edge_litert').__version__}", module.Interpreter


def _older_interpreter() -> tuple[str, Any] | None:
    for substitute in SUBSTITUTES:
        package = substitute.module
        try:
            module = _interpreter_module(package)
        except ModuleNotFoundError:
            continue
        interpreter, loss = module.Interpreter, substitute.loss
        engine = f"{package} {import_module(package).__version__}"
        warnings.warn(
            f"running TFLite in {engine}, since ai-edge-litert is not installed: {loss}; "
            "install it with: pip install 'edge-asc[tflite]'",
            stacklevel=4,
        )
        return engine, interpreter
    return None


def _interpreter_module(package: str) -> Any:
    """Import the module of a substitute that holds the class Interpreter."""
    if package == "tensorflow":
        return import_module(package).lite  # loaded on access; there is no module of this name to import
    return import_module(f"{package}.interpreter")


ENGINE = Engine(
    name="litert",
    title="LiteRT",
    accepts=has_suffix(".tflite"),
    open=LiteRTRuntime,
    distribution="ai-edge-litert",
    module="ai_edge_litert",
    extra="tflite",
    suffixes=(".tflite",),
    substitutes=SUBSTITUTES,
    verify=check_seal,
    preference=2,
    preload=("ai_edge_litert.interpreter",),
)
