from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from msgspec import structs

from edge_asc.frontend import FrontEnd
from edge_asc.models import ModelConfig, build
from edge_asc.models.crnn import CRNN
from edge_asc.training.compute import Compute
from edge_asc.training.recipe import PAPER, STAGED
from edge_asc.training.validation import Validation

FRONT_END = FrontEnd().with_normalisation(np.full(256, -9.0), np.ones(256))


def clips() -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.normal(-9.0, 1.0, (frames, 256)).astype(np.float32) for frames in (40, 43, 16, 5)]


@pytest.mark.parametrize(
    "options", [{}, {"head": "linear"}, {"head": "gap", "form": "windowed"}, {"output": "single"}], ids=str
)
def test_accuracy_is_that_of_whole_clips(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = build(ModelConfig(classes=4, **options)).train()
    stage = PAPER.stages[0]
    right = []
    for clip in clips():
        x = torch.from_numpy(clip[np.arange(max(8, len(clip) // 8 * 8)) % len(clip)] + 9.0).clamp(-4, 4).T[None, None]
        with torch.no_grad():
            model.eval()
            out = model(x)
            model.train()
        if options.get("head") == "gap":
            right.append(int(out.argmax()))
        elif options.get("output") == "single":
            right.append(int(out.logits[0, -1].argmax()))
        else:
            right.append(int(torch.log_softmax(out.logits, 2).mean(1).argmax()))
    assert Validation(clips(), right, FRONT_END, selects=True).evaluate(model, stage, Compute()) == 1.0
    wrong = [(each + 1) % 4 for each in right]
    mixed = [*right[:2], *wrong[2:]]
    assert Validation(clips(), mixed, FRONT_END, selects=True).evaluate(model, stage, Compute()) == 0.5
    assert model.training  # as it was


def test_a_stage_of_the_trunk_is_judged_by_the_auxiliary_layer() -> None:
    torch.manual_seed(0)
    model = build(ModelConfig(classes=4)).eval()
    x = torch.from_numpy(clips()[0] + 9.0).clamp(-4, 4).T[None, None]
    with torch.no_grad():
        assert isinstance(model, CRNN)
        assert model.auxiliary is not None
        target = int(model.auxiliary(model.embed(x)).mean(1).argmax())
    checks = Validation(clips()[:1], [target], FRONT_END, selects=False)
    assert checks.evaluate(model, STAGED.stages[0], Compute()) == 1.0


def test_evaluations_are_a_dozen_and_the_last() -> None:
    checks = Validation(clips(), [0, 1, 2, 3], FRONT_END, selects=True)
    stage = structs.replace(STAGED.stages[0], epochs=125)
    due = [epoch for epoch in range(1, 126) if checks.is_due(epoch, stage)]
    assert len(due) == 13
    assert due[-1] == 125
    assert all(checks.is_due(epoch, structs.replace(stage, epochs=5)) for epoch in range(1, 6))
    patient = structs.replace(stage, patience=3)
    assert all(checks.is_due(epoch, patient) for epoch in range(1, 126))


def test_digest_depends_on_clips_targets_and_use() -> None:
    base = Validation(clips(), [0, 1, 2, 3], FRONT_END, selects=True)
    same = Validation(clips(), [0, 1, 2, 3], FRONT_END, selects=True)
    others = [
        Validation(clips(), [0, 1, 2, 2], FRONT_END, selects=True),
        Validation(clips()[::-1], [0, 1, 2, 3], FRONT_END, selects=True),
        Validation(clips(), [0, 1, 2, 3], FRONT_END, selects=False),
    ]
    assert base.digest == same.digest
    assert len({base.digest, *(each.digest for each in others)}) == 4
