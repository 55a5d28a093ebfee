"""IREE, from the ONNX artefact, compiled for this processor. IREE has no quantiser of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_asc.contract import StreamContract
from edge_asc.errors import EdgeAscError, require
from edge_asc.runtime import Tensors
from edge_asc.tool import find_script, run_tool
from edge_asc_peers.peer import Peer, Source

MODEL = "model.vmfb"
TARGET = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
    "--iree-opt-level=O3",
)


class Iree(Peer):
    """IREE's virtual machine, in one thread."""

    name, distribution, reads_onnx = "iree", "iree-base-compiler", True

    @classmethod
    def convert(cls, source: Source, folder: Path, scheme: str) -> StreamContract:
        """Import the ONNX file and compile it."""
        imported, failure = folder / "model.mlir", "iree: the model cannot be converted"
        run_tool([find_script("iree-import-onnx"), source.onnx, "-o", imported], failure)
        run_tool([find_script("iree-compile"), imported, "-o", folder / MODEL, *TARGET], failure)
        imported.unlink()
        return source.contract

    def open(self) -> None:
        """Load the module.

        Raises:
            EdgeAscError: more than one thread.
        """
        if self.threads != 1:
            raise EdgeAscError(f"iree: got {self.threads} threads; expected 1, which is all that this peer uses")
        self._runtime = runtime = require("iree.runtime", "peers")
        self._config = runtime.Config("local-sync")
        context = runtime.SystemContext(config=self._config)
        context.add_vm_module(runtime.VmModule.mmap(context.instance, str(self.path / MODEL)))
        module = dict(context.modules)["module"]
        # The importer names it after the graph of the ONNX file.
        names = [name for name in (self.signature.name, "main_graph") if name in module.vm_module.function_names]
        self._function = module[names[0]]
        self._inputs: list[object] = []
        self._outputs: tuple[Any, ...] = ()

    def put(self, inputs: Tensors) -> None:
        """Copy the inputs to the device's memory."""
        to_device = self._runtime.asdevicearray
        self._inputs = [to_device(self._config.device, inputs[spec.name]) for spec in self.signature.inputs]

    def compute(self) -> None:
        """Call the function."""
        self._outputs = self._function(*self._inputs)

    def take(self) -> Tensors:
        """Copy the outputs from the device's memory."""
        pairs = zip(self.signature.outputs, self._outputs, strict=True)
        return {spec.name: array.to_host().copy() for spec, array in pairs}


PEER = Iree
