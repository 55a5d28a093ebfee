from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from artefacts import BACKBONES, checkpoint, crnn, randomised, write_file
from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc_export.builder import Builder, attach_gru
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import GRU, Concat, Slice
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation


def features(frames: int, streams: int = 2, seed: int = 0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(0, 1.5, (streams, 1, 256, frames))
    return torch.from_numpy(values.astype(np.float32)).clamp(-4, 4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_step_streams_to_the_logits_of_one_pass(backbone: str) -> None:
    model, x = randomised(backbone=backbone), features(40)
    with torch.inference_mode():
        whole = model(x).logits
    streamed = Simulation(lower_step(model)).stream(x)
    assert whole.std() > 1e-3
    torch.testing.assert_close(streamed, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("frames", [31, 62])
def test_a_window_gives_the_models_embeddings(backbone: str, frames: int) -> None:
    model, x = randomised(backbone=backbone, form="windowed"), features(frames)
    found = Simulation(lower_window(model, frames // 31, frames))({"features": x})
    with torch.inference_mode():
        torch.testing.assert_close(found["embeddings"], model.embed(x), rtol=0, atol=1e-5)


def test_a_window_with_its_gru_gives_the_same_as_its_parts() -> None:
    model = randomised(form="windowed")
    joined = attach_gru(lower_window(model, 1, 31), lower_gru(model))
    assert [port.name for port in joined.outputs] == ["logits", "hidden_0_next", "hidden_1_next"]
    assert joined.shapes["logits"] == (4, 10)
    x = features(31, 1)
    with torch.inference_mode():
        expected = model(x)
        rows = model.embed(x)
    gru = Simulation(lower_gru(model))
    state = gru.initial(1)
    for i in range(rows.shape[1]):
        outputs = gru({"embedding": rows[:, i : i + 1], **state})
        state = {port.feeds: outputs[port.name] for port in gru.graph.outputs if port.feeds}
        torch.testing.assert_close(outputs["logits"][:, 0], expected.logits[:, i], rtol=0, atol=1e-6)
    torch.testing.assert_close(state["hidden_1"][:, 0], expected.hidden[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("backbone", "macs"), [("fuse", 2_932_128), ("resnet", 22_438_760)])
def test_the_cost_is_that_of_the_model(backbone: str, macs: int) -> None:
    assert lower_step(randomised(backbone=backbone)).macs() == macs


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_cache_is_fed_by_its_own_last_columns(backbone: str) -> None:
    model = randomised(backbone=backbone)
    graph = lower_step(model)
    pairs = {source.name: target for source, target in graph.states()}
    assert set(pairs) == set(model.initial_state())
    for name, state in model.initial_state().items():
        shape = graph.shapes[name]
        assert graph.shapes[pairs[name].tensor] == shape
        assert state.numel() == np.prod(shape)
    slices = {node.output: node for node in graph.nodes if isinstance(node, Slice)}
    joined = {node.output: node for node in graph.nodes if isinstance(node, Concat)}
    for name, target in pairs.items():
        if name.startswith("cache"):
            assert name in joined[slices[target.tensor].input].parts


def test_expansion_leaves_no_gru_and_needs_one_row() -> None:
    graph = lower_step(randomised())
    assert sum(isinstance(node, GRU) for node in graph.nodes) == 2
    assert not any(isinstance(node, GRU) for node in expand_gru(graph).nodes)
    windowed = randomised(form="windowed")
    window = attach_gru(lower_window(windowed, 1, 31), lower_gru(windowed))
    with pytest.raises(ExportError, match="one row only"):
        expand_gru(window)


def test_a_form_that_a_model_has_not_is_refused() -> None:
    with pytest.raises(ExportError, match="has no step"):
        lower_step(randomised(form="windowed"))
    with pytest.raises(ExportError, match="streams in steps"):
        lower_window(crnn(checkpoint()), 1, 31)
    with pytest.raises(ExportError, match="ResNorm has no export form"):
        lower_window(randomised(backbone="bcresnet", form="windowed", res_norm=True), 1, 31)


class Gate(torch.nn.Module):
    """A layer that the export does not know: x · tanh(s · x + t), with its own export form."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.linspace(0.5, 1.5, channels).view(1, -1, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.tanh(self.scale * x + 0.25)

    def lower(self, builder: Builder, name: str, x: str) -> str:
        channels = builder.shape(x)[2]
        scale = builder.constant(f"{name}_scale", self.scale.detach().numpy().reshape(1, 1, channels))
        shift = builder.constant(f"{name}_shift", np.full((1, 1, 1), 0.25, np.float32))
        shifted = builder.add(f"{name}_shifted", builder.multiply(f"{name}_scaled", x, scale), shift)
        return builder.multiply(name, x, builder.tanh(f"{name}_tanh", shifted))


class Gated(torch.nn.Module):
    """A backbone of known layers and one of its own."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.backbone, self.gate = backbone, Gate(backbone.channels)

    def forward(self, x: torch.Tensor, caches: Any = None) -> Any:
        return self.gate(self.backbone(x, caches))


@pytest.mark.parametrize("fmt", FORMATS.names())
def test_a_new_layer_brings_its_export_form(fmt: str, tmp_path: Path) -> None:
    model, x = randomised(), features(40, 1)
    model.backbone = Gated(model.backbone)  # type: ignore[assignment]  # it has what the export asks for
    with torch.inference_mode():
        whole = model(x).logits[0].numpy()
    graph = lower_step(model)
    path = write_file(tmp_path / f"step.{fmt}", [graph], Plan(SCHEMES["none"]))
    runtime = open_runtime(path)
    state = {spec.name: spec.initial() for spec in runtime.contract.signature("step").states()}
    logits = []
    shape = runtime.contract.signature("step").input("features").shape
    for step in range(5):
        frames = x[0, 0, :, 8 * step : 8 * step + 8].numpy().T.reshape(shape)
        outputs = runtime.run("step", {"features": np.ascontiguousarray(frames), **state})
        logits.append(outputs["logits"][0])
        feeds = {s.name: s.feeds for s in runtime.contract.signature("step").outputs if s.feeds}
        state = {target: outputs[name] for name, target in feeds.items()}
    np.testing.assert_allclose(np.stack(logits), whole, rtol=0, atol=1e-5)


def test_a_layer_without_an_export_form_is_named() -> None:
    model: Any = randomised()
    model.backbone.body[0] = torch.nn.Hardtanh()
    with pytest.raises(ExportError, match="a Hardtanh has no export form; give it a method lower"):
        lower_step(model)
