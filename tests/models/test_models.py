from __future__ import annotations

from itertools import pairwise
from typing import Any, TypeVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edge_asc.errors import EdgeAscError
from edge_asc.models import CNN, CRNN, ModelConfig, build
from edge_asc.models.backbones.bcresnet import BCResNet
from edge_asc.models.backbones.fuse import Module
from edge_asc.models.layers import Caches, MelMean, ResNorm, SeparableConv, StreamConv, SubSpectralNorm

torch.set_num_threads(1)  # the models are too small to share, and the machine may be busy

BACKBONES = ("resnet", "bcresnet", "fuse")


ModuleT = TypeVar("ModuleT", bound=nn.Module)


def lively(model: ModuleT) -> ModuleT:
    """`model` in evaluation mode with normalisations that do something."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0.0, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0.0, 0.2)
    return model.eval()


@pytest.fixture(scope="module", params=BACKBONES)
def model(request: pytest.FixtureRequest) -> CRNN:
    torch.manual_seed(3)
    return lively(CRNN(ModelConfig(backbone=request.param)))


def frames(count: int, batch: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(batch, 1, 256, count, generator=torch.Generator().manual_seed(seed))


def run(model: CRNN, features: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(features).logits
    return logits


def stream(model: CRNN, chunks: list[Tensor]) -> Tensor:
    state, logits = model.initial_state(len(chunks[0])), []
    with torch.no_grad():
        for chunk in chunks:
            y, state = model.step(chunk, state)
            logits.append(y)
    return torch.cat(logits, dim=1)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize(
    ("backbone", "cnn", "printed_cnn", "crnn", "printed_crnn", "deployed"),
    [
        ("resnet", 127_458, 127.5, 136_844, 136.8, 136_194),
        ("bcresnet", 129_985, 130.0, 154_865, 154.9, 153_605),
        ("fuse", 130_578, 130.6, 147_800, 147.8, 146_710),
    ],
)
@pytest.mark.parametrize("form", ["causal", "windowed"])
def test_parameter_counts_of_the_paper(
    backbone: str, cnn: int, printed_cnn: float, crnn: int, printed_crnn: float, deployed: int, form: Any
) -> None:
    config = {"backbone": backbone, "form": form}
    counts = [
        parameters(build(ModelConfig(**config, head="gap"))),
        parameters(build(ModelConfig(**config))),
        parameters(build(ModelConfig(**config, auxiliary=False))),
    ]
    assert counts == [cnn, crnn, deployed]
    assert [round(count / 1000, 1) for count in counts[:2]] == [printed_cnn, printed_crnn]


def test_bcresnet_of_kim_et_al_lacks_the_last_norm() -> None:
    backbone = BCResNet("windowed", width=1.6)
    count = parameters(backbone) + parameters(nn.Conv2d(backbone.channels, 10, 1))
    assert count == 315_370
    assert count - parameters(backbone.norm) == 314_970
    assert parameters(backbone.norm) == 2 * 200


def test_build_gives_what_the_configuration_says() -> None:
    assert isinstance(build(ModelConfig()), CRNN)
    cnn = build(ModelConfig(head="gap", classes=7, form="windowed")).eval()
    assert isinstance(cnn, CNN)
    with torch.no_grad():
        assert cnn(frames(40, batch=2)).shape == (2, 7)
    config = ModelConfig(backbone="bcresnet", form="windowed", res_norm=True, dropout=0.1)
    assert ModelConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"backbone": "vgg"}, "got backbone 'vgg'; expected one of: bcresnet, fuse, resnet"),
        ({"form": "online"}, "causal, windowed"),
        ({"head": "lstm"}, "gru, linear, gap"),
        ({"output": "all"}, "multi, single"),
        ({"res_norm": True}, "backbone fuse has no option res_norm; leave it out"),
    ],
)
def test_bad_configuration(values: dict[str, Any], message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        ModelConfig(**values)


def test_res_norm_has_no_causal_form() -> None:
    with pytest.raises(EdgeAscError, match="statistics span the whole clip"):
        build(ModelConfig(backbone="bcresnet", form="causal", res_norm=True))
    build(ModelConfig(backbone="bcresnet", form="windowed", res_norm=True))


def test_mel_mean() -> None:
    x = torch.randn(2, 3, 8, 5)
    torch.testing.assert_close(MelMean()(x), x.sum(2, keepdim=True) / 8)


@pytest.mark.parametrize("training", [True, False])
def test_sub_spectral_norm_is_batch_norm_of_bands(training: bool) -> None:
    torch.manual_seed(0)
    norm: SubSpectralNorm = lively(SubSpectralNorm(6, bands=4)).train(training)
    reference = nn.BatchNorm2d(24).train(training)
    reference.load_state_dict(norm.norm.state_dict())
    for _ in range(2):
        x = torch.randn(3, 6, 16, 5) * 2 + 1
        expected = reference(x.reshape(3, 24, 4, 5)).reshape(3, 6, 16, 5)
        torch.testing.assert_close(norm(x), expected)
    for mine, theirs in zip(norm.norm.state_dict().values(), reference.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_res_norm() -> None:
    x = torch.randn(2, 3, 4, 5, dtype=torch.double) * 3 + 1
    found = ResNorm(0.1, 1e-5)(x)
    for b in range(2):
        for f in range(4):
            row = x[b, :, f]
            expected = 0.1 * row + (row - row.mean()) / (((row - row.mean()) ** 2).mean() + 1e-5).sqrt()
            torch.testing.assert_close(found[b, :, f], expected)


@pytest.mark.parametrize("form", ["causal", "windowed"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1)])
def test_a_separable_convolution_is_one_over_mel_and_one_over_time(form: Any, stride: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = SeparableConv(10, (3, 3), stride, form=form)
    mel = StreamConv((10, 10), (3, 1), (stride[0], 1), groups=10, form=form)
    time = StreamConv((10, 10), (1, 3), (1, stride[1]), groups=10, form=form)
    mel.conv.weight, time.conv.weight = conv.mel.weight, conv.conv.weight
    x = torch.randn(2, 10, 16, 24, requires_grad=True)
    sources = (x, conv.mel.weight, conv.conv.weight)
    merged, separate = conv(x), time(mel(x))
    assert conv.time_padding == time.time_padding
    torch.testing.assert_close(merged, separate, atol=1e-5, rtol=1e-4)
    weight = torch.randn_like(merged)
    for mine, theirs in zip(
        torch.autograd.grad((merged * weight).sum(), sources),
        torch.autograd.grad((separate * weight).sum(), sources),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("form", ["causal", "windowed"])
def test_strided_pointwise_convolution_in_training(form: Any) -> None:
    """The backward pass of the plain strided form has crashed; both must give the same columns and gradients."""
    torch.manual_seed(0)
    layer = StreamConv((8, 16), (1, 1), (2, 2), form=form)
    x = torch.randn(4, 8, 64, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    y = layer.train()(x)
    torch.testing.assert_close(y, layer.eval()(x))
    y.sum().backward()
    assert x.grad is not None
    expected = layer.conv.weight.sum(0)[:, 0, 0].view(1, 8, 1, 1).expand(4, 8, 32, 8)
    torch.testing.assert_close(x.grad[:, :, ::2, ::2], expected)
    assert not x.grad[:, :, 1::2].any()


def test_fuse_takes_the_weights_of_older_checkpoints() -> None:
    torch.manual_seed(0)
    module = Module(6, 10, (2, 2), "causal").eval()
    weights = module.state_dict()
    older = {name.replace("time.mel.weight", "mel.conv.weight"): value for name, value in weights.items()}
    assert "mel.conv.weight" in older
    other = Module(6, 10, (2, 2), "causal").eval()
    other.load_state_dict(older)
    x = torch.randn(2, 6, 16, 24)
    torch.testing.assert_close(other(x), module(x), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((5, 5), (1, 1)),
        ((5, 5), (2, 2)),
        ((5, 5), (4, 2)),
        ((3, 3), (1, 1)),
        ((3, 3), (2, 2)),
        ((1, 3), (1, 1)),
        ((1, 3), (1, 2)),
        ((3, 1), (2, 1)),
        ((1, 1), (2, 2)),
    ],
)
def test_convolution_in_chunks(kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    torch.manual_seed(0)
    conv = StreamConv((3, 4), kernel, stride, form="causal", bias=True)
    conv.cache_name = "cache"
    x = torch.randn(2, 3, 16, 32)
    with torch.no_grad():
        whole = conv(x)
        assert whole.shape == (2, 4, 16 // stride[0], 32 // stride[1])
        columns = {"cache": torch.zeros(2, 3, 16, conv.cached_columns)}
        parts = []
        for begin, end in pairwise((0, 2, 4, 16, 24, 32)):
            caches = Caches(columns)
            parts.append(conv(x[..., begin:end], caches))
            columns = {**columns, **caches.next}
        other = torch.cat((x[..., :16], torch.randn(2, 3, 16, 16)), dim=3)  # another future
        past = slice(0, 16 // stride[1])
        torch.testing.assert_close(conv(other)[..., past], whole[..., past], atol=1e-6, rtol=1e-5)
    assert conv.cached_columns == max(0, kernel[1] - stride[1])
    torch.testing.assert_close(torch.cat(parts, dim=3), whole, atol=1e-6, rtol=1e-5)


def test_windowed_convolution_is_padded_alike() -> None:
    torch.manual_seed(0)
    conv = StreamConv((3, 4), (5, 5), (4, 2), form="windowed")
    reference = nn.Conv2d(3, 4, (5, 5), (4, 2), padding=2, bias=False)
    reference.load_state_dict(conv.conv.state_dict())
    x = torch.randn(1, 3, 16, 31)
    torch.testing.assert_close(conv(x), reference(x))
    assert conv.cached_columns == 0


def test_prefixes_equal_the_whole(model: CRNN) -> None:
    x = frames(56)
    whole = run(model, x)
    assert whole.shape == (1, 7, 10)
    assert whole.std() > 1e-3
    for steps in range(1, 8):
        torch.testing.assert_close(run(model, x[..., : 8 * steps]), whole[:, :steps], atol=1e-5, rtol=0)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=5), st.integers(0, 9))
def test_any_chunking_equals_one_pass(model: CRNN, sizes: list[int], seed: int) -> None:
    x = frames(8 * sum(sizes), seed=seed)
    streamed = stream(model, list(x.split([8 * size for size in sizes], dim=3)))
    torch.testing.assert_close(streamed, run(model, x), atol=1e-5, rtol=0)


def test_fresh_state_gives_the_same_bits(model: CRNN) -> None:
    chunks = list(frames(32).split(8, dim=3))
    first = stream(model, chunks)
    stream(model, list(frames(16, seed=5).split(8, dim=3)))
    assert torch.equal(stream(model, chunks), first)


def test_steps_leave_the_state_they_start_from(model: CRNN) -> None:
    state = model.initial_state()
    with torch.no_grad():
        _, state = model.step(frames(8), state)
        before = {name: value.clone() for name, value in state.items()}
        first, after = model.step(frames(8, seed=1), state)
        again, _ = model.step(frames(8, seed=1), state)
    assert torch.equal(first, again)
    assert all(torch.equal(value, before[name]) for name, value in state.items())
    assert {name: value.shape for name, value in after.items()} == {n: v.shape for n, v in before.items()}
    assert any(not torch.equal(value, before[name]) for name, value in after.items())


def test_streams_of_a_batch_are_independent(model: CRNN) -> None:
    x = frames(24, batch=2)
    both = stream(model, list(x.split(8, dim=3)))
    assert not torch.allclose(both[0], both[1])
    for i in range(2):
        alone = stream(model, list(x[i : i + 1].split(8, dim=3)))
        torch.testing.assert_close(both[i : i + 1], alone, atol=1e-5, rtol=0)


def test_hidden_state_goes_in_and_comes_out(model: CRNN) -> None:
    x = frames(32)
    with torch.no_grad():
        half = model(x[..., :16])
        embeddings = model.embed(x)
        y, _ = model.gru(embeddings[:, 2:], half.hidden)
        torch.testing.assert_close(model.output(y), run(model, x)[:, 2:], atol=1e-5, rtol=0)
        assert not torch.allclose(model(x[..., :16], half.hidden).logits, half.logits)


@pytest.mark.parametrize("count", [0, 7, 12])
def test_wrong_number_of_frames(count: int) -> None:
    model = CRNN(ModelConfig()).eval()
    with pytest.raises(EdgeAscError, match=f"got {count} frames; expected a positive multiple of 8"):
        model.step(frames(count), model.initial_state())


def test_windowed_model_has_no_steps() -> None:
    with pytest.raises(EdgeAscError, match="form='causal'"):
        CRNN(ModelConfig(form="windowed")).initial_state()


def test_state_of_a_training_model_leaves_it_in_training() -> None:
    model = CRNN(ModelConfig()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = model.initial_state(3)
    assert model.training
    assert all(value.shape[0] == 3 for value in state.values())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_dropout_and_auxiliary_stream_are_for_training() -> None:
    torch.manual_seed(0)
    model = CRNN(ModelConfig(dropout=0.5)).train()
    x = frames(16, batch=2)
    output = model(x)
    assert output.auxiliary is not None
    assert output.auxiliary.shape == output.logits.shape == (2, 2, 10)
    assert not torch.equal(model(x).logits, output.logits)
    model.eval()
    assert torch.equal(run(model, x), run(model, x))
    plain = CRNN(ModelConfig(auxiliary=False)).eval()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("auxiliary.")})
    assert plain(x).auxiliary is None
    assert torch.equal(run(plain, x), run(model, x))


def test_bands_are_normalised_alike_by_the_norm_that_processes_share() -> None:
    """In evaluation it runs anywhere, and its statistics tell whether the bands are in their places."""
    torch.manual_seed(0)
    norm = SubSpectralNorm(6)
    assert norm.norm.running_mean is not None
    assert norm.norm.running_var is not None
    norm.norm.running_mean.normal_()
    norm.norm.running_var.uniform_(0.5, 2)
    torch.nn.init.normal_(norm.norm.weight)
    x = torch.randn(2, 6, 16, 5)
    expected = norm.eval()(x)
    shared = torch.nn.SyncBatchNorm.convert_sync_batchnorm(norm)
    assert isinstance(shared.norm, torch.nn.SyncBatchNorm)
    torch.testing.assert_close(shared(x), expected)
