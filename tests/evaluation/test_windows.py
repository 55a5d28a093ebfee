from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from artefacts import checkpoint as random_checkpoint
from artefacts import clips, randomised, sound
from edge_asc.engine import open_runtime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.evaluation.checkpoints import stream_windows
from edge_asc.evaluation.whole import last_logits
from edge_asc.evaluation.windows import stream_recordings, window_count
from edge_asc.frontend import LogMel
from edge_asc.streaming import Carry, StreamingClassifier, WindowedClassifier

CARRIES: Any = ("final", "aligned", "none")


@pytest.mark.parametrize(("length", "count"), [(1, 37), (2, 33), (5, 21), (9, 5), (10, 1), (11, 0)])
def test_decisions_of_a_ten_second_clip(length: int, count: int) -> None:
    assert window_count(10, length) == count


def test_a_recording_gives_the_decisions_that_listening_to_it_gives(artefacts: Any) -> None:
    recordings = [sound(2.0, seed) for seed in range(3)]
    runtime = TorchRuntime(artefacts.windowed)
    together = stream_recordings(runtime, iter(recordings), 2, (1,), CARRIES)
    assert {rows.shape for rows in together.values()} == {(3, 5, 10)}
    for (_, carry), rows in together.items():
        for samples, logits in zip(recordings, rows, strict=True):
            heard = WindowedClassifier(runtime, 1, carry=carry).push(samples)
            np.testing.assert_allclose(logits, [decision.logits for decision in heard], atol=2e-5)
    assert not np.allclose(together[1, "final"], together[1, "none"])
    assert not np.allclose(together[1, "final"], together[1, "aligned"])


def test_artefacts_give_what_the_checkpoint_gives(artefacts: Any) -> None:
    recordings = [sound(2.0, seed) for seed in range(2)]
    expected = stream_recordings(TorchRuntime(artefacts.windowed), iter(recordings), 2, (1,), CARRIES)
    offered: dict[str, tuple[Carry, ...]] = {"windows.tflite": CARRIES, "window_1s.onnx": ("final", "none")}
    for name, carries in offered.items():
        found = stream_recordings(open_runtime(artefacts.folder / name), iter(recordings), 2, (1,), carries)
        for carry in carries:
            np.testing.assert_allclose(found[1, carry], expected[1, carry], atol=2e-5)


def test_more_recordings_than_fit_together(artefacts: Any) -> None:
    runtime = TorchRuntime(artefacts.windowed)
    recordings = [sound(1.25, seed) for seed in range(17)]
    many = stream_recordings(runtime, iter(recordings), 1.25, (1,), ("final",))[1, "final"]
    one = stream_recordings(runtime, iter(recordings[16:]), 1.25, (1,), ("final",))[1, "final"]
    assert many.shape == (17, 2, 10)
    np.testing.assert_allclose(many[16], one[0], atol=1e-6)


def test_what_cannot_be_windowed(artefacts: Any) -> None:
    with pytest.raises(EdgeAscError, match=r"a recording is 1\.50 s long; expected at least 2 s"):
        stream_recordings(TorchRuntime(artefacts.windowed), iter([sound(1.5)]), 2, (1,), CARRIES)
    with pytest.raises(ContractError, match="expected a windowed one"):
        stream_recordings(TorchRuntime(artefacts.causal), iter([sound(2.0)]), 2, (1,), CARRIES)
    with pytest.raises(ContractError, match="a causal model has no windows"):
        stream_windows(TorchRuntime(artefacts.causal), np.zeros((1, 1, 31, 256), np.float32), CARRIES, 0.25)


def test_whole_clips_are_decided_by_the_last_output(artefacts: Any) -> None:
    features = [*clips(2, 31), *clips(2, 40, seed=1)]
    streamed = last_logits(artefacts.causal, features)
    classifier, log_mel = StreamingClassifier(TorchRuntime(artefacts.causal)), LogMel(artefacts.causal.front_end)
    for clip, logits in zip(features, streamed, strict=True):
        classifier.reset()
        x = log_mel.normalise(clip.copy())
        for begin in range(0, len(clip) // 8 * 8, 8):
            decision = classifier.push_input(x[begin : begin + 8])
        np.testing.assert_allclose(logits, decision.logits, atol=1e-5)
    runtime = TorchRuntime(artefacts.windowed)
    expected = WindowedClassifier(runtime, 1).push_input(log_mel.normalise(features[0].copy()))
    np.testing.assert_allclose(last_logits(artefacts.windowed, features)[0], expected, atol=1e-5)


def test_a_baseline_is_heard_whole() -> None:
    baseline = random_checkpoint("windowed", "gap")
    features = clips(3, 33)
    assert last_logits(baseline, features).shape == (3, 10)
    np.testing.assert_allclose(last_logits(baseline, features)[1:2], last_logits(baseline, features[1:2]), atol=1e-6)


def test_clips_without_a_decision(artefacts: Any) -> None:
    with pytest.raises(EdgeAscError, match="a clip has 7 frames; random-causal needs at least 8"):
        last_logits(artefacts.causal, clips(1, 7))
    damaged = random_checkpoint()
    bias = damaged.model.output.bias
    assert bias is not None
    bias.data[3] = float("nan")
    with pytest.raises(EdgeAscError, match="logits hold NaN"):
        last_logits(damaged, clips(1, 16))
    assert randomised(0).config == damaged.model.config
