from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from edge_asc.data.generated import write_scenes
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import FrontEnd
from edge_asc.models import ModelConfig
from edge_asc.models.crnn import CRNN
from edge_asc.training.batches import Examples
from edge_asc.training.compute import Compute, launched
from edge_asc.training.listener import Listener
from edge_asc.training.log import LOG
from edge_asc.training.normalisation import measure_normalisation
from edge_asc.training.objectives import TimeMean
from edge_asc.training.recipe import STAGED
from edge_asc.training.state import STATE
from edge_asc.training.trainer import Trainer

RECIPE = STAGED.override(
    {
        "trunk.epochs": 2,
        "trunk.batch": 6,
        "trunk.crops": 2,
        "trunk.frames": (16, 24),
        "trunk.long_share": 0,
        "head.epochs": 2,
        "head.views": 2,
        "head.frames": (24, 24),
    }
)


def shared_training(rank: int, folder: Path) -> None:
    """What one of two processes does: the gradient it gets is the mean of both, and so the weights stay equal."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    os.environ["TORCHELASTIC_RUN_ID"] = "test"
    os.environ["MASTER_PORT"] = (folder / "port").read_text()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    features = [rng.normal(-9.0, 1.0, (frames, 256)).astype(np.float32) for frames in (40, 24, 32, 40, 11, 28)]
    front_end = measure_normalisation(features, RECIPE, FrontEnd())
    with launched("cpu") as compute:
        assert (compute.rank, compute.ranks, compute.is_main_process) == (rank, 2, rank == 0)
        examples = Examples(features, [0, 1, 0, 1, 0, 1], 2, front_end)
        trainer = Trainer(ModelConfig(classes=2), RECIPE, examples, folder / str(rank), compute=compute)
        trainer._enter(0, Listener())
        generator = torch.Generator().manual_seed(rank)
        x, y = torch.randn(3, 1, 256, 16, generator=generator), torch.eye(2)[torch.tensor([0, 1, rank])]
        gradients = []
        assert isinstance(trainer.model, CRNN)
        for together in (False, True):
            trainer.model.zero_grad()
            shared, trainer.objective = trainer.objective, trainer.objective if together else TimeMean(trainer.model)
            trainer._loss(x, y)[0].backward()
            trainer.objective = shared
            gradients.append([_gradient(p).clone() for p in trainer.optimizers.parameters])
        for mine, mean in zip(*gradients, strict=True):
            distributed.all_reduce(mine)
            torch.testing.assert_close(mean, mine / 2)
        epochs = list(trainer.epochs())
        np.savez(
            folder / f"{rank}.npz",
            loss=[epoch.loss for epoch in epochs],
            **{name: value.detach().numpy() for name, value in trainer.model.named_parameters()},  # type: ignore[arg-type]  # none is allow_pickle
        )


def _gradient(parameter: torch.nn.Parameter) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad


def test_two_processes_learn_the_same_from_their_shares(tmp_path: Path) -> None:
    from socket import socket

    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        (tmp_path / "port").write_text(str(probe.getsockname()[1]))
    multiprocessing.spawn(  # type: ignore[attr-defined]  # public, but not listed
        shared_training, (tmp_path,), nprocs=2
    )
    first, second = (dict(np.load(tmp_path / f"{rank}.npz")) for rank in range(2))
    assert first.keys() == second.keys()
    assert len(first) > 50
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
    assert (tmp_path / "0" / STATE).exists()
    assert not (tmp_path / "1").exists()


def test_torchrun_trains_one_model_with_two_processes(tmp_path: Path) -> None:
    write_scenes(tmp_path / "scenes", 3, seed=0, seconds=1.0)
    settings = ["trunk.batch=10", "frames=[24,24]", "head.views=1", "trunk.long_frames=24", "trunk.long_batch=10"]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command += [str(Path(sys.executable).parent / "edge-asc"), "train", str(tmp_path / "scenes"), "--fold", "1"]
    command += ["--head", "gru"]
    command += [
        "--output",
        str(tmp_path / "model"),
        "--json",
        "--epochs",
        "2",
        *(part for s in settings for part in ("--set", s)),
    ]
    environment = {**os.environ, "EDGE_ASC_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)  # one document: the second process is silent
    assert told["training"]["computed_with"].endswith("cpu, float32, 2 processes")
    assert told["evaluation"]["levels_db"]["0"]["lengths"][0]["count"] == 20
    assert len((tmp_path / "model" / LOG).read_text().splitlines()) == 4  # a header, two epochs and one
    assert not (tmp_path / "model" / STATE).exists()


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(EdgeAscError, match="device 'meta' is not available here"), launched("meta"):
        pass
    with pytest.raises(EdgeAscError, match="expected auto, cpu or cuda"), launched("gpu0"):
        pass
    with pytest.raises(EdgeAscError, match="precision is 'int8'"), launched("cpu", "int8"):  # type: ignore[arg-type]
        pass
    with launched("cpu") as compute:
        assert compute == Compute("cpu", "float32", 0)
        assert str(compute) == "cpu, float32, 1 process"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is an option of glibc")
def test_freed_memory_is_kept() -> None:
    program = (
        "import os, torch\n"
        "from edge_asc.training.compute import keep_freed_memory\n"
        "keep_freed_memory()\n"
        "resident = lambda: int(open('/proc/self/statm').read().split()[1]) * os.sysconf('SC_PAGE_SIZE')\n"
        "x = torch.ones(1 << 26)\n"
        "full = resident()\n"
        "del x\n"
        "print(full - resident())\n"
    )
    returned = int(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
    assert returned < 1 << 26
