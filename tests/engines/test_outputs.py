"""Outputs of an engine are checked like its inputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from artefacts import Artefacts, checkpoint, crnn, sound, write_file
from edge_asc import audio
from edge_asc.cli import cli
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError
from edge_asc.loop import Loop
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc_export.lowering import lower_step
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

EVERY = ("torch", "onnx", "tflite", "step-int8.onnx", "step-int8.tflite")


@pytest.fixture(params=EVERY)
def runtime(request: pytest.FixtureRequest, artefacts: Artefacts) -> Runtime:
    return open_runtime(artefacts.steps.get(request.param, artefacts.folder / request.param))


def spoil(loop: Loop, change: Callable[[Any], None]) -> None:
    """Let the engine return something else once: its first run is followed by `change` to the result."""
    step, spoiled = loop._step, [False]

    def wrong(value: Any) -> Any:
        result = step(value)
        if not spoiled[0]:
            spoiled[0] = True
            change(result)
        return result

    loop._step = wrong  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN or infinite"), (np.inf, "NaN or infinite"), (1e30, "1e\\+30")]
)
def test_logits_that_are_no_numbers_are_an_error_and_the_stream_goes_on_after_a_reset(
    runtime: Runtime, value: float, message: str
) -> None:
    classifier = StreamingClassifier(runtime)
    expected = [decision.logits for decision in classifier.push(sound(1))]
    classifier.reset()
    spoil(classifier.loops[0], lambda result: result.__setitem__((0, 3), value))
    with pytest.raises(ContractError, match=f"step: output logits .*{message}.*reset the stream"):
        classifier.push(sound(1))
    classifier.reset()
    np.testing.assert_array_equal([decision.logits for decision in classifier.push(sound(1))], expected)


@pytest.mark.parametrize(("value", "message"), [(np.nan, "NaN or infinite"), (1e30, r"1e\+30")])
def test_a_state_that_an_engine_returns_is_named(
    artefacts: Artefacts, value: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("torch", "onnx", "tflite"):
        loop = open_runtime(artefacts.steps[name]).loop("step")
        whole = loop._peek
        monkeypatch.setattr(
            loop, "_peek", lambda whole=whole: whole() | {"hidden_1": np.full((1, 10), value, np.float32)}
        )
        with pytest.raises(ContractError, match=f"step: state hidden_1 .*{message}"):
            loop.feed(np.zeros(loop.source.shape, np.float32))


def test_a_state_of_no_sense_is_not_taken(runtime: Runtime) -> None:
    loop = runtime.loop("step")
    state = loop.state
    name = next((name for name, value in state.items() if value.dtype == np.float32), None)
    if name is None:
        pytest.skip("integers always have a sense")
    state[name] = state[name] + np.float32(1e30)
    with pytest.raises(ContractError, match=rf"state {name} reaches 1e\+30"):
        loop.state = state
    with pytest.raises(ContractError, match=rf"input {name} reaches 1e\+30"):
        runtime.run("step", {**state, loop.source.name: np.zeros(loop.source.shape, np.float32)})
    loop.feed(np.zeros(loop.source.shape, np.float32))


def test_an_engine_that_fails_in_a_run_is_one_error(runtime: Runtime) -> None:
    loop = runtime.loop("step")

    def fail() -> None:
        raise RuntimeError("Input tensor 122 lacks data")

    loop.call = fail
    with pytest.raises(ContractError, match=r"step: the engine failed .*tensor 122"):
        loop.feed(np.zeros(loop.source.shape, np.float32))


def test_a_model_of_nan_is_an_error_of_classify(tmp_path: Path) -> None:
    """A bias that is NaN gives NaN logits from the first step on."""
    found = checkpoint()
    with torch.no_grad():
        crnn(found).output.bias.fill_(torch.nan)
    model = write_file(tmp_path / "nan.onnx", [lower_step(crnn(found))], Plan(SCHEMES["none"]))
    audio.write(tmp_path / "noise.wav", sound(1), 16000)
    done = CliRunner().invoke(cli, ["classify", str(tmp_path / "noise.wav"), "--model", str(model)])
    assert isinstance(done.exception, ContractError)
    assert "output logits holds NaN or infinite values" in str(done.exception)
    assert "nan%" not in done.output
