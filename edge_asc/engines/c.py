"""Runs C artefacts: compiles the file with the compiler of this machine, and calls it.

The compiled file is kept in the folder of caches. Its name depends on the source without its contract, on the compiler
and on its flags. To compile and to load a file runs what is in it: open only files from where you would take a program.
The digest in the contract is compared before (see `edge_asc.seal`), which detects damage; it is not a signature.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edge_asc.cachefolder import default_cache
from edge_asc.contract import METADATA_KEY, AnyArray, StreamContract, Tensors
from edge_asc.engine import Engine, has_suffix
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.files import atomic_path
from edge_asc.frontend import Array
from edge_asc.loop import Loop
from edge_asc.runtime import Runtime, check_inputs, read_contract
from edge_asc.seal import check_seal
from edge_asc.tool import run_tool

CONTRACT = re.compile(rb"^/\* " + METADATA_KEY.encode() + rb"\n(\{.*\}) *\n\*/$", re.MULTILINE)
FLAGS = ("-std=c99", "-O3", "-fPIC", "-shared", "-DEDGE_ASC_SHARED")
NATIVE = "-mcpu=native" if platform.machine() in ("aarch64", "arm64") else "-march=native"
VERSION = re.compile(r'#define __VERSION__ "(.*)"')
ADVICE = "install gcc or clang, or name a C compiler in the variable CC"
# Longest time of a compiler, s.
TIMEOUT = 600.0


class CRuntime(Runtime):
    """The step of a C artefact, compiled."""

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        """Compile `path`, unless that was done before; computation takes one thread.

        Raises:
            ContractError: no contract in the file, or states that are not those of its contract.
            EdgeAscError: the compiler is missing or fails.
        """
        path = Path(path)
        data = path.read_bytes()
        self.contract = read_c_contract(path, data)
        (self.signature,) = self.contract.signatures
        compiler = find_compiler()
        self.engine = compiler.title
        # A library whose calls hold the interpreter's lock: all streams of a file share its scratch memory.
        self._library = ctypes.PyDLL(str(compile_shared(path, data, compiler)))
        self._states = [spec for spec in self.signature.inputs if spec.role == "state"]
        needed = sum(np.dtype(spec.dtype).itemsize * int(np.prod(spec.shape)) for spec in self._states)
        self._library.edge_asc_state_bytes.restype = ctypes.c_size_t
        size = int(self._library.edge_asc_state_bytes())
        if not needed <= size <= needed + 64:
            raise ContractError(
                f"{path}: the file has {size} bytes of states, its contract {needed}: it is damaged; export it again"
            )
        self._size = size
        self._step = self._library.edge_asc_step
        self._step.argtypes, self._step.restype = [ctypes.c_void_p] * 3, None

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute the step: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        check_inputs(self.contract, signature, inputs)
        loop = _CLoop(self, self.contract.signature(signature))
        loop.write(inputs)
        result = loop.step(inputs[loop.source.name])
        fed = {spec.feeds: spec.name for spec in self.signature.outputs if spec.feeds is not None}
        states = {fed[name]: value.copy() for name, value in loop.views.items()}
        return {loop.result.name: result, **states}

    def loop(self, signature: str) -> Loop:
        """Start a stream through the step; its states stay in the memory that the C code updates."""
        return _CLoop(self, self.contract.signature(signature))

    def listen(self, samples: npt.NDArray[np.int16]) -> Array:
        """Return the logits of the last step of some samples, (classes,), from a new stream through the C front end.

        Raises:
            ContractError: they are fewer than those of a step.
        """
        logits = np.empty(len(self.contract.labels), np.float32)
        samples = np.ascontiguousarray(samples, np.int16)
        listen = self._library.edge_asc_listen
        listen.argtypes, listen.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p], ctypes.c_int
        if listen(samples.ctypes.data, len(samples), logits.ctypes.data) < 1:
            raise ContractError(
                f"got {len(samples)} samples; expected {self.signature.samples} or more, those of a step"
            )
        return logits

    def state_views(self, memory: AnyArray) -> Tensors:
        """Return the states in the memory of a structure, in the order of the contract."""
        views, offset = {}, 0
        for spec in self._states:
            dtype = np.dtype(spec.dtype)
            offset = -(-offset // dtype.itemsize) * dtype.itemsize
            size = dtype.itemsize * int(np.prod(spec.shape))
            views[spec.name] = memory[offset : offset + size].view(dtype).reshape(spec.shape)
            offset += size
        return views


class _CLoop(Loop):
    """States in one structure, which every run updates."""

    _runtime: CRuntime

    def _prepare(self) -> None:
        runtime = self._runtime
        self._memory = np.zeros(runtime._size + 64, np.uint8)
        aligned = -self._memory.ctypes.data % 64
        self._memory = self._memory[aligned : aligned + runtime._size]
        self.views = runtime.state_views(self._memory)
        self._value, self._logits = self.source.empty(), self.result.empty()
        self._arguments = [array.ctypes.data for array in (self._memory, self._value, self._logits)]
        step, arguments = runtime._step, tuple(self._arguments)
        self.call = lambda: step(*arguments)

    @property
    def state(self) -> Tensors:
        """A copy of the states that the next run starts from."""
        return {name: value.copy() for name, value in self.views.items()}

    @state.setter
    def state(self, state: Tensors) -> None:
        self._check(state)
        self.write(state)

    def write(self, state: Mapping[str, AnyArray]) -> None:
        """Set the states."""
        for name, view in self.views.items():
            view[...] = state[name]

    def step(self, value: AnyArray) -> AnyArray:
        """Run once."""
        return self._step(value)

    def _step(self, value: AnyArray) -> AnyArray:
        self._value[...] = value
        self.call()
        return self._logits.copy()

    def _peek(self) -> Tensors:
        return self.views


class Compiler:
    """A C compiler and the flags that it takes here.

    Attributes:
        command: the program and the flags.
        macros: what it defines with them, which names it, its version and the processor.
        title: of the engine, with the compiler's version.
    """

    def __init__(self, command: tuple[str, ...], macros: str) -> None:
        self.command, self.macros = command, macros
        version = VERSION.search(macros)
        name = "clang" if "__clang__" in macros else Path(command[0]).name
        self.title = f"c {name} {_number(version[1]) if version else 'unknown'}"


def _number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)*", text)
    return found[0] if found else text


def find_compiler() -> Compiler:
    """Return the compiler that $CC names, else `cc`.

    Raises:
        EdgeAscError: there is none, or it does not work.
    """
    return _find_compiler(os.environ.get("CC", "").strip() or "cc")


@cache
def _find_compiler(name: str) -> Compiler:
    if sys.platform == "win32":
        raise EdgeAscError("C artefacts are compiled with gcc or clang, which edge-asc does not look for on Windows")
    failure = f"the C compiler {name!r} does not work; {ADVICE}"
    words = tuple(shlex.split(name))
    for flags in ((*FLAGS, NATIVE), FLAGS):
        try:
            macros = run_tool([*words, *flags, "-dM", "-E", "-x", "c", os.devnull], failure, timeout=TIMEOUT)
        except EdgeAscError:
            if flags == FLAGS:
                raise
            continue
        return Compiler((*words, *flags), macros)
    raise AssertionError


def read_c_contract(path: Path, data: bytes) -> StreamContract:
    """Return the contract in the C file at `path`, whose content is `data`.

    Raises:
        ContractError: there is none, or a damaged one, or one without a step alone.
    """
    found = CONTRACT.search(data)
    contract = read_contract(path, found[1] if found else None)
    if [signature.name for signature in contract.signatures] != ["step"]:
        raise ContractError(f"{path}: a C file holds the step of a causal model; export it again")
    return contract


def compile_shared(path: Path, data: bytes, compiler: Compiler) -> Path:
    """Return the shared library of a C file, compiled now or before.

    Raises:
        EdgeAscError: the compiler fails.
        OutputError: the folder of caches cannot be written.
    """
    code = CONTRACT.sub(b"", data)
    key = hashlib.sha256("\0".join([*compiler.command, compiler.macros]).encode() + b"\0" + code).hexdigest()
    library = default_cache() / "c" / f"{key}.so"
    if not library.is_file():
        with atomic_path(library, 0o755) as temporary:
            run_tool(
                [*compiler.command, "-x", "c", path.resolve(), "-o", temporary],
                f"{path}: cannot be compiled; the file may be damaged: export it again",
                whole_output=True,
                timeout=TIMEOUT,
            )
    return library


ENGINE = Engine(
    name="c",
    title="C",
    accepts=has_suffix(".c"),
    open=CRuntime,
    distribution="edge-asc",
    module="ctypes",
    suffixes=(".c",),
    verify=check_seal,
    preference=-1,
)
