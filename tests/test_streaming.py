from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from artefacts import FRONT_END, LABELS, Artefacts, contract, crnn, sound
from edge_asc.contract import AnyArray, Role, Signature, TensorSpec
from edge_asc.engine import open_runtime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import AudioError, ContractError
from edge_asc.frontend import LogMel
from edge_asc.rule import ClipRule, DecisionRule
from edge_asc.runtime import Runtime
from edge_asc.streaming import Carry, Decision, StreamingClassifier, WindowedClassifier
from edge_asc.unknown import UnknownRule

ENGINES = ("torch", "onnx", "tflite")
FEW = settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_same(left: Sequence[Decision], right: Sequence[Decision]) -> None:
    """Bit for bit."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert (a.time, a.label, a.index, a.probability) == (b.time, b.label, b.index, b.probability)
        np.testing.assert_array_equal(a.probabilities, b.probabilities)
        np.testing.assert_array_equal(a.logits, b.logits)


def softmax(x: Any) -> AnyArray:
    e = np.exp(np.asarray(x, np.float64) - np.max(x))
    shares: AnyArray = e / e.sum()
    return shares


def with_contract(runtime: Runtime, **changes: Any) -> Runtime:
    """The same engine, under another contract."""
    other = copy(runtime)
    other.contract = replace(runtime.contract, **changes)
    return other


@pytest.fixture(scope="module", params=ENGINES)
def runtime(request: pytest.FixtureRequest, artefacts: Artefacts) -> Runtime:
    return open_runtime(artefacts.steps[request.param])


@pytest.fixture(scope="module")
def tflite(artefacts: Artefacts) -> Runtime:
    return open_runtime(artefacts.steps["tflite"])


class TestStreamingClassifier:
    def test_a_decision_stands_for_each_4096_samples(self, runtime: Runtime) -> None:
        classifier = StreamingClassifier(runtime)
        assert classifier.labels == LABELS
        assert classifier.contract is runtime.contract
        assert classifier.push(sound(1)[:4095]) == []
        (first,) = classifier.push(np.zeros(1, np.float32))
        assert first.time == 0.256
        assert [d.time for d in classifier.push(sound(1), 16000)] == [0.512, 0.768, 1.024]

    @pytest.mark.parametrize("decision", ["last", "mean"])
    def test_decisions_follow_from_the_logits(self, runtime: Runtime, decision: ClipRule) -> None:
        decisions = StreamingClassifier(runtime, decision=decision).push(sound(2))
        logs = np.log([softmax(d.logits) for d in decisions])
        for i, found in enumerate(decisions):
            expected = softmax(found.logits if decision == "last" else logs[: i + 1].mean(axis=0))
            np.testing.assert_allclose(found.probabilities, expected, rtol=1e-9)
            assert found.index == expected.argmax()
            assert found.label == LABELS[found.index]
            assert found.probability == found.probabilities[found.index]

    def test_the_rule_for_streams_is_the_default(self, runtime: Runtime) -> None:
        mean, short, long, live = (
            StreamingClassifier(runtime, decision=rule).push(sound(1))[-1]
            for rule in ("mean", "forgetting:2", DecisionRule("forgetting", 1e4), runtime.contract.live)
        )
        assert not np.array_equal(mean.probabilities, short.probabilities)
        np.testing.assert_allclose(long.probabilities, mean.probabilities, rtol=1e-3)
        assert not np.array_equal(mean.probabilities, live.probabilities)
        assert_same(StreamingClassifier(runtime).push(sound(1))[-1:], [live])
        (other,) = StreamingClassifier(with_contract(runtime, live=DecisionRule("mean"))).push(sound(1))[-1:]
        assert_same([other], [mean])

    @pytest.mark.parametrize("decision", ["last", "mean"])
    def test_the_temperature_divides_the_scores_and_leaves_the_logits(
        self, artefacts: Artefacts, runtime: Runtime, decision: ClipRule
    ) -> None:
        cold = StreamingClassifier(runtime, decision=decision).push(sound(1))
        warm = StreamingClassifier(with_contract(runtime, temperature=2.5), decision=decision).push(sound(1))
        for before, after in zip(cold, warm, strict=True):
            np.testing.assert_array_equal(before.logits, after.logits)
            assert (before.index, before.label) == (after.index, after.label)
            np.testing.assert_allclose(after.probabilities, softmax(np.log(before.probabilities) / 2.5), rtol=1e-9)
            assert after.probability == after.probabilities[after.index]
            assert (after.unknown, after.answer, after.confidence) == (False, after.label, after.probability)

    def test_a_decision_is_unknown_from_the_threshold_on(self, runtime: Runtime) -> None:
        (likely,) = StreamingClassifier(runtime).push(sound(0.256))
        second = int(np.argsort(likely.probabilities)[-2])
        for index in (likely.index, second):
            for share, unknown in ((0.999, True), (1.0, True), (1.001, False)):
                rule = UnknownRule(LABELS[index], share * likely.probabilities[index], 0.05)
                (decision,) = StreamingClassifier(with_contract(runtime, unknown=rule)).push(sound(0.256))
                assert (decision.index, decision.unknown) == (likely.index, unknown)
                known = second if index == likely.index else likely.index
                answer = index if unknown else known
                assert decision.answer == LABELS[answer]
                assert decision.confidence == decision.probabilities[answer]

    def test_an_unknown_rule_is_refused(self, runtime: Runtime) -> None:
        with pytest.raises(ContractError, match="decision rule is 'median'; expected last, mean"):
            StreamingClassifier(runtime, decision="median")

    @FEW
    @given(cuts=st.lists(st.integers(0, 32000), max_size=6))
    def test_any_chunking_gives_the_same_decisions(self, runtime: Runtime, cuts: list[int]) -> None:
        samples = sound(2)
        classifier = StreamingClassifier(runtime)
        pieces = np.split(samples, sorted(cuts))
        found = [decision for piece in pieces for decision in classifier.push(piece)]
        assert_same(found, StreamingClassifier(runtime).push(samples))

    def test_reset_is_a_fresh_stream_bit_for_bit(self, runtime: Runtime) -> None:
        fresh = StreamingClassifier(runtime).push(sound(1))
        classifier = StreamingClassifier(runtime)
        classifier.push(sound(1.3, seed=1))
        carried = classifier.push(sound(1))
        assert not np.array_equal(carried[0].logits, fresh[0].logits)
        classifier.reset()
        assert_same(classifier.push(sound(1)), fresh)
        classifier.reset()
        classifier.reset()
        assert_same(classifier.push(sound(1)), fresh)

    def test_streams_that_share_a_runtime_do_not_disturb_each_other(self, runtime: Runtime) -> None:
        sounds = [sound(2, seed) for seed in (1, 2)]
        alone = [StreamingClassifier(runtime).push(samples) for samples in sounds]
        assert not np.array_equal(alone[0][-1].logits, alone[1][-1].logits)
        classifiers = [StreamingClassifier(runtime) for _ in sounds]
        together: list[list[Decision]] = [[], []]
        for start in range(0, 32000, 3000):
            for i, classifier in enumerate(classifiers):
                together[i] += classifier.push(sounds[i][start : start + 3000])
        for found, expected in zip(together, alone, strict=True):
            assert_same(found, expected)

    def test_streams_in_threads_of_their_own_do_not_either(self, runtime: Runtime) -> None:
        sounds = [sound(6, seed) for seed in range(4)]
        alone = [StreamingClassifier(runtime).push(samples) for samples in sounds]
        with ThreadPoolExecutor(4) as pool:
            together = list(pool.map(lambda samples: StreamingClassifier(runtime).push(samples), sounds))
        for found, expected in zip(together, alone, strict=True):
            assert_same(found, expected)

    def test_another_sample_rate_is_refused_with_what_to_do(self, runtime: Runtime) -> None:
        classifier = StreamingClassifier(runtime)
        with pytest.raises(ContractError, match=r"44100 Hz; random-causal expects 16000 Hz.*edge_asc\.audio"):
            classifier.push(sound(1), 44100)
        assert_same(classifier.push(sound(1), 16000), StreamingClassifier(runtime).push(sound(1)))

    @pytest.mark.parametrize(
        ("bad", "message"),
        [
            (np.full(5000, np.nan, np.float32), "NaN"),
            (np.zeros((5000, 2), np.float32), "downmix"),
            (np.zeros(5000, np.int16), "int16"),
        ],
    )
    def test_bad_samples_are_refused_and_the_stream_goes_on_as_if_they_never_came(
        self, runtime: Runtime, bad: AnyArray, message: str
    ) -> None:
        samples = sound(2)
        classifier = StreamingClassifier(runtime)
        found = classifier.push(samples[:9000])
        with pytest.raises(AudioError, match=message):
            classifier.push(bad)
        assert_same(found + classifier.push(samples[9000:]), StreamingClassifier(runtime).push(samples))

    def test_features_take_the_place_of_samples(self, runtime: Runtime) -> None:
        frames = LogMel(FRONT_END)(sound(1))
        classifier = StreamingClassifier(runtime)
        found = [classifier.push_input(frames[t : t + 8]) for t in (0, 8, 16)]
        assert_same(found, StreamingClassifier(runtime).push(sound(1)))

    @pytest.mark.parametrize("shape", [(4, 256), (9, 256), (256, 8), (8, 128), (8,), (1, 8, 256), (0, 256)])
    def test_features_of_another_shape_are_refused(self, runtime: Runtime, shape: tuple[int, ...]) -> None:
        with pytest.raises(ContractError, match=r"expected \(8, 256\): 8 frames of 256 mel bins"):
            StreamingClassifier(runtime).push_input(np.zeros(shape, np.float32))

    @pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e32])
    def test_features_that_are_out_of_reach_leave_the_stream_unchanged(self, runtime: Runtime, value: float) -> None:
        frames = LogMel(FRONT_END)(sound(1))
        classifier = StreamingClassifier(runtime)
        found = [classifier.push_input(frames[:8])]
        with pytest.raises(ContractError, match="NaN or infinite"):
            classifier.push_input(np.where(np.arange(256) == 3, np.float32(value), frames[8:16]))
        found += [classifier.push_input(frames[t : t + 8]) for t in (8, 16)]
        assert_same(found, StreamingClassifier(runtime).push(sound(1)))

    def test_a_new_stream_of_a_file(self, artefacts: Artefacts, tflite: Runtime) -> None:
        found = StreamingClassifier.from_artefact(artefacts.steps["tflite"], threads=2, decision="last")
        assert_same(found.push(sound(1)), StreamingClassifier(tflite, decision="last").push(sound(1)))


class Counter(Runtime):
    """A windowed model in an engine of its own: the GRU state counts the embeddings it was given."""

    engine = "counter"

    def __init__(self) -> None:
        def rows(name: str, role: Role, shape: tuple[int, ...], feeds: str | None = None) -> TensorSpec:
            return TensorSpec(name, role, shape, ("time", "unit"), feeds=feeds)

        axes = ("batch", "channel", "mel", "time")
        signatures = []
        for seconds in (1, 2, 5, 10):
            frames = 16000 * seconds // 512
            features = TensorSpec("features", "features", (1, 1, 256, frames), axes)
            embeddings = rows("embeddings", "embedding", (frames // 8, 1))
            signatures.append(Signature(f"window_{seconds}s", frames, 512 * frames, (features,), (embeddings,)))
        inputs = rows("embedding", "embedding", (1, 1)), rows("hidden", "state", (1, 1))
        outputs = rows("logits", "logits", (1, 10)), rows("next", "state", (1, 1), "hidden")
        signatures.append(Signature("gru", 0, 0, inputs, outputs))
        self.contract = contract(signatures, "windowed")
        self.features: list[AnyArray] = []

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        if signature != "gru":
            self.features.append(inputs["features"])
            frames = inputs["features"].shape[3]
            return {"embeddings": np.zeros((frames // 8, 1), np.float32)}
        count = inputs["hidden"] + 1
        return {"logits": np.tile(count, (1, 10)), "next": count}


def heard(carry: Carry, seconds: int = 1, count: int = 4, period: float = 0.25) -> list[int]:
    """Embeddings behind each of `count` decisions."""
    classifier = WindowedClassifier(Counter(), seconds, carry=carry, period=period)
    decisions = classifier.push(np.zeros(round(16000 * (seconds + (count - 1) * period)), np.float32))
    assert len(decisions) == count
    return [int(d.logits[0]) for d in decisions]


class TestWindowedClassifier:
    def test_the_temperature_and_the_rule_for_unknown_sounds_hold_for_windows(self) -> None:
        rule = UnknownRule(LABELS[9], 0.05, 0.05)
        counter = with_contract(Counter(), temperature=2.0, unknown=rule)
        (decision,) = WindowedClassifier(counter, 1).push(sound(1))
        np.testing.assert_allclose(decision.probabilities, softmax(decision.logits / 2.0), rtol=1e-9)
        assert (decision.unknown, decision.answer, decision.confidence) == (True, LABELS[9], decision.probabilities[9])

    @pytest.mark.parametrize(("seconds", "count"), [(1, 37), (2, 33), (5, 21), (10, 1)])
    def test_decisions_of_a_clip_of_ten_seconds(self, seconds: int, count: int) -> None:
        decisions = WindowedClassifier(Counter(), seconds).push(sound(10))
        assert len(decisions) == count
        assert [d.time for d in decisions] == [seconds + 0.25 * i for i in range(count)]

    @pytest.mark.parametrize(
        ("carry", "expected"), [("final", [3, 6, 9, 12]), ("none", [3, 3, 3, 3]), ("aligned", [3, 4, 5, 6])]
    )
    def test_what_state_a_window_starts_from(self, carry: Carry, expected: list[int]) -> None:
        assert heard(carry) == expected

    def test_aligned_takes_the_nearest_whole_number_of_embeddings(self) -> None:
        assert heard("aligned", period=0.5) == [3, 5, 7, 9]
        assert heard("aligned", period=0.1) == [3, 4, 5, 6]
        assert heard("aligned", period=1.0) == [3, 6, 9, 12]

    def test_windows_are_cut_from_the_waveform(self) -> None:
        counter, samples = Counter(), sound(2)
        WindowedClassifier(counter, 1).push(samples)
        assert len(counter.features) == 5
        for i, features in enumerate(counter.features):
            expected = LogMel(FRONT_END)(samples[4000 * i : 4000 * i + 16000])
            np.testing.assert_array_equal(features[0, 0].T, expected)

    @FEW
    @given(cuts=st.lists(st.integers(0, 48000), max_size=6), carry=st.sampled_from(["final", "aligned", "none"]))
    def test_any_chunking_gives_the_same_decisions(self, cuts: list[int], carry: Carry) -> None:
        samples = sound(3)
        classifier = WindowedClassifier(Counter(), 1, carry=carry)
        found = [d for piece in np.split(samples, sorted(cuts)) for d in classifier.push(piece)]
        assert_same(found, WindowedClassifier(Counter(), 1, carry=carry).push(samples))

    @pytest.mark.parametrize("carry", ["final", "aligned", "none"])
    def test_reset_is_a_fresh_stream(self, carry: Carry) -> None:
        classifier = WindowedClassifier(Counter(), 1, carry=carry)
        fresh = classifier.push(sound(1.6))
        classifier.reset()
        assert_same(classifier.push(sound(1.6)), fresh)

    @pytest.mark.parametrize("name", ["window_1s.onnx", "windows.tflite"])
    def test_reset_of_an_artefact_is_a_fresh_stream(self, artefacts: Artefacts, name: str) -> None:
        classifier = WindowedClassifier.from_artefact(artefacts.folder / name, 1)
        fresh = classifier.push(sound(1.3))
        classifier.reset()
        assert_same(classifier.push(sound(1.3)), fresh)

    def test_engines_agree_with_the_model_window_by_window(self, artefacts: Artefacts) -> None:
        model, samples = crnn(artefacts.windowed), sound(1.5)
        engines = {
            "torch": TorchRuntime(artefacts.windowed),
            "onnx": open_runtime(artefacts.folder / "window_1s.onnx"),
            "tflite": open_runtime(artefacts.folder / "windows.tflite"),
        }
        for carry in ("final", "none", "aligned"):
            expected, hidden = [], None
            for i in range(3):
                frames = LogMel(FRONT_END)(samples[4000 * i : 4000 * i + 16000])
                with torch.inference_mode():
                    features = torch.from_numpy(frames.T[None, None].copy())
                    output = model(features, hidden)
                    _, first = model.gru(model.embed(features)[:, :1], hidden)
                expected.append(output.logits[0, -1].numpy())
                hidden = {"final": output.hidden, "none": None, "aligned": first}[carry]
            for name, runtime in engines.items():
                if (carry, name) == ("aligned", "onnx"):
                    continue
                found = [d.logits for d in WindowedClassifier(runtime, 1, carry=carry).push(samples)]
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4, err_msg=f"{name} {carry}")

    def test_at_ten_seconds_nothing_is_carried(self, artefacts: Artefacts) -> None:
        runtime, samples = TorchRuntime(artefacts.windowed), sound(10)
        final, none = (WindowedClassifier(runtime, 10, carry=carry).push(samples) for carry in ("final", "none"))
        assert_same(final, none)
        (decision,) = final
        frames = LogMel(FRONT_END)(samples)
        with torch.inference_mode():
            whole = artefacts.windowed.model(torch.from_numpy(frames.T[None, None].copy())).logits[0, -1].numpy()
        np.testing.assert_allclose(decision.logits, whole, rtol=0, atol=1e-5)
        np.testing.assert_allclose(decision.probabilities, softmax(whole), rtol=1e-4)

    def test_aligned_is_refused_where_the_state_inside_a_window_is_not_given_out(self, artefacts: Artefacts) -> None:
        with pytest.raises(ContractError, match="'aligned' needs the GRU state inside a window"):
            WindowedClassifier.from_artefact(artefacts.folder / "window_1s.onnx", 1, carry="aligned")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"seconds": 3}, "no window of 3 s; this artefact offers 1, 2, 5, 10 s"),
            ({"carry": "first"}, "carry is 'first'; expected one of final, aligned, none"),
            ({"period": 0.0}, "period is 0.0 s"),
            ({"period": 1.5}, "at most the window's 1 s"),
        ],
    )
    def test_unknown_options_are_refused(self, options: dict[str, Any], message: str) -> None:
        with pytest.raises(ContractError, match=message):
            WindowedClassifier(Counter(), **{"seconds": 1, **options})

    def test_bad_samples_are_refused_and_the_stream_goes_on_as_if_they_never_came(self) -> None:
        samples = sound(2)
        classifier = WindowedClassifier(Counter(), 1)
        found = classifier.push(samples[:17000])
        with pytest.raises(AudioError, match="NaN"):
            classifier.push(np.full(9, np.nan, np.float32))
        with pytest.raises(ContractError, match="48000 Hz"):
            classifier.push(sound(1), 48000)
        assert_same(found + classifier.push(samples[17000:]), WindowedClassifier(Counter(), 1).push(samples))
