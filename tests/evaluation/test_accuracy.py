from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edge_asc.cli.console import PlainConsole
from edge_asc.cli.tables import accuracy_table, closeness_table, loss_table, recall_table
from edge_asc.contract import Signature, StreamContract, TensorSpec
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import Accuracy, pool, wilson_interval
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.evaluation.logits import BatchRuntime, at_level, decide, steps_at, stream_logits
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.rule import CLIP_RULES, ClipRule, softmax
from edge_asc.runtime import Runtime, Tensors, check_inputs

Array = npt.NDArray[np.float32]
LABELS = ("bus", "metro", "park", "tram")
MELS = 4
FRONT_END = FrontEnd(mels=MELS).with_normalisation(np.arange(MELS) - 10.0, np.full(MELS, 0.5))


def contract(labels: tuple[str, ...] = LABELS, **changes: Any) -> StreamContract:
    plane, row = ("batch", "time", "mel"), ("batch", "unit")
    step = Signature(
        "step",
        8,
        4096,
        (
            TensorSpec("features", "features", (1, 8, MELS), plane),
            TensorSpec("sum", "state", (1, MELS), row),
        ),
        (
            TensorSpec("logits", "logits", (1, len(labels)), row),
            TensorSpec("sum_next", "state", (1, MELS), row, feeds="sum"),
        ),
    )
    values: dict[str, Any] = {
        "name": "fake",
        "backbone": "none",
        "form": "causal",
        "output": "multi",
        "labels": labels,
        "front_end": FRONT_END,
        "decision": "last",
        "parameters": 0,
        "macs": {},
        "scheme": "none",
        "signatures": (step,),
    }
    return StreamContract(**{**values, **changes})


class Summing(Runtime):
    """Logits are the sum of all frames since the reset, one class for each mel bin."""

    engine = "steps"

    def __init__(self, **changes: Any) -> None:
        self.contract = contract(**changes)

    def run(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        check_inputs(self.contract, signature, inputs)
        total = inputs["sum"] + inputs["features"].sum(axis=1)
        return {"logits": total, "sum_next": total}


class Batched(Summing):
    """The same, whole clips at once."""

    engine = "batches"

    def stream(self, features: Sequence[Array]) -> list[Array]:
        return [np.cumsum(x.reshape(-1, 8, MELS).sum(axis=1), axis=0, dtype=np.float32) for x in features]


class Scripted(Summing):
    """Gives prepared logits, clip by clip."""

    engine = "script"

    def __init__(self, logits: Sequence[npt.ArrayLike], **changes: Any) -> None:
        super().__init__(**changes)
        self.logits = iter([np.asarray(x, np.float32) for x in logits])

    def stream(self, features: Sequence[Array]) -> list[Array]:
        return [next(self.logits) for _ in features]


class Windows(Summing):
    def __init__(self, *seconds: int) -> None:
        self.contract = replace(contract(), form="windowed", signatures=tuple(map(window, seconds)))

    def run(self, signature: str, inputs: Mapping[str, npt.NDArray[Any]]) -> Tensors:
        total = inputs["features"].reshape(-1, MELS).sum(axis=0)[None]
        return {"logits": total, "sum_next": inputs["sum"]}


def window(seconds: int) -> Any:
    frames = 16000 * seconds // 512
    spec = contract().signature("step")
    sizes = {"time": frames, "mel": MELS}
    features = replace(spec.inputs[0], shape=tuple(sizes.get(axis, 1) for axis in spec.inputs[0].axes))
    return replace(
        spec, name=f"window_{seconds}s", frames=frames, samples=512 * frames, inputs=(features, *spec.inputs[1:])
    )


def clips(*frames: int, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(-10.0, 3.0, (count, MELS)).astype(np.float32) for count in frames]


def votes(*indices: int, classes: int = 4) -> Array:
    """Logits that decide for `indices`, step by step."""
    return np.eye(classes, dtype=np.float32)[list(indices)].reshape(-1, classes) * 5


def measure(
    runtime: Any, features: Sequence[Array], targets: Sequence[int], *lengths: float, **options: Any
) -> Accuracy:
    (result,) = evaluate([("model", runtime)], LabelledClips(features, targets, LABELS), lengths or (1,), **options)
    return result


def test_steps_at() -> None:
    assert [steps_at(s) for s in range(1, 11)] == [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]
    assert (steps_at(0.255), steps_at(0.256), steps_at(0.768)) == (0, 1, 3)


def test_interval_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263, and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = wilson_interval(81, 263, confidence=0.5)
    assert 0.2553 < low < 81 / 263 < high < 0.3662


@pytest.mark.parametrize(("right", "count"), [(0, 0), (3, 2), (-1, 2)])
def test_interval_of_nonsense(right: int, count: int) -> None:
    with pytest.raises(EdgeAscError, match="at least one"):
        wilson_interval(right, count)


@pytest.mark.parametrize("decibels", [-40.0, -12.0, 0.0, 6.0])
def test_at_level_equals_scaled_samples(decibels: float) -> None:
    samples = np.random.default_rng(1).normal(0, 0.05, 16000).astype(np.float32)
    log_mel = LogMel(FrontEnd())
    raw = log_mel(samples)
    before = raw.copy()
    scaled = at_level(raw, decibels, 1e-8)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, log_mel(samples * np.float32(10 ** (decibels / 20))), atol=1e-3)
    np.testing.assert_array_equal(raw, before)


