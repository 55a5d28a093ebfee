import gc
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from artefacts import LABELS, Artefacts, checkpoint, clips, contract, crnn, sound, write_file
from edge_asc.contract import Affine, AnyArray, Signature, StreamContract
from edge_asc.engine import open_runtime
from edge_asc.engines import litert
from edge_asc.engines.litert import LiteRTRuntime
from edge_asc.engines.onnxruntime import OnnxRuntime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ContractError, EdgeAscError, MissingExtraError
from edge_asc.evaluation.checkpoints import WholeClipRuntime, stream_clips
from edge_asc.files import sha256
from edge_asc.frontend import LogMel
from edge_asc.loop import Loop
from edge_asc.manifest import Entry, Manifest
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier, WindowedClassifier
from edge_asc.training.checkpoint_contract import checkpoint_contract
from edge_asc_export.lowering import lower_step
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

ENGINES = ("torch", "onnx", "tflite")
NAMES = {"torch": "torch ", "onnx": "onnxruntime ", "tflite": "litert "}


def valid_inputs(runtime: Runtime, signature: str = "step", seed: int = 0) -> dict[str, AnyArray]:
    rng = np.random.default_rng(seed)
    inputs = {}
    for spec in runtime.contract.signature(signature).inputs:
        if spec.dtype == "float32":
            inputs[spec.name] = rng.normal(0, 0.5, spec.shape).astype(np.float32)
        else:
            inputs[spec.name] = rng.integers(0, 100, spec.shape).astype(spec.dtype)
    return inputs


@pytest.fixture(scope="module")
def runtimes(artefacts: Artefacts) -> dict[str, Runtime]:
    return {name: open_runtime(path) for name, path in artefacts.steps.items()}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_runtime_names_its_engine_and_version(runtimes: dict[str, Runtime], engine: str) -> None:
    assert runtimes[engine].engine.startswith(NAMES[engine])
    assert runtimes[engine].engine[-1].isdigit() or "+" in runtimes[engine].engine


def test_engines_agree_over_a_long_stream_with_the_whole_clip(
    runtimes: dict[str, Runtime], artefacts: Artefacts
) -> None:
    samples = sound(17)
    logits = {}
    for name, runtime in runtimes.items():
        logits[name] = np.array([d.logits for d in StreamingClassifier(runtime).push(samples)])
    assert len(logits["torch"]) == 66
    frames = LogMel(artefacts.causal.front_end)(samples)[: 66 * 8]
    with torch.inference_mode():
        whole = artefacts.causal.model(torch.from_numpy(frames.T[None, None].copy())).logits[0].numpy()
    assert whole.std(axis=0).mean() > 1e-2
    for name in ENGINES:
        np.testing.assert_allclose(logits[name], whole, rtol=0, atol=1e-4, err_msg=name)


def test_outputs_of_a_step_agree_by_name(runtimes: dict[str, Runtime]) -> None:
    """With random states, all different: a state that reads or writes another's place shows."""
    inputs = valid_inputs(runtimes["torch"])
    expected = runtimes["torch"].run("step", inputs)
    for engine in ("onnx", "tflite"):
        specs = {spec.name: spec for spec in runtimes[engine].contract.signature("step").inputs}
        outputs = runtimes[engine].run(
            "step", {k: laid_out(v, specs[k].axes, specs[k].shape) for k, v in inputs.items()}
        )
        assert expected.keys() == outputs.keys()
        for spec in runtimes[engine].contract.signature("step").outputs:
            value = laid_out(expected[spec.name], spec.axes, spec.shape)
            np.testing.assert_allclose(outputs[spec.name], value, rtol=0, atol=1e-4, err_msg=spec.name)


