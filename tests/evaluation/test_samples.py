"""Models that take samples, evaluated beside models that take features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from artefacts import sound
from edge_asc import audio
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.data.samples import Samples
from edge_asc.engine import open_runtime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.evaluation.endless import follow
from edge_asc.evaluation.logits import window_logits
from edge_asc.evaluation.soundscape import Mixture, Soundscape
from edge_asc.evaluation.windows import stream_recordings
from edge_asc.frontend import Array, LogMel
from edge_asc.runtime import Runtime

if TYPE_CHECKING:
    from artefacts import Artefacts

SAMPLES = [sound(1.5, seed) for seed in range(4)]


def test_models_of_both_inputs_are_evaluated_together(artefacts: Artefacts) -> None:
    raw = LogMel(artefacts.causal.front_end.raw)
    features, targets = [raw(clip) for clip in SAMPLES], [0, 1, 2, 3]
    names = ("step-samples.onnx", "step-samples.tflite")
    models: list[tuple[str, Runtime]] = [("torch", TorchRuntime(artefacts.causal))]
    models += [(name, open_runtime(artefacts.folder / name)) for name in names]
    for gain in (0.0, -30.0):
        clips = LabelledClips(features, targets, artefacts.causal.labels, SAMPLES)
        _, *results = evaluate(models, clips, [1], gain=gain)
        for result in results:
            assert result.all_steps.agreement == 1.0
            assert result.logit_error is not None
            assert result.logit_error.maximum < 1e-4
    alone = LabelledClips(features, targets, artefacts.causal.labels)
    with pytest.raises(EdgeAscError, match="takes samples; got features alone: give the recordings"):
        evaluate(models, alone, [1])


def test_windows_of_both_inputs_decide_alike(artefacts: Artefacts) -> None:
    raw = LogMel(artefacts.windowed.front_end.raw)
    runtimes = [open_runtime(artefacts.folder / name) for name in ("windows.tflite", "windows-samples.tflite")]
    features, samples = (
        window_logits(runtime, clips, [1])
        for runtime, clips in zip(runtimes, ([raw(clip) for clip in SAMPLES], SAMPLES), strict=True)
    )
    np.testing.assert_allclose(samples, features, atol=1e-4)
    beside, inside = (stream_recordings(runtime, iter(SAMPLES), 1.5, (1,), ("final",)) for runtime in runtimes)
    np.testing.assert_allclose(inside[1, "final"], beside[1, "final"], atol=1e-4)


def test_an_endless_stream_goes_to_models_of_both_inputs(artefacts: Artefacts) -> None:
    def read(name: str) -> Array:
        return sound(2.0, int(name))

    soundscape = Soundscape({"a": ["1"], "b": ["2"]}, ("3",), read, Mixture(6.0, event=1.0, pause=1.0, seed=1))
    runtimes = [open_runtime(artefacts.folder / name) for name in ("step.onnx", "step-samples.onnx")]
    models = [(runtime, runtime.contract.live, runtime.contract.event_rules) for runtime in runtimes]
    beside, inside = follow(soundscape, models)
    assert len(inside.answers) == 23
    np.testing.assert_allclose(inside.probabilities, beside.probabilities, atol=1e-4)


def test_the_samples_of_a_clip_are_its_piece_of_the_file(tmp_path: Path) -> None:
    samples = 0.5 * SAMPLES[0]
    audio.write(tmp_path / "a.wav", samples)
    clips = (Clip("a.wav", "a", "1"), Clip("a.wav", "a", "1", start=0.25, end=0.75))
    whole, piece = Samples(Dataset("x", tmp_path, ("a", "b"), clips), clips, 16000)
    np.testing.assert_allclose(whole, samples, atol=1e-4)
    np.testing.assert_array_equal(piece, whole[4000:12000])