finite = st.floats(-30, 30, width=32)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=finite))
def test_decide(logits: Array) -> None:
    assert decide(logits, "last").tolist() == [int(np.argmax(row)) for row in logits]
    posterior = np.exp(logits.astype(np.float64)) / np.exp(logits.astype(np.float64)).sum(1, keepdims=True)
    for step, chosen in enumerate(decide(logits, "mean")):
        mean = np.mean([np.log(row) for row in posterior[: step + 1]], axis=0)
        assert mean[chosen] == pytest.approx(mean.max(), abs=1e-9)


def test_rules_differ() -> None:
    logits = [[9.0, 0.0], [0.0, 1.0]]
    assert decide(logits, "last").tolist() == [0, 1]
    assert decide(logits, "mean").tolist() == [0, 0]
    assert decide(np.empty((0, 3)), "mean").shape == (0,)


@pytest.mark.parametrize(
    ("logits", "rule", "message"),
    [
        ([1.0, 2.0], "last", r"shape \(2,\)"),
        (np.empty((3, 0)), "last", "classes"),
        ([[np.nan, 1.0]], "mean", "NaN"),
        ([[1.0, 2.0]], "median", "'last' or 'mean'"),
    ],
)
def test_decide_refuses(logits: npt.ArrayLike, rule: Any, message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        decide(logits, rule)


@pytest.mark.parametrize("gain", [0.0, -10.0])
def test_streams_normalised_features_from_a_reset(gain: float) -> None:
    features = clips(24, 8, 5, 19)
    for clip in features:
        clip.setflags(write=False)
    expected = []
    for clip in features:
        heard = at_level(clip, gain, FRONT_END.floor) if gain else clip.copy()
        heard = np.clip((heard - np.array(FRONT_END.mean, np.float32)) * np.float32(0.5), -4, 4)
        steps = len(clip) // 8
        expected.append([heard[: 8 * n].sum(axis=0) for n in range(1, steps + 1)])
    assert isinstance(Batched(), BatchRuntime)
    assert not isinstance(Summing(), BatchRuntime)
    for runtime in (Summing(), Batched()):
        streamed = stream_logits(runtime, features, gain=gain)
        assert [x.shape for x in streamed] == [(3, 4), (1, 4), (0, 4), (2, 4)]
        for found, wanted in zip(streamed, expected, strict=True):
            np.testing.assert_allclose(found, np.reshape(wanted, (-1, 4)), rtol=1e-5, atol=1e-4)


def test_many_clips_keep_their_order() -> None:
    features = clips(*[8] * 130)
    batched, stepped = (stream_logits(runtime, features) for runtime in (Batched(), Summing()))
    np.testing.assert_allclose(np.stack(batched), np.stack(stepped), atol=1e-4)


def test_counts_by_length_and_class() -> None:
    logits = [votes(0, 0, 0, 1, 1, 1, 1), votes(1, 1, 0), votes(2, 2, 2, 2, 2, 2, 2), votes(0, 0)]
    result = measure(Scripted(logits), clips(56, 24, 56, 16), [0, 1, 2, 3], 2, 1, 3)
    one, two = result.lengths
    assert (one.seconds, one.count, one.right, one.right_under("mean")) == (1, 3, 2, 3)
    assert (two.seconds, two.count, two.right, two.right_under("mean")) == (2, 2, 1, 1)
    assert one.recall == {"bus": 1.0, "metro": 0.0, "park": 1.0, "tram": None}
    assert one.interval == wilson_interval(2, 3)
    assert result.notes == ("no clip is 3 s long",)
    assert result.clips == 4
    assert (result.all_steps.count, result.all_steps.right) == (7 + 3 + 7 + 2, 3 + 2 + 7 + 0)
    assert (result.reference, result.logit_error, one.agreed) == (None, None, None)


def test_mean_of_all_steps() -> None:
    result = measure(Scripted([votes(0, 0, 0, 1, 1)], decision="mean"), clips(40), [0])
    assert result.decision == "mean"
    assert (result.all_steps.right, result.all_steps.right_under("last")) == (5, 3)


@pytest.mark.parametrize(("rule", "decided"), [("last", 1), ("mean", 0)])
def test_the_probabilities_of_the_last_decision_are_kept(rule: ClipRule, decided: int) -> None:
    runtime = Scripted([votes(0, 0, 0, 1, 1), votes()], decision=rule, temperature=2.0)
    ends = measure(runtime, clips(40, 4), [0, 1]).ends
    assert ends is not None
    assert (ends.labels, ends.temperature) == (LABELS, 2.0)
    assert ends.probabilities[0].argmax() == decided
    assert ends.probabilities[0].sum() == pytest.approx(1.0)
    assert np.isnan(ends.probabilities[1]).all()  # no decision within 4 frames


def test_the_last_decision_of_a_windowed_model_is_that_of_its_longest_window() -> None:
    features = clips(70, 40)
    runtime = Windows(1, 2)
    (result,) = evaluate([("windows", runtime)], LabelledClips(features, [0, 1], LABELS), [1, 2])
    assert result.ends is not None
    for probabilities, clip, frames in zip(result.ends.probabilities, features, (62, 31), strict=True):
        x = LogMel(FRONT_END).normalise(np.array(clip, np.float32))[:frames].sum(axis=0)
        assert np.allclose(probabilities, softmax(x), atol=1e-5)


def test_labels_are_matched_by_name() -> None:
    order = ("tram", "bus", "park", "metro")
    logits = [np.random.default_rng(i).normal(size=(3, 4)) for i in range(12)]
    permuted = [x[:, [LABELS.index(label) for label in order]] for x in logits]
    features, targets = clips(*[24] * 12), [i % 4 for i in range(12)]
    models = [("a", Scripted(logits)), ("b", Scripted(permuted, labels=order))]
    first, second = evaluate(models, LabelledClips(features, targets, LABELS), [1])
    assert first.lengths[0].right_by_class == second.lengths[0].right_by_class
    assert (second.reference, second.all_steps.agreement, second.lengths[0].agreement) == ("a", 1.0, 1.0)
    assert second.logit_error is not None
    assert (second.logit_error.mean, second.logit_error.maximum) == (0.0, 0.0)


def test_comparison_with_the_reference() -> None:
    features, targets = clips(24, 24), [0, 1]
    models = [("int8", Scripted([votes(0, 1, 0), votes(1, 1, 1)])), ("float", Scripted([votes(0, 0, 0)] * 2))]
    small, reference = evaluate(models, LabelledClips(features, targets, LABELS), [1], reference=1)
    assert (small.reference, reference.reference) == ("float", None)
    assert (small.lengths[0].agreed, small.all_steps.agreed) == (1, 2)
    assert small.logit_error is not None
    assert small.logit_error.maximum == 5.0
    assert small.logit_error.mean == pytest.approx(4 * 2 * 5 / (6 * 4))
    (alone,) = evaluate([("x", Batched())], LabelledClips(features, targets, LABELS), [1], reference=None)
    assert alone.reference is None


def test_model_may_know_more_labels() -> None:
    labels = (*LABELS, "ferry")
    logits = [votes(4, 4, 4, classes=5), votes(1, 1, 1, classes=5)]
    models = [("more", Scripted(logits, labels=labels)), ("same", Scripted([votes(0, 0, 0), votes(1, 1, 1)]))]
    more, same = evaluate(models, LabelledClips(clips(24, 24), [0, 1], LABELS), [1])
    assert (more.lengths[0].right, same.lengths[0].right) == (1, 2)
    assert same.all_steps.agreement == 0.5
    assert same.logit_error is None


def test_unknown_label_lists_both() -> None:
    runtime = Scripted([], labels=("bus", "metro", "ferry"))
    with pytest.raises(EdgeAscError, match=r"model does not know park, tram; .* bus, metro, ferry"):
        measure(runtime, clips(24, 24, 24), [3, 2, 0])


def test_label_without_clips_need_not_be_known() -> None:
    logits = [votes(0, 0, 0, classes=2)]
    assert measure(Scripted(logits, labels=("bus", "metro")), clips(24), [0]).lengths[0].right == 1


@pytest.mark.parametrize(
    ("features", "targets", "options", "message"),
    [
        (clips(), [], {}, "0 clips"),
        (clips(24), [0, 1], {}, "one target per clip"),
        (clips(24), [4], {}, r"4\.\.4; expected 0\.\.3"),
        (clips(24), [-1], {}, "expected 0"),
        (clips(24), [0], {"reference": 1}, "reference is model 1"),
        (clips(16), [0], {}, "no clip is 1 s long"),
        ([np.zeros((24, 5), np.float32)], [0], {}, r"features are \(24, 5\)"),
    ],
)
def test_bad_input(features: list[Array], targets: list[int], options: Any, message: str) -> None:
    with pytest.raises(EdgeAscError, match=message):
        measure(Batched(), features, targets, **options)


def test_bad_lengths_and_models() -> None:
    features = clips(24)
    with pytest.raises(EdgeAscError, match="makes its first decision later"):
        measure(Batched(), features, [0], 0.2)
    with pytest.raises(EdgeAscError, match="0 lengths"):
        evaluate([("model", Batched())], LabelledClips(features, [0], LABELS), [])
    with pytest.raises(EdgeAscError, match="windowed model"):
        stream_logits(Windows(1), features)
    other = FrontEnd(mels=MELS, high=4000.0)
    with pytest.raises(EdgeAscError, match="another front end"):
        evaluate([("a", Batched()), ("b", Batched(front_end=other))], LabelledClips(features, [0], LABELS), [1])
    with pytest.raises(EdgeAscError, match="NaN"):
        measure(Scripted([np.full((3, 4), np.nan)]), features, [0])


def test_normalisation_may_differ() -> None:
    other = FRONT_END.with_normalisation(np.zeros(MELS), np.ones(MELS))
    models = [("a", Batched()), ("b", Batched(front_end=other))]
    assert len(evaluate(models, LabelledClips(clips(24), [0], LABELS), [1])) == 2


rules: st.SearchStrategy[ClipRule] = st.sampled_from(["last", "mean"])
folds = st.lists(
    st.lists(st.tuples(st.integers(0, 3), st.integers(3, 9)), min_size=1, max_size=5), min_size=1, max_size=3
)


@settings(max_examples=40, deadline=None)
@given(folds, rules, st.integers(0, 2**32 - 1))
def test_pool_equals_whole(folds: list[list[tuple[int, int]]], rule: ClipRule, seed: int) -> None:
    def result(drawn: list[tuple[int, int]], base: list[Array], logits: list[Array]) -> Accuracy:
        features = [np.zeros((8 * steps, MELS), np.float32) for _, steps in drawn]
        models = [("base", Scripted(base, decision=rule)), ("model", Scripted(logits, decision=rule))]
        return evaluate(models, LabelledClips(features, [target for target, _ in drawn], LABELS), [1, 2])[1]

    rng = np.random.default_rng(seed)
    base, logits = (
        [[rng.normal(size=(steps, 4)).astype(np.float32) for _, steps in fold] for fold in folds] for _ in range(2)
    )
    pooled = pool([result(*parts) for parts in zip(folds, base, logits, strict=True)])
    apart: tuple[Any, ...] = (folds, base, logits)
    whole = result(*([item for part in parts for item in part] for parts in apart))
    assert pooled.lengths == whole.lengths
    assert pooled.all_steps == whole.all_steps
    assert (pooled.clips, pooled.reference) == (whole.clips, "base")
    assert pooled.logit_error is not None
    assert whole.logit_error is not None
    assert pooled.logit_error.mean == pytest.approx(whole.logit_error.mean)
    assert pooled.logit_error.maximum == whole.logit_error.maximum


def test_pool_of_other_models_or_rules() -> None:
    a = measure(Scripted([votes(0, 0, 0)]), clips(24), [0])
    b = measure(Scripted([votes(0, 0, 0)], decision="mean"), clips(24), [0])
    with pytest.raises(EdgeAscError, match="differ in decision"):
        pool([a, b])
    with pytest.raises(EdgeAscError, match="differ in gain"):
        pool([a, measure(Batched(), clips(24), [0], gain=-10.0)])
    with pytest.raises(EdgeAscError, match="at least one"):
        pool([])
    assert pool([a, a]).model == "model"


def results() -> list[Accuracy]:
    logits = [votes(0, 0, 0, 0, 0, 0, 0), votes(0, 0, 0), votes(2, 2, 2), votes(2, 2, 2)]
    models = [("float", Scripted(logits)), ("int8", Scripted(logits[:2] + logits[1:2] + logits[3:]))]
    return evaluate(models, LabelledClips(clips(56, 24, 24, 24), [0, 1, 2, 2], LABELS), [1, 2])


def test_json() -> None:
    float32, int8 = (json.loads(json.dumps(r.to_json(), allow_nan=False)) for r in results())
    assert float32["schema_version"] == 1
    assert [(row["seconds"], row["count"], row["right"]) for row in float32["lengths"]] == [
        (1, 4, 3),
        (2, 1, 1),
    ]
    first = float32["lengths"][0]
    assert (first["low"], first["high"]) == wilson_interval(3, 4)
    assert (first["right_last"], first["right_mean"], first["accuracy"]) == (3, 3, 0.75)
    assert first["recall"] == {"bus": 1.0, "metro": 0.0, "park": 1.0, "tram": None}
    assert (float32["reference"], float32["logit_error"]) == (None, None)
    assert (int8["reference"], int8["lengths"][0]["agreement"]) == ("float", 0.75)
    assert int8["logit_error"]["max"] == 5.0


def shown(value: Any) -> str:
    console = PlainConsole()
    console.file, console.width = io.StringIO(), 160
    console.print(value)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_tables() -> None:
    text = shown(accuracy_table(results()))
    low, high = wilson_interval(3, 4)
    assert f"75.0 [{100 * low:.1f}, {100 * high:.1f}]" in text
    assert "n = 4" in text
    assert "agreement" in text
    assert "81.2" in text  # 13 of 16 decisions
    assert "agreement" not in shown(accuracy_table(results()[:1]))
    close = closeness_table(results())
    assert close is not None
    assert "81.25" in shown(close)
    assert closeness_table(results()[:1]) is None
    recall = shown(recall_table(results(), 1))
    park = next(line for line in recall.splitlines() if "park" in line)
    assert "100.0" in park
    assert "50.0" in park
    assert "Recall after 2 s" in shown(recall_table(results()))
    with pytest.raises(EdgeAscError, match="lengths measured: 1, 2"):
        recall_table(results(), 5)


def test_windows_that_have_nothing_in_common_are_evaluated_apart() -> None:
    models = [("all", Windows(1, 2)), ("one", Windows(1)), ("two", Windows(2))]
    found = evaluate(models, LabelledClips(clips(70, 70), [0, 1], LABELS), [1, 2])
    assert [[row.seconds for row in result.lengths] for result in found] == [[1, 2], [1], [2]]
    assert [result.reference for result in found] == [None, "all", "all"]


def test_losses_are_against_the_row_above() -> None:
    above, below = results()
    one = above.at(1)
    assert one is not None
    wrong = replace(one, right_by_class={rule: {} for rule in CLIP_RULES})
    worse = replace(below, model="worse", lengths=(wrong,))
    lines = shown(loss_table([above, replace(above, model="same"), worse])).splitlines()
    same, last = (next(line for line in lines if name in line) for name in ("same", "worse"))
    assert same.count(" 0.0 ") == len(above.lengths) + 1
    assert f"{100 * one.accuracy:+.1f}" in last
    assert "–" in last


def test_table_tells_level_and_what_is_left_out() -> None:
    text = shown(accuracy_table([measure(Batched(), clips(24), [0], 1, 10, gain=-20.0)]))
    assert "-20 dB" in text
    assert "no clip is 10 s long" in text


def test_tables_take_names_as_they_are() -> None:
    odd = [replace(result, model="[bold]a[/x]", notes=("[red]note",)) for result in results()]
    for table in (accuracy_table(odd), recall_table(odd), loss_table(odd)):
        assert "[bold]a[/x]" in shown(table)
    assert "[red]note" in shown(accuracy_table(odd))
