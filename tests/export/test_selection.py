from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from artefacts import checkpoint, clips, planned
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ExportError
from edge_asc.evaluation.checkpoints import stream_clips
from edge_asc.evaluation.comparison import LabelledClips
from edge_asc_export import bundle, selection
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.scheme import MIXED, SCHEMES, Scheme
from edge_asc_export.scheme import SELECTION_ORDER as ORDER
from edge_asc_export.selection import Attempt, Trial, select

FEATURES = clips(10, 40, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoints") / "causal"
    planned().save(path)
    return path


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    def unproven(job: Any, output: Any, **_: Any) -> Any:
        with monkeypatch.context() as patched:
            patched.setattr(
                bundle, "run_in_child", lambda function, *arguments, progress, **_: function(*arguments, progress)
            )
            return export(job, output)

    monkeypatch.setattr(selection, "export", unproven)


def chosen(
    folder: Path, formats: tuple[str, ...], max_drop: float, targets: Sequence[int] = tuple(range(10))
) -> tuple[Scheme, tuple[Attempt, ...]]:
    labels = checkpoint().labels
    request = ExportRequest(folder, SCHEMES["none"], formats, accepted_agreement=0.0)
    selection = select(request, Trial(LabelledClips(FEATURES, targets, labels), (1,), max_drop))
    return selection.scheme, selection.attempts


def test_the_first_scheme_holds_where_any_drop_is_allowed(folder: Path) -> None:
    scheme, attempts = chosen(folder, ("tflite",), 100.0)
    assert scheme.name == ORDER[0] == "int8"
    (only,) = attempts
    assert only.holds
    assert only.artefact.endswith("int8.tflite")
    assert set(only.accuracy) == set(only.reference) == {"1", "all"}
    assert only.size > 100_000
    assert only.step_ms is not None
    assert only.step_ms > 0


def test_schemes_are_tried_until_one_keeps_every_decision(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an integer model that decides nothing right, only what is nearly float is left."""
    from edge_asc.engine import open_runtime

    spoilt = {"int8", "int8-float-gru", "int8-dynamic"}
    real = selection.evaluate  # type: ignore[attr-defined]  # imported there

    def evaluate(models: Any, features: Any, targets: Any, *rest: Any) -> Any:
        results = real(models, features, targets, *rest)
        return [
            replace(r, all_steps=replace(r.all_steps, right_by_class={rule: {} for rule in ("last", "mean")}))
            if any(r.model.endswith(f"-{name}.tflite") for name in spoilt)
            else r
            for r in results
        ]

    monkeypatch.setattr(selection, "evaluate", evaluate)
    runtime = open_runtime(folder)
    assert isinstance(runtime, TorchRuntime)
    (logits,) = stream_clips(runtime, clips(1, 40, seed=3))
    right = [int(logits[-1].argmax())] * 10
    scheme, attempts = chosen(folder, ("tflite",), 0.5, right)
    assert scheme.name not in spoilt
    assert [a.scheme for a in attempts if not a.holds] == ["int8", "int8-float-gru", "int8-dynamic"]
    assert all("points lower over all decisions" in a.reason for a in attempts if not a.holds)


def test_a_format_is_not_tried_with_what_it_cannot_express(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "SELECTION_ORDER", ("int16x8", "none"))
    scheme, attempts = chosen(folder, ("onnx", "tflite"), 0.0)
    assert scheme.name == "none"
    assert {a.artefact.rsplit(".")[-1] for a in attempts} == {"onnx", "tflite"}


def test_schemes_that_need_ranges_are_left_out_where_there_are_none(tmp_path: Path) -> None:
    checkpoint().save(tmp_path / "bare")
    scheme, attempts = chosen(tmp_path / "bare", ("tflite",), 100.0)
    assert scheme.name == "int8-dynamic"
    assert len(attempts) == 1


def budgeted(folder: Path, formats: tuple[str, ...], **budget: Any) -> selection.Selection:
    labels = checkpoint().labels
    request = ExportRequest(folder, SCHEMES["none"], formats, accepted_agreement=0.0)
    return select(request, Trial(LabelledClips(FEATURES, range(10), labels), (1,), None, **budget))


def test_a_budget_is_kept_by_the_cheapest_scheme_with_what_is_needed_in_float(folder: Path) -> None:
    (plain,) = budgeted(folder, ("tflite",), max_kl=1.0).attempts
    assert plain.scheme == "int8"
    assert plain.kl is not None
    limit = 0.3 * plain.kl
    found = budgeted(folder, ("tflite",), max_kl=limit)
    assert found.scheme.name == MIXED
    assert set(found.scheme.float_tensors) > set(SCHEMES["int8"].float_tensors)
    first, *_, last = found.attempts
    assert (first.scheme, first.holds, first.reason) == ("int8", False, f"KL {plain.kl:.2g} nats")
    assert (last.scheme, last.holds) == (MIXED, True)
    assert last.kl is not None
    assert last.kl <= limit
    costs = [each.instructions for each in found.attempts]
    assert costs == sorted(costs, key=lambda cost: cost or 0.0)
    assert found.attempts[-1].size > first.size


def test_agreement_is_a_budget_too(folder: Path) -> None:
    found = budgeted(folder, ("tflite", "onnx"), min_agreement=1.0)
    assert {each.agreement for each in found.attempts if each.scheme == found.scheme.name} == {1.0}


def test_what_is_cheap_in_litert_alone_is_not_tried_elsewhere(folder: Path) -> None:
    found = budgeted(folder, ("onnx",), min_agreement=1.0)
    assert MIXED not in {each.scheme for each in found.attempts}


def test_a_budget_that_nothing_keeps_is_named(folder: Path) -> None:
    with pytest.raises(ExportError, match="no scheme keeps divergence below 1e-30 nats in onnx"):
        budgeted(folder, ("onnx",), max_kl=1e-30)


def test_a_windowed_model_has_no_cost_and_keeps_the_order(tmp_path: Path) -> None:
    checkpoint("windowed").save(tmp_path / "windowed")
    request = ExportRequest(tmp_path / "windowed", SCHEMES["none"], ("tflite",), (1,), accepted_agreement=0.0)
    found = select(request, Trial(LabelledClips(FEATURES, range(10), checkpoint().labels), (1,), 100.0))
    assert found.scheme.name == "int8-dynamic"
    assert [each.instructions for each in found.attempts] == [None]


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"min_agreement": 1.5}, "expected a share above 0, up to 1"),
        ({"min_agreement": float("nan")}, "expected a share above 0, up to 1"),
        ({"max_kl": 0.0}, "expected more than 0"),
        ({"processor": "cortex-m7"}, "no cost model of this processor"),
    ],
)
def test_a_bad_budget_is_refused(folder: Path, budget: dict[str, Any], message: str) -> None:
    with pytest.raises(ExportError, match=message):
        budgeted(folder, ("tflite",), **budget)


def test_a_negative_drop_is_refused(folder: Path) -> None:
    with pytest.raises(ExportError, match="expected 0 or more"):
        chosen(folder, ("onnx",), -1.0)