def laid_out(value: AnyArray, axes: tuple[str, ...], shape: tuple[int, ...]) -> AnyArray:
    """(batch, channel, mel, time) in another order; in TFLite the cache of the stem has blocks of four bins."""
    if value.ndim < 4:
        return value
    value = value.transpose([("batch", "channel", "mel", "time").index(axis) for axis in axes])
    if value.shape != shape:
        value = np.pad(value, ((0, 0), (0, 0), (2, 2), (0, 0))).reshape(shape)
    return np.ascontiguousarray(value)


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_belong_to_the_caller(runtimes: dict[str, Runtime], engine: str) -> None:
    runtime = runtimes[engine]
    first = valid_inputs(runtime, seed=1)
    for value in first.values():
        value.flags.writeable = False
    outputs = runtime.run("step", first)
    kept = {name: value.copy() for name, value in outputs.items()}
    runtime.run("step", valid_inputs(runtime, seed=2))
    for name, value in outputs.items():
        np.testing.assert_array_equal(value, kept[name], err_msg=name)
        value.fill(7)
    for name, value in runtime.run("step", first).items():
        np.testing.assert_array_equal(value, kept[name], err_msg=name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda x: x | {"hidden_7": x["hidden_0"]}, "hidden_7"),
        (lambda x: {k: v for k, v in x.items() if k != "hidden_1"}, "expected .*hidden_1"),
        (
            lambda x: x | {"hidden_0": x["hidden_0"][:, :9]},
            r"hidden_0 is float32 \(1, 9\); expected float32 \(1, 10\)",
        ),
        (lambda x: x | {"hidden_0": x["hidden_0"].astype(np.float64)}, "hidden_0 is float64"),
        (lambda x: x | {"hidden_0": x["hidden_0"].astype(">f4")}, "hidden_0 is >f4"),
        (lambda x: x | {"features": np.swapaxes(x["features"], 1, 3)}, "features is"),
        (lambda x: x | {"features": x["features"] * np.nan}, "features holds NaN"),
        (lambda x: x | {"hidden_0": x["hidden_0"] + np.inf}, "hidden_0 holds NaN or infinite"),
    ],
)
def test_inputs_that_the_contract_does_not_describe_are_refused(
    runtimes: dict[str, Runtime], engine: str, damage: Callable[[dict[str, Any]], Any], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        runtimes[engine].run("step", damage(valid_inputs(runtimes[engine])))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unknown_signature_is_refused(runtimes: dict[str, Runtime], engine: str) -> None:
    with pytest.raises(ContractError, match="no signature 'window_1s'"):
        runtimes[engine].run("window_1s", {})


@pytest.mark.parametrize(("name", "dtype"), [("step-int8.tflite", "int8"), ("step-int8.onnx", "uint8")])
def test_integer_states_are_fed_back_raw(artefacts: Artefacts, name: str, dtype: str) -> None:
    runtime = open_runtime(artefacts.folder / name)
    caches = [spec for spec in runtime.contract.signature("step").states() if spec.name.startswith("cache_")]
    assert caches
    assert {spec.dtype for spec in caches} == {dtype}
    classifier = StreamingClassifier(runtime)
    (loop,) = classifier.loops
    for spec in caches:
        assert spec.quantisation is not None
        assert (loop.state[spec.name] == spec.quantisation.zero_point).all()
    classifier.push(sound(2))
    found = loop.state
    assert {found[spec.name].dtype for spec in caches} == {np.dtype(dtype)}
    assert any((found[spec.name] != spec.quantisation.zero_point).any() for spec in caches if spec.quantisation)


EVERY = ["torch", "onnx", "tflite", "step-int8.onnx", "step-int8.tflite"]


class TestLoop:
    """States that stay in the engine are those that go out and come back."""

    @pytest.fixture(params=EVERY)
    def runtime(self, request: pytest.FixtureRequest, artefacts: Artefacts) -> Runtime:
        return open_runtime(artefacts.steps.get(request.param, artefacts.folder / request.param))

    def values(self, loop: Loop, count: int = 5, seed: int = 0) -> list[AnyArray]:
        rng = np.random.default_rng(seed)
        return [rng.normal(0, 1, loop.source.shape).astype(np.float32) for _ in range(count)]

    def test_gives_what_run_gives(self, runtime: Runtime) -> None:
        kept, plain = runtime.loop("step"), Loop(runtime, runtime.contract.signature("step"))
        assert type(kept) is not Loop
        for value in self.values(kept):
            np.testing.assert_array_equal(kept.feed(value), plain.feed(value))
            assert kept.state.keys() == plain.state.keys()
            for name, state in plain.state.items():
                np.testing.assert_array_equal(kept.state[name], state, err_msg=name)

    def test_interleaved_loops_and_runs_do_not_disturb_each_other(self, runtime: Runtime) -> None:
        alone = runtime.loop("step")
        first, second = self.values(alone, seed=1), self.values(alone, seed=2)
        expected = [alone.feed(value) for value in first]
        one, other = runtime.loop("step"), runtime.loop("step")
        found = []
        for mine, its in zip(first, second, strict=True):
            found.append(one.feed(mine))
            other.feed(its)
            runtime.run("step", valid_inputs(runtime))
        np.testing.assert_array_equal(found, expected)

    def test_results_and_states_are_the_callers(self, runtime: Runtime) -> None:
        loop = runtime.loop("step")
        values = self.values(loop, 3)
        result = loop.feed(values[0])
        state, copy = loop.state, result.copy()
        kept = {name: value.copy() for name, value in state.items()}
        expected = loop.feed(values[1])
        np.testing.assert_array_equal(result, copy)
        for name, value in state.items():
            np.testing.assert_array_equal(value, kept[name])
        loop.feed(values[2])
        loop.state = kept
        np.testing.assert_array_equal(loop.feed(values[1]), expected)
        result.fill(7)
        loop.state = kept
        np.testing.assert_array_equal(loop.feed(values[1]), expected)

    def test_a_reset_goes_back_to_the_start(self, runtime: Runtime) -> None:
        loop = runtime.loop("step")
        values = self.values(loop)
        expected = [loop.feed(value) for value in values]
        runtime.loop("step").feed(values[1])
        loop.reset()
        np.testing.assert_array_equal([loop.feed(value) for value in values], expected)

    def test_its_call_can_be_watched(self, runtime: Runtime) -> None:
        loop = runtime.loop("step")
        calls: list[int] = []
        call = loop.call

        def watched() -> None:
            calls.append(len(calls))
            call()

        loop.call = watched
        values = self.values(loop, 3)
        found = [loop.feed(value) for value in values]
        assert calls == [0, 1, 2]
        plain = runtime.loop("step")
        np.testing.assert_array_equal(found, [plain.feed(value) for value in values])

    def test_ends_with_its_runtime_kept_alive(self, artefacts: Artefacts) -> None:
        kept = open_runtime(artefacts.steps["tflite"])
        expected = [kept.loop("step").feed(value) for value in self.values(kept.loop("step"), 1)]
        loop = open_runtime(artefacts.steps["tflite"]).loop("step")
        gc.collect()
        np.testing.assert_array_equal([loop.feed(value) for value in self.values(loop, 1)], expected)

    @pytest.mark.parametrize("evicted", [False, True])
    def test_a_state_that_is_written_to_changes_no_stream(self, runtime: Runtime, evicted: bool) -> None:
        loop, plain = runtime.loop("step"), runtime.loop("step")
        first, second = self.values(loop, 2)
        expected = [plain.feed(first), plain.feed(second)]
        states = [loop.state]
        loop.feed(first)
        if evicted:
            runtime.loop("step").feed(second)
        for state in (*states, loop.state, loop.state):
            for value in state.values():
                value[...] = 7
        np.testing.assert_array_equal(loop.feed(second), expected[1])
        loop.reset()
        np.testing.assert_array_equal(loop.feed(first), expected[0])

    @pytest.mark.parametrize("change", ["missing", "unknown", "shape", "dtype", "nan"])
    def test_a_state_that_is_none_is_refused_and_changes_nothing(self, runtime: Runtime, change: str) -> None:
        loop, plain = runtime.loop("step"), runtime.loop("step")
        first, second = self.values(loop, 2)
        np.testing.assert_array_equal(loop.feed(first), plain.feed(first))
        runtime.loop("step").feed(second)
        state = loop.state
        name = next((key for key, value in state.items() if value.dtype == np.float32 or change != "nan"), None)
        if name is None:
            pytest.skip("integers are always finite")
        match change:
            case "missing":
                del state[name]
            case "unknown":
                state["other"] = state[name]
            case "shape":
                state[name] = state[name][..., :1]
            case "dtype":
                state[name] = state[name].astype(np.float64)
            case "nan":
                state[name][...] = np.nan
        with pytest.raises(ContractError, match=r"state"):
            loop.state = state
        np.testing.assert_array_equal(loop.feed(second), plain.feed(second))

    def test_a_runtime_goes_with_its_last_stream(self, runtime: Runtime) -> None:
        loop = runtime.loop("step")
        loop.feed(self.values(loop, 1)[0])
        gone = weakref.ref(loop)
        gc.disable()
        try:
            del loop
            assert gone() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("engine", ["onnx", "tflite"])
def test_the_whole_contract_is_in_the_file(artefacts: Artefacts, engine: str) -> None:
    found = open_runtime(artefacts.steps[engine]).contract
    weights = artefacts.folder / "checkpoint/weights.safetensors"
    assert found == contract(found.signatures, weights=weights)
    assert [spec.name for spec in found.signature("step").states()][-2:] == ["hidden_0", "hidden_1"]


def test_the_contract_of_a_checkpoint_is_that_of_its_onnx_artefact(
    runtimes: dict[str, Runtime], artefacts: Artefacts
) -> None:
    ours = checkpoint_contract(artefacts.causal)
    theirs = runtimes["onnx"].contract.signatures[0]
    for mine, others in ((ours.signatures[0].inputs, theirs.inputs), (ours.signatures[0].outputs, theirs.outputs)):
        assert {(spec.name, spec.role, spec.dtype, spec.feeds) for spec in mine} == {
            (spec.name, spec.role, spec.dtype, spec.feeds) for spec in others
        }
        sizes = {spec.name: dict(zip(spec.axes, spec.shape, strict=True)) for spec in others}
        assert {spec.name: dict(zip(spec.axes, spec.shape, strict=True)) for spec in mine} == sizes
    assert StreamContract.parse(ours.dumps()) == ours
    model = crnn(artefacts.causal)
    assert model.auxiliary is not None
    auxiliary = sum(p.numel() for p in model.auxiliary.parameters())
    assert ours.parameters == sum(p.numel() for p in model.parameters()) - auxiliary


def test_the_contract_of_a_windowed_checkpoint_has_the_embeddings_of_each_window(artefacts: Artefacts) -> None:
    ours = checkpoint_contract(artefacts.windowed)
    assert ours.windows == tuple(range(1, 11))
    tflite = open_runtime(artefacts.folder / "windows.tflite").contract
    for seconds in (1, 2):
        name = f"window_{seconds}s"
        assert ours.signature(name).outputs == tflite.signature(name).outputs
        assert ours.signature(name).frames == tflite.signature(name).frames
    assert set(ours.signature("gru").outputs) == set(tflite.signature("gru").outputs)
    assert ours.signature("gru").inputs == tflite.signature("gru").inputs


def test_a_model_without_gru_does_not_stream() -> None:
    with pytest.raises(ContractError, match="does not stream"):
        TorchRuntime(checkpoint(head="gap"))


def test_torch_streams_many_clips_as_one_by_one(artefacts: Artefacts) -> None:
    runtime = TorchRuntime(artefacts.causal)
    rng = np.random.default_rng(5)
    clips = [rng.normal(0, 1, (frames, 256)).astype(np.float32) for frames in (24, 29, 7, 40, 24, 0)]
    results = stream_clips(runtime, clips)
    assert [len(result) for result in results] == [3, 3, 0, 5, 3, 0]
    for clip, result in zip(clips, results, strict=True):
        classifier = StreamingClassifier(runtime)
        alone = [classifier.push_input(clip[t : t + 8]).logits for t in range(0, len(clip) - 7, 8)]
        np.testing.assert_allclose(result, np.reshape(alone, (-1, 10)), rtol=0, atol=1e-5)


def test_torch_refuses_to_stream_what_it_cannot(artefacts: Artefacts) -> None:
    runtime = TorchRuntime(artefacts.causal)
    with pytest.raises(ContractError, match=r"expected \(frames, 256\)"):
        stream_clips(runtime, [np.zeros((256, 8), np.float32)])
    with pytest.raises(ContractError, match="NaN"):
        stream_clips(runtime, [np.full((8, 256), np.nan, np.float32)])
    with pytest.raises(ContractError, match="windowed"):
        stream_clips(TorchRuntime(artefacts.windowed), [])


def test_torch_leaves_the_number_of_threads_as_it_was(artefacts: Artefacts) -> None:
    before = torch.get_num_threads()
    runtime = TorchRuntime(artefacts.causal, threads=before + 1)
    seen = []
    handle = artefacts.causal.model.output.register_forward_hook(lambda *_: seen.append(torch.get_num_threads()))
    runtime.run("step", valid_inputs(runtime))
    handle.remove()
    assert seen == [before + 1]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("name", ["step.onnx", "step.tflite"])
class TestDamage:
    def copy(self, artefacts: Artefacts, name: str, folder: Path, *, manifest: bool) -> Path:
        path = folder / name
        path.write_bytes((artefacts.folder / name).read_bytes())
        if manifest:
            inside = open_runtime(path).contract
            entry = Entry(sha256(path), path.stat().st_size, path.suffix[1:], "an engine", inside)
            Manifest("random", {name: entry}).write(folder)
        return path

    def test_a_file_that_its_manifest_lists_opens(self, artefacts: Artefacts, name: str, tmp_path: Path) -> None:
        path = self.copy(artefacts, name, tmp_path, manifest=True)
        assert open_runtime(path).contract.labels == LABELS
        assert open_runtime(tmp_path).contract.labels == LABELS

    def test_one_flipped_bit_is_refused_by_hash(self, artefacts: Artefacts, name: str, tmp_path: Path) -> None:
        path = self.copy(artefacts, name, tmp_path, manifest=True)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        for opened in (path, tmp_path):
            with pytest.raises(ContractError, match=f"{name}: SHA-256 is"):
                open_runtime(opened)

    @pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
    def test_a_cut_file_is_refused_without_a_manifest(
        self, artefacts: Artefacts, name: str, tmp_path: Path, kept: float
    ) -> None:
        path = self.copy(artefacts, name, tmp_path, manifest=False)
        data = path.read_bytes()
        path.write_bytes(data[: int(kept * len(data))])
        with pytest.raises(ContractError, match=name):
            open_runtime(path)

    @pytest.mark.parametrize("data", [b"not a model" * 100, b"\x00\x00\x00\x20TFL3" + b"\xff" * 100, b"\x08\x07" * 99])
    def test_what_is_no_model_is_refused(self, name: str, tmp_path: Path, artefacts: Artefacts, data: bytes) -> None:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ContractError, match=name):
            open_runtime(tmp_path / name)


