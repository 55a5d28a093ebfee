"""Small models with random weights, written in every form that a runtime opens."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edge_asc.contract import Form, InputKind, Signature, StreamContract
from edge_asc.files import sha256
from edge_asc.frontend import Array, FrontEnd
from edge_asc.models import ModelConfig, build
from edge_asc.models.crnn import CNN, CRNN
from edge_asc.provenance import Provenance
from edge_asc.tensors import input_kind
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.builder import attach_gru
from edge_asc_export.calibration import Source, calibrate
from edge_asc_export.format import FORMATS, Written
from edge_asc_export.front_end import attach_front_end
from edge_asc_export.graph import Graph
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

BACKBONES = ("fuse", "bcresnet", "resnet")
LABELS = tuple("abcdefghij")
FRONT_END = FrontEnd().with_normalisation(np.linspace(-5, -9, 256), np.full(256, 0.4))


def sound(seconds: float, seed: int = 0) -> Array:
    """Noise of a level that wanders, (16000 · seconds,)."""
    rng = np.random.default_rng(seed)
    size = int(16000 * seconds)
    level = 0.1 * np.exp(np.sin(np.arange(size) / 3000.0 + seed))
    return (level * rng.normal(size=size)).astype(np.float32)


def clips(count: int = 3, frames: int = 24, seed: int = 0) -> list[Array]:
    """Raw log-mel of noise, a list of (frames, 256)."""
    rng = np.random.default_rng(seed)
    return [rng.normal(-7, 2.5, (frames, 256)).astype(np.float32) for _ in range(count)]


def randomised(seed: int = 0, **options: Any) -> CRNN:
    """A CRNN whose every weight and statistic is random."""
    model = random_model(seed, **options)
    assert isinstance(model, CRNN)
    return model


def random_model(seed: int = 0, **options: Any) -> CRNN | CNN:
    """A model of either kind whose every weight and statistic is random."""
    torch.manual_seed(seed)
    model = build(ModelConfig(**options))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


def checkpoint(form: str = "causal", head: str = "gru", seed: int = 0) -> Checkpoint:
    model = random_model(seed, form=form, head=head, auxiliary=head == "gru")
    return Checkpoint(f"random-{form}", model, FRONT_END, LABELS)


def crnn(found: Checkpoint) -> CRNN:
    """The model of a checkpoint that holds a CRNN."""
    assert isinstance(found.model, CRNN)
    return found.model


def contract(
    signatures: Sequence[Signature], form: Form = "causal", scheme: str = "none", weights: Path | None = None
) -> StreamContract:
    return StreamContract(
        name=f"random-{form}",
        backbone="fuse",
        form=form,
        output="multi",
        labels=LABELS,
        front_end=FRONT_END,
        decision="mean",
        parameters=1,
        macs={},
        scheme=scheme,
        signatures=tuple(signatures),
        input=input_kind(signatures),
        provenance=Provenance(checkpoint_sha256=sha256(weights)) if weights else Provenance(),
    )


@dataclass(frozen=True)
class Artefacts:
    folder: Path
    causal: Checkpoint
    windowed: Checkpoint

    @property
    def steps(self) -> dict[str, Path]:
        """One causal model in every engine, in float."""
        return {
            "torch": self.folder / "checkpoint",
            "onnx": self.folder / "step.onnx",
            "tflite": self.folder / "step.tflite",
        }


def write(folder: Path) -> Artefacts:
    causal, windowed = checkpoint(), checkpoint("windowed")
    causal.save(folder / "checkpoint")
    weights = folder / "checkpoint/weights.safetensors"
    recorded = calibrated(crnn(causal))
    for scheme in ("none", "int8"):
        plan = recorded.with_scheme(SCHEMES[scheme])
        ending = "" if scheme == "none" else f"-{scheme}"
        for suffix in ("onnx", "tflite"):
            write_file(folder / f"step{ending}.{suffix}", [lower_step(crnn(causal))], plan, weights=weights)
    for suffix in ("onnx", "tflite"):
        kinds: tuple[tuple[InputKind, Plan], ...] = (("samples", Plan(SCHEMES["none"])), ("int16", recorded))
        for kind, plan in kinds:
            path = folder / f"step-{kind}.{suffix}"
            write_file(path, [lower_step(crnn(causal))], plan, weights=weights, kind=kind)
    windows = [lower_window(crnn(windowed), seconds, 16000 * seconds // 512) for seconds in (1, 2)]
    gru, plain = lower_gru(crnn(windowed)), Plan(SCHEMES["none"])
    write_file(folder / "window_1s.onnx", [attach_gru(windows[0], gru)], plain, form="windowed")
    write_file(folder / "windows.tflite", [*windows, gru], plain, form="windowed")
    write_file(folder / "windows-samples.tflite", [*windows, gru], plain, form="windowed", kind="samples")
    return Artefacts(folder, causal, windowed)


def write_file(
    path: Path,
    graphs: Sequence[Graph],
    plan: Plan,
    *,
    form: Form = "causal",
    weights: Path | None = None,
    kind: InputKind = "features",
) -> Path:
    """Write lowered graphs as one file, in the format of its suffix."""
    written = lowered_file(path.suffix.removeprefix("."), graphs, plan, kind)
    path.write_bytes(written.finish(contract(written.signatures(512), form, plan.scheme.name, weights)))
    return path


def lowered_file(fmt: str, graphs: Sequence[Graph], plan: Plan, kind: InputKind = "features") -> Written:
    """What a format writes of lowered graphs, without a contract."""
    descriptor = FORMATS.load(fmt)
    lowered = [run_passes(Lowered.of(graph, plan), descriptor.passes) for graph in graphs]
    return descriptor.write([each.with_graph(attach_front_end(each.graph, FRONT_END, kind)) for each in lowered])


def planned(head: str = "gru") -> Checkpoint:
    """A causal checkpoint with its int8 plan."""
    found = checkpoint(head=head)
    return replace(found, quantisation=calibrated(crnn(found)).to_json())


def calibrated(model: CRNN) -> Plan:
    """An int8 plan, recorded on noise."""
    return calibrate(model, FRONT_END, clips(), method="minmax", source=Source("noise"))
