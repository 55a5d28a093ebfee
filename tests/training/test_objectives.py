from __future__ import annotations

import pytest
import torch
from msgspec import structs
from torch.nn import functional as F

from edge_asc.models import ModelConfig, build
from edge_asc.models.crnn import CRNN, Output
from edge_asc.training.objectives import (
    Head,
    LinearHead,
    TimeMean,
    build_objective,
    cross_entropy,
    head_loss,
    running_posterior,
    smooth,
    streams_loss,
)
from edge_asc.training.recipe import PAPER, STAGED

TRUNK, HEAD = STAGED.stages


def trained(model: torch.nn.Module) -> set[str]:
    return {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}


def test_each_stage_has_gradients_for_its_part() -> None:
    model = build(ModelConfig(classes=3))
    assert isinstance(build_objective(model, TRUNK), TimeMean)
    assert trained(model) == {"backbone", "embedding", "auxiliary"}
    assert isinstance(build_objective(model, HEAD), Head)
    assert trained(model) == {"gru", "output"}
    assert build_objective(model, PAPER.stages[0]) is model
    assert trained(model) == {"backbone", "embedding", "auxiliary", "gru", "output"}
    linear = build(ModelConfig(classes=3, head="linear"))
    build_objective(linear, TRUNK)
    assert trained(linear) == {"backbone", "embedding", "output"}
    assert isinstance(build_objective(linear, HEAD), LinearHead)
    assert trained(linear) == {"output"}


def test_rows_that_are_kept_do_not_change() -> None:
    model = build(ModelConfig(classes=3, head="linear"))
    assert isinstance(model, CRNN)
    before = model.output.weight.detach().clone()
    head = LinearHead(model, kept=[0, 2])
    with torch.no_grad():
        for parameter in model.output.parameters():
            parameter.add_(1.0)
    head.restore()
    assert torch.equal(model.output.weight[[0, 2]], before[[0, 2]])
    assert not torch.equal(model.output.weight[1], before[1])
    x = torch.randn(2, 5, 108)
    torch.testing.assert_close(head.eval()(x), model.output(x).mean(1))


@pytest.mark.parametrize("head", ["gru", "linear"])
def test_the_logits_of_a_crop_are_the_time_mean(head: str) -> None:
    torch.manual_seed(0)
    model = build(ModelConfig(classes=3, head=head)).eval()  # type: ignore[arg-type]
    x = torch.randn(2, 1, 256, 24)
    assert isinstance(model, CRNN)
    layer = model.output if head == "linear" else model.auxiliary
    assert layer is not None
    torch.testing.assert_close(TimeMean(model)(x), layer(model.embed(x)).mean(1))


def test_losses_of_the_paper() -> None:
    torch.manual_seed(0)
    logits, auxiliary = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    target = F.one_hot(torch.tensor([0, 2]), 3).float()
    output = Output(logits, auxiliary, torch.empty(0))
    main = torch.stack([F.cross_entropy(logits[:, step], target) for step in range(5)]).mean()
    binary = F.binary_cross_entropy_with_logits(auxiliary, target[:, None].expand(2, 5, 3))
    torch.testing.assert_close(streams_loss(output, target, False, 1.0), main + binary)
    torch.testing.assert_close(streams_loss(output, target, False, 0.5), main + 0.5 * binary)
    last = F.cross_entropy(logits[:, -1], target)
    torch.testing.assert_close(streams_loss(output._replace(auxiliary=None), target, True, 1.0), last)


def test_weights_weigh_crops() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(2, 3), torch.eye(3)[:2]
    each = F.cross_entropy(logits, target, reduction="none")
    torch.testing.assert_close(cross_entropy(logits, target, None), each.mean())
    torch.testing.assert_close(cross_entropy(logits, target, torch.tensor([2.0, 0.0])), each[0])
    steps = torch.stack([logits, logits], 1)
    torch.testing.assert_close(cross_entropy(steps, target[:, None], torch.tensor([2.0, 0.0])), each[0])
    one = Output(steps, None, torch.empty(0))
    torch.testing.assert_close(streams_loss(one, target, False, 1.0, torch.tensor([2.0, 0.0])), each[0])


def test_running_posterior_is_that_of_the_mean_so_far() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 3)
    posterior = running_posterior(logits)
    torch.testing.assert_close(posterior[:, 0], F.softmax(logits[:, 0], 1))
    torch.testing.assert_close(posterior[:, 3], F.softmax(F.log_softmax(logits, 2).mean(1), 1))


def test_a_head_learns_from_label_and_posterior() -> None:
    torch.manual_seed(0)
    logits, auxiliary, target = torch.randn(2, 4, 3), torch.randn(2, 4, 3), torch.eye(3)[:2]
    output = Output(logits, auxiliary, torch.empty(0))
    label, teacher = structs.replace(HEAD, posterior_weight=0.0), structs.replace(HEAD, posterior_weight=1.0)
    by_label = head_loss(output, target, label, False, None)
    by_teacher = head_loss(output, target, teacher, False, None)
    torch.testing.assert_close(by_label, cross_entropy(logits, target[:, None], None))
    torch.testing.assert_close(by_teacher, cross_entropy(logits, running_posterior(auxiliary), None))
    torch.testing.assert_close(head_loss(output, target, HEAD, False, None), 0.5 * (by_label + by_teacher))
    new = Output(logits, auxiliary.requires_grad_(), torch.empty(0))
    extra = cross_entropy(auxiliary.mean(1), target, None)
    torch.testing.assert_close(head_loss(new, target, label, False, None), by_label + extra)


def test_smoothing() -> None:
    assert smooth(torch.eye(2), 0.0).tolist() == [[1, 0], [0, 1]]
    torch.testing.assert_close(smooth(torch.eye(2), 0.1), torch.tensor([[0.95, 0.05], [0.05, 0.95]]))
