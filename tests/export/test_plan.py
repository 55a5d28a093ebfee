import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artefacts import BACKBONES, FRONT_END, calibrated, randomised
from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc.models.crnn import CRNN
from edge_asc.quantisation import asymmetric
from edge_asc_export.graph import Concat, MaxPool, Reshape, Slice
from edge_asc_export.lowering import lower_step
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import Plan, SharedRange, digest
from edge_asc_export.scheme import SCHEMES, Scheme, find_scheme


@pytest.fixture(scope="module", params=BACKBONES)
def planned(request: pytest.FixtureRequest) -> tuple[CRNN, Plan]:
    model = randomised(backbone=request.param)
    return model, calibrated(model)


def test_every_tensor_has_qparams_and_what_shares_integers_shares_it(planned: tuple[CRNN, Plan]) -> None:
    model, plan = planned
    graph = expand_gru(equalise_by_plan(lower_step(model), plan))
    plan.check(graph, digest(model))
    scaled = {"features", *graph.constants, "input_norm_scaled"} if graph.constants else set()
    assert set(plan.qparams) == set(graph.shapes) - scaled - {"logits"}
    for node in graph.nodes:
        if isinstance(node, Concat | Slice | MaxPool | Reshape):
            assert {plan.qparams[name] for name in node.inputs} == {plan.qparams[node.output]}
    for source, target in graph.states():
        assert plan.qparams[source.tensor] == plan.qparams[target.tensor]
    assert plan.qparams["hidden_0"] == Affine(1 / 128, 0)
    assert plan.qparams["gru_0_gates"] == Affine(1 / 256, -128)
    if not scaled:
        assert plan.qparams["features"] == asymmetric(-4.0, 4.0)


def test_16_bits_are_symmetric_and_gates_have_the_scale_of_their_kernels(planned: tuple[CRNN, Plan]) -> None:
    qparams = planned[1].with_scheme(SCHEMES["int16x8"]).qparams
    assert {each.zero_point for each in qparams.values()} == {0}
    assert qparams["gru_0_gates"] == qparams["gru_0_new"] == qparams["hidden_1"] == Affine(2.0**-15, 0)
    if "features" in qparams:
        assert qparams["features"].scale == pytest.approx(4 / 32767)


def test_float_tensors_take_along_what_shares_their_integers(planned: tuple[CRNN, Plan]) -> None:
    model, plan = planned
    cache = next(port.tensor for port in lower_step(model).inputs if port.name.startswith("cache"))
    shared = next(found.tensors for found in plan.ranges if cache in found.tensors)
    assert len(shared) > 2
    qparams = plan.with_scheme(Scheme("mixed", "int8", "int8", (cache, "logits"))).qparams
    assert qparams.keys() == plan.qparams.keys() - set(shared)


def test_a_plan_survives_json(planned: tuple[CRNN, Plan]) -> None:
    plan = planned[1]
    back = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert back == plan
    assert back.qparams == plan.qparams


