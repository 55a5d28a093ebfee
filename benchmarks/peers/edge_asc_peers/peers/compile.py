"""`torch.compile` with its default backend, which needs a C++ compiler."""

from __future__ import annotations

import shutil
from typing import cast

from edge_asc.errors import MissingExtraError
from edge_asc_peers.peers.eager import Eager


class Compiled(Eager):
    """PyTorch, compiled by its inductor."""

    name = "compile"

    @classmethod
    def installed_version(cls) -> str:
        """Return the version of PyTorch.

        Raises:
            MissingExtraError: PyTorch or a C++ compiler is not installed.
        """
        if not shutil.which("g++"):
            raise MissingExtraError("compile: g++ is not installed, and torch.compile needs it; run: apt install g++")
        return super().installed_version()

    def open(self) -> None:
        """Load the checkpoint and compile it."""
        import torch

        super().open()
        self._module = cast(torch.nn.Module, torch.compile(self._module, dynamic=False))


PEER = Compiled
