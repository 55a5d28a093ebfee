"""ONNX Runtime in Node."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import msgspec

from edge_asc.errors import EdgeAscError, MissingExtraError
from edge_asc_conformance.host import PAGE, WEB, Host, Inference, Task, npm_version

TIMEOUT = 300.0  # s


class NodeHost(Host):
    """Node with the npm package onnxruntime-node, which holds the engine as native code."""

    title, suffix = "onnxruntime-node", ".onnx"

    def version(self, modules: Path) -> str:
        """Return the version of onnxruntime-node."""
        if shutil.which("node") is None:
            raise MissingExtraError("node is not installed; install Node.js 18 or later")
        return npm_version("onnxruntime-node", modules)

    def infer(self, task: Task) -> Inference:
        """Stream the samples in a process of Node."""
        files = (PAGE, task.modules.resolve(), task.golden / task.artefact, task.golden / task.samples)
        command = ["node", str(WEB / "node.js"), *map(str, files), str(task.rounds)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        except subprocess.TimeoutExpired as error:
            raise EdgeAscError(f"node did not end within {TIMEOUT:g} s; try again on an idle machine") from error
        if done.returncode:
            raise EdgeAscError(f"node failed with exit code {done.returncode}: {done.stderr.strip()[-500:]}")
        return msgspec.json.decode(done.stdout, type=Inference)


HOST = NodeHost
