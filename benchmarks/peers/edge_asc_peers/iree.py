"""IREE, from the ONNX artefact, compiled for this processor. It has no quantiser of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from edge_asc.contract import StreamContract
from edge_asc.errors import EdgeAscError, require
from edge_asc.runtime import Tensors
from edge_asc_peers.peer import Peer, Source
from edge_asc_peers.tool import run_tool

MODEL = "model.vmfb"
TARGET = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
)


class Iree(Peer):
    """IREE's virtual machine, in one thread."""

    name, package, reads_onnx = "iree", "iree-base-compiler", True

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Import the artefact and compile it."""
        imported = folder / "model.mlir"
        run_tool("iree-import-onnx", str(source.onnx), "-o", str(imported))
        run_tool("iree-compile", str(imported), "-o", str(folder / MODEL), *TARGET)
        imported.unlink()
        return source.contract

    def open(self) -> None:
        """Load the module.

        Raises:
            EdgeAscError: more threads than one are asked for.
        """
        if self.threads != 1:
            raise EdgeAscError(f"iree: computes in one thread here; not in {self.threads}")
        self._runtime = runtime = require("iree.runtime", "peers")
        self._config = runtime.Config("local-sync")
        context = runtime.SystemContext(config=self._config)
        context.add_vm_module(runtime.VmModule.mmap(context.instance, str(self.path / MODEL)))
        module = dict(context.modules)["module"]
        # The importer names it after the graph of the ONNX file.
        names = [name for name in (self.signature.name, "main_graph") if name in module.vm_module.function_names]
        self._function = module[names[0]]
        self._given: list[Any] = []
        self._found: tuple[Any, ...] = ()

    def put(self, values: Mapping[str, npt.NDArray[Any]]) -> None:
        """Copy them to the device's memory."""
        place = self._runtime.asdevicearray
        self._given = [place(self._config.device, values[spec.name]) for spec in self.signature.inputs]

    def compute(self) -> None:
        """Call the function."""
        self._found = self._function(*self._given)

    def take(self) -> Tensors:
        """Copy them from the device's memory."""
        pairs = zip(self.signature.outputs, self._found, strict=True)
        return {spec.name: value.to_host().copy() for spec, value in pairs}