def test_no_ranges_are_no_plan_for_integers() -> None:
    plan = Plan.from_json({})
    assert plan.with_scheme(SCHEMES["int8-dynamic"]).qparams == {}
    with pytest.raises(ExportError, match="int8 needs activation ranges, and the checkpoint holds none"):
        plan.with_scheme(SCHEMES["int8"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 1}, "schema version 1; expected 2"),
        ({"ranges": [{"tensors": ["a"], "low": 0.5, "high": 1.0, "fixed": False}]}, "around zero"),
        ({"ranges": [{"tensors": ["a"], "low": float("nan"), "high": 1.0, "fixed": False}]}, "malformed"),
        ({"ranges": [{"tensors": ["a"]}]}, "malformed"),
        ({"equalisation": 3}, "malformed"),
        ({"scheme": {"name": "x", "weights": "int3"}}, "weights is 'int3'"),
    ],
)
def test_a_damaged_plan_is_refused(
    planned: tuple[CRNN, Plan],
    change: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(ExportError, match=message):
        Plan.from_json({**planned[1].to_json(), **change})


def test_a_plan_of_another_model_is_refused(planned: tuple[CRNN, Plan]) -> None:
    model, plan = planned
    graph = expand_gru(lower_step(model))
    with pytest.raises(ExportError, match="belongs to other weights"):
        plan.check(graph, digest(randomised(1, backbone=model.config.backbone)))
    with pytest.raises(ExportError, match=r"no activation range for .*another model"):
        replace(plan, ranges=plan.ranges[1:]).check(graph, digest(model))
    other = lower_step(randomised(backbone="resnet" if model.config.backbone == "fuse" else "fuse"))
    with pytest.raises(ExportError, match="belongs to another model"):
        equalise_by_plan(other, replace(plan, equalisation=plan.equalisation[1:]))


def test_ranges_that_part_what_shares_integers_are_refused(planned: tuple[CRNN, Plan]) -> None:
    model, plan = planned
    index = next(i for i, r in enumerate(plan.ranges) if len(r.tensors) > 1 and not r.fixed)
    shared = plan.ranges[index]
    parts = (replace(shared, tensors=shared.tensors[:1]), replace(shared, tensors=shared.tensors[1:], high=99.0))
    torn = replace(plan, ranges=(*plan.ranges[:index], *parts, *plan.ranges[index + 1 :]))
    with pytest.raises(ExportError, match="share their integers, but not their range"):
        torn.check(expand_gru(lower_step(model)), digest(model))


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_survive_json_and_files(name: str, tmp_path: Path) -> None:
    scheme = SCHEMES[name]
    assert Scheme.from_json(json.loads(json.dumps(scheme.to_json()))) == scheme == find_scheme(name)
    (tmp_path / "mine.json").write_text(json.dumps({**scheme.to_json(), "name": "mine"}))
    assert find_scheme(str(tmp_path / "mine.json")) == replace(scheme, name="mine")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int8", "not JSON"),
        ("[]", "expected an object with a name"),
        ('{"name": "x", "activation": "int8"}', "unknown scheme field activation"),
        ('{"name": "x", "weights": "int8"}', "int8 weights with float32 activations; expected"),
        ('{"name": "x/y"}', "expected letters, digits and dashes"),
        ('{"name": "x", "real": "gru"}', "expected a list of tensor names"),
        ('{"name": "x", "real": ["gru"]}', "activations are float32 anyway"),
    ],
)
def test_bad_schemes(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(ExportError, match=message):
        find_scheme(str(tmp_path / "mine.json"))
    with pytest.raises(ExportError, match=r"no such scheme; expected none, fp16"):
        find_scheme(str(tmp_path / "other.json"))


def test_a_pattern_that_names_nothing_is_refused(planned: tuple[CRNN, Plan]) -> None:
    model, plan = planned
    typo = plan.with_scheme(Scheme("typo", "int8", "int8", ("gruuu*",)))
    with pytest.raises(ExportError, match=r"no tensor of this model is called gruuu\*"):
        typo.check(expand_gru(lower_step(model)), digest(model))


def test_an_edited_scheme_needs_a_name_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text(json.dumps({**SCHEMES["int8"].to_json(), "real": ["stem_0"]}))
    with pytest.raises(ExportError, match="int8 is the name of another scheme"):
        find_scheme(str(tmp_path / "mine.json"))


def test_a_range_has_its_qparams() -> None:
    assert SharedRange(("a",), -1.0, 3.0).qparams(SCHEMES["int8"]) == asymmetric(-1.0, 3.0)


def test_ranges_of_another_front_end_are_refused(planned: tuple[CRNN, Plan]) -> None:
    _, plan = planned
    plan.check_front_end(FRONT_END)
    assert Plan.from_json(plan.to_json()).front_end == plan.front_end != ""
    with pytest.raises(ExportError, match=r"another front end or normalisation.*--calibration DIR"):
        plan.check_front_end(replace(FRONT_END, scale=tuple(2 * scale for scale in FRONT_END.scale)))
    replace(plan, front_end="").check_front_end(replace(FRONT_END, clip=3.0))
