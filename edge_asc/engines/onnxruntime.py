"""Runs ONNX artefacts in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edge_asc.contract import METADATA_KEY, AnyArray, Tensors
from edge_asc.engine import Engine, has_suffix
from edge_asc.errors import ContractError, require
from edge_asc.loop import Loop, copy_tensors
from edge_asc.runtime import Kind, Runtime, check_inputs, check_interface, read_contract
from edge_asc.seal import check_seal

TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(int16)": "int16",
}


class OnnxRuntime(Runtime):
    """An ONNX artefact: one signature, in onnxruntime on the CPU."""

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        """Load `path` for `threads` threads.

        Raises:
            ContractError: no contract in it, or tensors that its contract does not describe.
            MissingExtraError: onnxruntime is not installed.
        """
        path = Path(path)
        onnxruntime = require("onnxruntime", "onnx")
        self.engine = f"onnxruntime {onnxruntime.__version__}"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        for kind in ("intra", "inter"):
            # Threads that wait for the next step by spinning would keep their cores busy between decisions.
            options.add_session_config_entry(f"session.{kind}_op.allow_spinning", "0")
        # Bytes, since the file may have a name that onnxruntime does not take.
        self._session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
        self.contract = read_contract(path, self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY))
        names = [signature.name for signature in self.contract.signatures]
        if len(names) != 1:
            raise ContractError(
                f"{path}: an ONNX file holds one signature, its contract lists {names}; export it again"
            )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        check_interface(path, self.contract.signatures[0], _tensors(inputs), _tensors(outputs))
        self._outputs = [node.name for node in outputs]

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute the signature: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        check_inputs(self.contract, signature, inputs)
        return dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))

    def loop(self, signature: str) -> Loop:
        """Start a stream through the signature; its states are bound to the session and never copied."""
        return _BoundLoop(self, self.contract.signature(signature))


class _BoundLoop(Loop):
    """Two sets of memory for the states, which alternate as input and output."""

    _runtime: OnnxRuntime

    def _prepare(self) -> None:
        self._value, self._result = self.source.empty(), self.result.empty()
        self._sets = [{spec.name: spec.empty() for spec in self.signature.states()} for _ in range(2)]
        self._runs = [self._bind(*sets) for sets in (self._sets, self._sets[::-1])]
        self._turn = 0

    def _bind(self, before: Tensors, after: Tensors) -> Callable[[], None]:
        session = self._runtime._session
        binding = session.io_binding()
        inputs = {self.source.name: self._value, **before}
        outputs = {self.result.name: self._result, **{name: after[fed] for name, fed in self._feeds.items()}}
        for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, value in tensors.items():
                bind(name, "cpu", 0, value.dtype, value.shape, value.ctypes.data)
        return partial(session.run_with_iobinding, binding)

    @property
    def state(self) -> Tensors:
        """A copy of the states that the next run starts from."""
        return copy_tensors(self._sets[self._turn])

    @state.setter
    def state(self, state: Tensors) -> None:
        self._check(state)
        for name, value in self._sets[self._turn].items():
            value[...] = state[name]

    def _step(self, value: AnyArray) -> AnyArray:
        self._value[...] = value
        self.call()
        self._turn ^= 1
        return self._result.copy()

    def _peek(self) -> Tensors:
        return self._sets[self._turn]

    def _run(self) -> None:
        self._runs[self._turn]()


def _tensors(nodes: list[Any]) -> dict[str, Kind]:
    return {node.name: (tuple(node.shape), TYPES.get(node.type, node.type)) for node in nodes}


ENGINE = Engine(
    name="onnxruntime",
    title="ONNX Runtime",
    accepts=has_suffix(".onnx"),
    open=OnnxRuntime,
    distribution="onnxruntime",
    module="onnxruntime",
    extra="onnx",
    suffixes=(".onnx",),
    verify=check_seal,
    preference=1,
)