def test_artefacts_without_a_contract_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, artefacts: Artefacts
) -> None:
    for module in ("onnx_writer", "tflite_writer"):
        monkeypatch.setattr(f"edge_asc_export.{module}.METADATA_KEY", "something_else")
    graph = lower_step(crnn(artefacts.causal))
    for name in ("a.onnx", "a.tflite"):
        write_file(tmp_path / name, [graph], Plan(SCHEMES["none"]))
    for runtime, name in ((OnnxRuntime, "a.onnx"), (LiteRTRuntime, "a.tflite")):
        with pytest.raises(ContractError, match=f"{name}: no stream contract inside"):
            runtime(tmp_path / name)


def test_artefacts_whose_tensors_differ_from_the_contract_are_refused(
    tmp_path: Path, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A longer state, a renamed one and another type are each told from what the file holds."""
    for name, runtime in (("step.onnx", OnnxRuntime), ("step.tflite", LiteRTRuntime)):
        real = open_runtime(artefacts.folder / name).contract
        for change, message in (
            ({"shape": (1, 11)}, r"hidden_0 is float32 \(1, 10\) in the file and float32 \(1, 11\)"),
            ({"name": "hidden_x"}, "hidden_0 is float32 .* in the file and absent"),
            ({"dtype": "int8", "quantisation": Affine(0.1, 0)}, "hidden_0 is float32 .* in the file and int8"),
        ):
            altered = replace(real, signatures=(_altered(real.signatures[0], "hidden_0", change),))
            monkeypatch.setattr(StreamContract, "parse", classmethod(lambda cls, text, value=altered: value))
            with pytest.raises(ContractError, match=f"{name}: step inputs: {message}"):
                runtime(artefacts.folder / name)
            monkeypatch.undo()


def _altered(signature: Signature, state: str, change: Any) -> Signature:
    renamed = change.get("name", state)
    outputs = {k: v for k, v in change.items() if k != "name"}
    return replace(
        signature,
        inputs=tuple(replace(s, **change) if s.name == state else s for s in signature.inputs),
        outputs=tuple(replace(s, **outputs, feeds=renamed) if s.feeds == state else s for s in signature.outputs),
    )


@pytest.fixture
def fresh_engine() -> Iterator[None]:
    litert._interpreter.cache_clear()
    yield
    litert._interpreter.cache_clear()


@pytest.mark.usefixtures("fresh_engine")
class TestInstallation:
    @pytest.mark.parametrize(("engine", "package"), [("tflite", "ai_edge_litert.interpreter"), ("onnx", "onnxruntime")])
    def test_a_missing_engine_gives_one_line_with_its_extra(
        self, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch, engine: str, package: str
    ) -> None:
        for name in (package, "tflite_runtime", "tensorflow"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(MissingExtraError) as error:
            open_runtime(artefacts.steps[engine])
        expected = f"{package} is not installed; install it with: pip install 'edge-asc[{engine}]'"
        assert str(error.value) == expected

    @pytest.mark.parametrize(
        ("package", "version", "loss"),
        [
            ("tflite_runtime", "2.14.0", "to six are others than in LiteRT"),
            ("tensorflow", "2.21.0", "ten times the memory"),
        ],
    )
    def test_an_older_interpreter_runs_with_one_warning(
        self, artefacts: Artefacts, monkeypatch: pytest.MonkeyPatch, package: str, version: str, loss: str
    ) -> None:
        real = sys.modules["ai_edge_litert.interpreter"]
        for name in ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime", "tensorflow"):
            monkeypatch.setitem(sys.modules, name, None)
        older: Any = ModuleType(package)
        older.__version__, older.__path__, older.lite = version, [], real
        monkeypatch.setitem(sys.modules, package, older)
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", real)
        with pytest.warns(UserWarning, match=f"running TFLite in {package} {version}.*{loss}"):
            runtime = LiteRTRuntime(artefacts.steps["tflite"])
        assert runtime.engine == f"{package} {version}"
        assert LiteRTRuntime(artefacts.steps["tflite"]).engine == runtime.engine
        assert len(StreamingClassifier(runtime).push(sound(1))) == 3


def test_windowed_and_causal_artefacts_are_not_confused(artefacts: Artefacts) -> None:
    with pytest.raises(ContractError, match="use StreamingClassifier"):
        WindowedClassifier.from_artefact(artefacts.steps["onnx"], 1)
    with pytest.raises(ContractError, match="use WindowedClassifier"):
        StreamingClassifier.from_artefact(artefacts.folder / "windows.tflite")


@pytest.mark.parametrize("name", ["nothing.eager", "nothing.mnn", "nothing.onnx"])
def test_nothing_of_another_engine_s_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContractError, match="no model there"):
        open_runtime(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeAscError, match="no model there"):
        open_runtime(tmp_path / "absent.onnx")


def test_whole_clips_in_one_pass_equal_steps(artefacts: Artefacts) -> None:
    whole, steps = WholeClipRuntime(artefacts.causal), TorchRuntime(artefacts.causal)
    audio = clips(3, 40, seed=4)
    for one, other in zip(stream_clips(whole, audio), stream_clips(steps, audio), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    assert whole.engine == f"{steps.engine}, whole clip"
    assert stream_clips(whole, [clips(1, 4)[0]])[0].shape == (0, 10)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_of_onnxruntime_sleep_between_steps(artefacts: Artefacts, threads: int) -> None:
    """Spinning threads would keep their cores busy between decisions."""
    runtime: Any = open_runtime(artefacts.folder / "step-int8.onnx", threads=threads)
    options = runtime._session.get_session_options()
    spins = [options.get_session_config_entry(f"session.{kind}_op.allow_spinning") for kind in ("intra", "inter")]
    assert spins == ["0", "0"]
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)
