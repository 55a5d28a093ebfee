"""Where a training computes: device, precision, loader processes, and its part among processes launched together."""

from __future__ import annotations

import ctypes
import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

import torch
from torch import Tensor, distributed, nn

from edge_asc.errors import EdgeAscError

PATIENCE = timedelta(days=7)

# Parameters of glibc's mallopt(3).
TRIM_THRESHOLD, MMAP_MAX = -1, -4

Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class Compute:
    """How one process of a training computes.

    Attributes:
        device: "cpu" or "cuda:N".
        precision: of matrix products, convolutions and the GRU; weights and losses stay float32.
        num_workers: processes that prepare batches; 0 prepares them where they are trained on.
        rank, ranks: number of this process, and how many share each batch.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    num_workers: int = 0
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise EdgeAscError(f"precision is {self.precision!r}; expected one of {', '.join(get_args(Precision))}")

    @property
    def is_main_process(self) -> bool:
        """Whether this process writes, reports and evaluates."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"{self.device.partition(':')[0]}, {self.precision}, {self.ranks} process{'es' * (self.ranks > 1)}"

    def autocast(self) -> AbstractContextManager[None]:
        """A context that computes in `precision`."""
        kind = torch.device(self.device).type
        dtype: torch.dtype = getattr(torch, self.precision)
        return torch.autocast(kind, dtype, enabled=dtype != torch.float32)

    def share(self, model: nn.Module) -> nn.Module:
        """`model` such that its gradients are the mean over all processes; itself if there is one alone."""
        if self.ranks == 1:
            return model
        on_gpu = torch.device(self.device).type == "cuda"
        # Gradients of merged depthwise kernels have strides of their own; they are copied once more, that is all.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        return nn.parallel.DistributedDataParallel(model, device_ids=[self.device] if on_gpu else None)

    def with_sync_batch_norm(self, model: nn.Module) -> nn.Module:
        """`model` with batch statistics of all processes, where the device can; each has its own on CPUs."""
        if self.ranks == 1 or torch.device(self.device).type != "cuda":
            return model
        shared: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return shared

    def total(self, values: list[float]) -> list[float]:
        """The sum of each value over all processes."""
        if self.ranks == 1:
            return values
        sums: Tensor = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def broadcast(self, model: nn.Module) -> None:
        """Give every process the weights and buffers of the main one."""
        if self.ranks > 1:
            for value in model.state_dict().values():
                distributed.broadcast(value, 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.ranks > 1:
            distributed.barrier()

    @contextmanager
    def main_process_first(self) -> Iterator[None]:
        """A block that the leading process runs alone before the others, which then find what it has left on disk."""
        if not self.is_main_process:
            self.wait()
        yield
        if self.is_main_process:
            self.wait()


def find_device(device: str, number: int = 0) -> str:
    """The device that a name means: "auto" is a GPU where there is one, "cuda" the one of this number.

    Raises:
        EdgeAscError: it is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise EdgeAscError(f"device is {device!r}; expected auto, cpu or cuda") from error
    if chosen.type == "cpu":
        return "cpu"
    index = number if chosen.index is None else chosen.index
    if chosen.type != "cuda" or index >= torch.cuda.device_count():
        raise EdgeAscError(
            f"device {device!r} is not available here; expected cpu, or one of {torch.cuda.device_count()} GPUs"
        )
    return f"cuda:{index}"


def keep_freed_memory() -> None:
    """Make the C library keep freed memory for the next allocation, if it is glibc.

    Each step of a training allocates the same hundreds of megabytes. By default they return to the system every time,
    and the system clears them again: a third of a step of BC-ResNet.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if set_option is not None:
        set_option(MMAP_MAX, 0)
        set_option(TRIM_THRESHOLD, -1)


@contextmanager
def launched(
    device: str = "auto", precision: Precision | Literal["auto"] = "auto", num_workers: int | None = None
) -> Iterator[Compute]:
    """How this process computes, among those that torchrun launched with it, if it did.

    On a CPU the process keeps freed memory from then on.

    Args:
        device: "auto" takes a GPU where there is one: that of this process's number.
        precision: "auto" is float32 on CPUs and, on a GPU, bfloat16, or float16 where it has no bfloat16.
        num_workers: by default none on CPUs and four on a GPU.

    Raises:
        EdgeAscError: a device that is not there.
    """
    together = distributed.is_torchelastic_launched()
    ranks = int(os.environ["WORLD_SIZE"]) if together else 1
    device = find_device(device, int(os.environ["LOCAL_RANK"]) if together else 0)
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(device)
    else:
        keep_freed_memory()
    if precision == "auto":
        on_gpu = "bfloat16" if kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
        chosen: Precision = "float32" if kind == "cpu" else on_gpu  # type: ignore[assignment]
    else:
        chosen = precision
    compute = Compute(device, chosen, (4 if kind == "cuda" else 0) if num_workers is None else num_workers)
    if ranks == 1:
        yield compute
        return
    # The others wait while the leading process computes features, records ranges and evaluates, however long.
    distributed.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Compute(
            compute.device, compute.precision, compute.num_workers, distributed.get_rank(), distributed.get_world_size()
        )
    finally:
        distributed.destroy_process_group()
