import copy
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from artefacts import Artefacts, clips, sound
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import LogMel
from edge_asc.progress import SILENT, Progress
from edge_asc_bench import job as job_folder
from edge_asc_bench.events import Decide, Event, LogitsWritten, TaskFailed, TimesMeasured
from edge_asc_bench.gate import IncomparableError, check
from edge_asc_bench.inputs import Clips
from edge_asc_bench.job import Job, Settings, Task
from edge_asc_bench.latency import Distribution, disturbances
from edge_asc_bench.limits import Limits
from edge_asc_bench.machine import Machine, describe, read_condition
from edge_asc_bench.measurement import Benchmark
from edge_asc_bench.measurement import bench as bench_on
from edge_asc_bench.process import WorkerProcess
from edge_asc_bench.quality import add_losses
from edge_asc_bench.result import Result, Sample, Variant, read
from edge_asc_bench.runner import run as run_job
from edge_asc_bench.summary import list_notes
from edge_asc_bench.targets.local import LocalTarget
from recorder import Recorder

CLIPS = Clips("noise", clips(3, 40), (), (), "digest")


def quick(**changes: Any) -> Settings:
    return Settings(**{"rounds": 1, "warm_up": 1, "lead": 1, "burst": 3, "window_burst": 1, **changes})


def bench(models: list[tuple[str, Path]], audio: Clips, settings: Settings, progress: Progress = SILENT) -> Result:
    (result,) = bench_on(Benchmark(models, audio, settings), [LocalTarget()], progress=progress)
    return result


def test_models_are_measured_side_by_side(artefacts: Artefacts, tmp_path: Path) -> None:
    models = [(name, path) for name, path in artefacts.steps.items()]
    models.append(("int8", artefacts.folder / "step-int8.tflite"))
    seen = Recorder()
    settings = quick(lengths=(1,), rounds=2, duration=0.01)
    result = bench(models, CLIPS, settings, progress=seen)
    (tmp_path / "result.json").write_text(json.dumps(result.to_json(), allow_nan=False))
    assert read(tmp_path / "result.json") == result
    assert result.reference == "torch"
    assert ("latency", 1, 2) in seen.updates
    for variant in result.variants:
        step = variant.latency["step"]
        assert step.total.count == 6
        for name in ("p50", "mean", "maximum"):
            parts = getattr(step.front_end, name) + getattr(step.model, name)
            assert 0 < getattr(step.total, name) <= 1.5 * parts
        assert step.real_time_factor == pytest.approx(step.total.mean / 256, rel=1e-3)
        assert step.cold_start_ms >= step.load_ms > 0
        assert step.sustained is not None
        assert step.sustained.ratio > 0
        assert any("few for percentiles" in doubt for doubt in step.unstable)
        memory = variant.memory
        assert memory is not None
        assert memory.bare is not None
        assert memory.front_end is not None
        assert memory.imported is not None
        assert memory.peak is not None
        assert 0 < memory.bare < memory.front_end < memory.imported < memory.peak
        assert len(step.rounds_ms) == 2
        assert list(step.total.percentiles) == ["0", "1", "5", "10", "25", "50", "75", "90", "95", "99", "100"]
        assert step.total.percentiles["50"] == step.total.p50
    phases = [sample.phase for sample in result.conditions]
    assert [phases[0], phases[-1]] == ["before", "after"]
    assert "latency" in phases
    shares = {v.name: v.agreement.share for v in result.variants if v.agreement}
    assert shares["onnx"] == shares["tflite"] == 1.0
    assert "torch" not in shares
    int8 = result.variants[-1]
    assert int8.graph is not None
    assert int8.graph.partitions == 1
    assert int8.state_bytes < result.variants[0].state_bytes / 3


def test_accuracy_comes_with_the_clips_that_are_right(artefacts: Artefacts) -> None:
    contract_labels = artefacts.causal.labels
    audio = Clips("noise", clips(3, 40), contract_labels, (0, 1, 2), "digest")
    result = bench([("torch", artefacts.steps["torch"])], audio, quick(lengths=(1,), rounds=1))
    accuracy = result.variants[0].accuracy
    assert accuracy is not None
    (row,) = accuracy.lengths
    assert len(row.right_clips) == row.count == 3
    assert row.right_clips.count("1") == row.right


def test_artefacts_that_take_samples_are_measured_beside_others(artefacts: Artefacts) -> None:
    samples = [sound(1.3, seed) for seed in range(3)]
    features = [LogMel(artefacts.causal.front_end.raw)(clip) for clip in samples]
    audio = Clips("noise", features, artefacts.causal.labels, (0, 1, 2), "digest", samples)
    models = [("torch", artefacts.steps["torch"])]
    models += [(name, artefacts.folder / name) for name in ("step-samples.onnx", "step-int16.tflite", "step.tflite")]
    result = bench(models, audio, quick(lengths=(1,), rounds=1))
    _, inside, integer, beside = result.variants
    for variant in (inside, integer):
        step = variant.latency["step"]
        assert step.front_end is None
        assert step.total == step.model
    assert beside.latency["step"].front_end is not None
    for variant in (inside, beside):
        assert variant.agreed_share == 1.0
        assert variant.accuracy is not None
    with pytest.raises(EdgeAscError, match="takes samples; got features alone"):
        bench(models, CLIPS, quick(lengths=(1,), rounds=1))


def test_windows_are_measured_each(artefacts: Artefacts) -> None:
    result = bench([("w", artefacts.folder / "windows.tflite")], CLIPS, quick(lengths=(1, 2), rounds=1))
    (variant,) = result.variants
    assert set(variant.latency) == {"1", "2"}
    assert variant.agreement is None
    assert variant.latency["2"].period_s == 0.25


def test_a_window_that_is_not_asked_for_is_an_error_before_anything_is_measured(artefacts: Artefacts) -> None:
    with pytest.raises(EdgeAscError, match="has windows of 1, 2 s; name one of them"):
        bench([("w", artefacts.folder / "windows.tflite")], CLIPS, quick(lengths=(5,), rounds=1))


def test_models_of_other_labels_are_not_compared(artefacts: Artefacts, tmp_path: Path) -> None:
    other = dataclasses.replace(artefacts.causal, labels=tuple("klmnopqrst"))
    other.save(tmp_path / "other")
    models = [("torch", artefacts.steps["torch"]), ("other", tmp_path / "other")]
    result = bench(models, CLIPS, quick(lengths=(1,), rounds=1))
    assert [variant.agreement for variant in result.variants] == [None, None]


def test_a_model_that_cannot_be_opened_is_named(artefacts: Artefacts, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tflite"
    bad.write_bytes(b"nothing")
    with pytest.raises(EdgeAscError, match=r"bad\.tflite"):
        bench([("bad", bad)], CLIPS, quick(rounds=1))


def test_a_process_that_ends_is_an_error_with_its_exit_code(artefacts: Artefacts, tmp_path: Path) -> None:
    np.save(tmp_path / "audio.npy", np.zeros(160000, np.float32))
    shutil.copy(artefacts.steps["onnx"], tmp_path / "x.onnx")
    process = WorkerProcess(0, Task(0, "onnx", "x.onnx", "onnxruntime", None), tmp_path, 1)
    process._process.kill()
    process._process.wait()
    with pytest.raises(EdgeAscError, match="onnx: its process ended with exit code -9"):
        process.ask(Decide(1), TimesMeasured)
    process.close()


def test_the_worker_reports_errors_and_goes_on() -> None:
    opening = {"request": "open", "task": 0, "path": "no-such.onnx", "threads": 1, "seconds": None, "audio": "a"}
    text = "".join(json.dumps(request) + "\n" for request in (opening, {"request": "guess"}, {"request": "memory"}))
    done = subprocess.run(
        [sys.executable, "-m", "edge_asc_bench.worker"], input=text, capture_output=True, text=True, check=True
    )
    first, second, third = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["event"], second["event"], third["event"]) == ("error", "error", "memory")
    assert "No such file" in first["message"]
    assert "expected a JSON request of: open, decide, evaluate, memory" in second["message"]
    assert third["now"] > 0


def test_distributions() -> None:
    times = Distribution.of([1_000_000] * 299 + [9_000_000])
    assert (times.p50, times.maximum, times.count) == (1.0, 9.0, 300)
    assert any("standard deviation" in doubt for doubt in times.doubts())
    assert Distribution.of([2_000_000] * 300).doubts() == []
    tail = Distribution.of([1_000_000] * 280 + [2_000_000] * 20)
    assert any("99th percentile is 2.0 times" in doubt for doubt in tail.doubts())
    counted: Any = np.arange(1, 201) * 1000
    assert Distribution.of(counted).round().count == 200


def test_the_machine_is_described_and_what_is_unknown_is_listed() -> None:
    machine = describe()
    assert machine.packages["numpy"]
    assert machine.packages["ai-edge-litert"], "a package of an engine"
    assert machine.cores is not None
    assert machine.cores >= 1
    assert all(getattr(machine, name) is None for name in machine.missing)
    assert "emulated" not in machine.missing
    assert Machine().missing == ()


def test_a_raspberry_pis_throttling_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text("#!/bin/sh\necho throttled=0x50005\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_condition().throttling == (
        "under-voltage",
        "throttled",
        "under-voltage since boot",
        "throttled since boot",
    )


def test_what_disturbs_a_machine_while_it_measures_is_reported() -> None:
    def sample(
        phase: str, frequency_mhz: tuple[float, ...] = (1500.0,), throttling: tuple[str, ...] | None = None
    ) -> Sample:
        return Sample(
            at=0.0,
            phase=phase,
            frequency_mhz=frequency_mhz,
            throttling=throttling,
            temperature_c=None,
            load=None,
        )

    calm = [sample("before", frequency_mhz=(600.0,)), sample("latency"), sample("after latency")]
    assert disturbances(calm) == []
    assert disturbances([*calm, sample("latency", frequency_mhz=(600.0, 900.0))]) == [
        "the processor ran at 900 to 1500 MHz"
    ]
    flags = ("throttled", "under-voltage since boot")
    assert disturbances([*calm, sample("latency", throttling=flags)]) == ["the firmware reported: throttled"]


def test_what_each_step_to_a_device_costs_is_reported_separately(artefacts: Artefacts) -> None:
    """Whole clip, stream, float artefact, int8 artefact: three differences, none of them summed up."""
    names = {"torch": artefacts.steps["torch"], "float": artefacts.steps["tflite"]}
    names["int8"] = artefacts.folder / "step-int8.tflite"
    audio = Clips("noise", clips(12, 40), artefacts.causal.labels, tuple(i % 10 for i in range(12)), "digest")
    result = bench(list(names.items()), audio, quick(lengths=(1,)))
    torch, plain, int8 = (variant.loss for variant in result.variants)
    assert torch is not None
    assert plain is not None
    assert int8 is not None
    assert int8.quantisation is not None
    assert (torch.streaming, torch.export, torch.quantisation) == ({"1": 0.0, "all": 0.0}, None, None)
    assert (plain.streaming, plain.export, plain.quantisation) == (torch.streaming, {"1": 0.0, "all": 0.0}, None)
    accuracies = [variant.accuracy for variant in result.variants if variant.accuracy]
    shares = [accuracy.all_steps.accuracy for accuracy in accuracies]
    assert int8.quantisation["all"] == pytest.approx(100 * (shares[1] - shares[2]), abs=1e-3)
    assert result.whole_clip is not None
    assert result.whole_clip.lengths[0].accuracy == accuracies[0].lengths[0].accuracy
    alone = bench([("torch", names["torch"]), ("int8", names["int8"])], audio, quick(lengths=(1,)))
    assert alone.variants[1].loss is not None
    assert alone.variants[1].loss.quantisation is None


def test_a_float_artefact_stands_for_itself_and_other_checkpoints_for_nothing(
    artefacts: Artefacts, tmp_path: Path
) -> None:
    """Two float artefacts of one engine: each is compared with PyTorch, not with the first of them."""
    reversed_labels = dataclasses.replace(artefacts.causal, labels=tuple(reversed(artefacts.causal.labels)))
    reversed_labels.save(tmp_path / "other")
    paths = {"torch": artefacts.steps["torch"], "a": artefacts.steps["tflite"], "other": tmp_path / "other"}
    audio = Clips("noise", clips(12, 40), artefacts.causal.labels, tuple(i % 10 for i in range(12)), "digest")
    result = bench(list(paths.items()), audio, quick(lengths=(1,)))
    torch, plain, other = (replace(variant, loss=None) for variant in result.variants)
    a, b = (replace(at_accuracy(plain, share), name=name) for name, share in (("a", 0.5), ("b", 0.25)))
    other = replace(other, checkpoint_sha256="another")
    torch, a, other, b = add_losses([torch, a, other, b], "torch", result.whole_clip)
    assert torch.accuracy is not None
    base = torch.accuracy.all_steps.accuracy
    assert a.loss is not None
    assert a.loss.export is not None
    assert b.loss is not None
    assert b.loss.export is not None
    assert a.loss.export["all"] == pytest.approx(100 * (base - 0.5), abs=1e-3)
    assert b.loss.export["all"] == pytest.approx(100 * (base - 0.25), abs=1e-3)
    assert other.loss is None


def at_accuracy(variant: Variant, share: float) -> Variant:
    assert variant.accuracy is not None
    steps = replace(variant.accuracy.all_steps, accuracy=share)
    return replace(variant, accuracy=replace(variant.accuracy, all_steps=steps))


def test_the_runner_needs_numpy_and_the_runtime_alone(artefacts: Artefacts, tmp_path: Path) -> None:
    """All other packages are hidden."""
    blocker = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in HIDDEN:
            raise ModuleNotFoundError(f"No module named {top!r}", name=top)
sys.meta_path.insert(0, Hidden())
""".replace(
        "HIDDEN",
        repr({"scipy", "torch", "rich", "click", "soundfile", "soxr", "onnx", "jinja2", "asyncssh", "msgspec"}),
    )
    # Children take nothing from the environment, so they get a Python of their own that hides the packages.
    packages = tmp_path / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    packages.mkdir(parents=True)
    (packages / "hidden.py").write_text(blocker)
    (packages / "hidden.pth").write_text("import hidden\n")
    python = Path(sys.executable).resolve()
    (tmp_path / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(python)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", str(tmp_path / "bin/python"))
        result = bench([("x", artefacts.folder / "step-int8.tflite")], CLIPS, quick(lengths=(1,)))
    step = result.variants[0].latency["step"]
    assert step.front_end is not None
    assert "numpy" in result.machine.packages


def test_a_model_that_fails_is_reported_and_the_others_are_measured(artefacts: Artefacts, tmp_path: Path) -> None:
    broken = copy.deepcopy(artefacts.causal)
    with torch.no_grad():
        next(broken.model.parameters()).fill_(float("nan"))
    broken.save(tmp_path / "broken")
    models = [
        ("broken", tmp_path / "broken"),
        ("onnx", artefacts.steps["onnx"]),
        ("int8", artefacts.folder / "step-int8.tflite"),
    ]
    finished: dict[str, Result] = {}
    bench_on(Benchmark(models, CLIPS, quick(lengths=(1,))), [LocalTarget()], finished=finished.__setitem__)
    result = finished["local"]
    assert not result.complete
    assert result.incomplete is not None
    assert result.incomplete.startswith("broken failed: ")
    nan, onnx, int8 = result.variants
    assert isinstance(nan.failed, str)
    assert (nan.latency, nan.accuracy, nan.agreement) == ({}, None, None)
    assert onnx.latency["step"].total.count == int8.latency["step"].total.count == 3
    assert result.reference is None
    (tmp_path / "result.json").write_text(json.dumps(result.to_json(), allow_nan=False))
    assert read(tmp_path / "result.json") == result
    with pytest.raises(IncomparableError, match=r"the result is incomplete .*broken failed"):
        check(result, result, Limits())
    assert "incomplete: broken failed" in "; ".join(list_notes(result))


def test_a_worker_that_dies_is_a_failed_model(
    artefacts: Artefacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    models = [artefacts.steps["onnx"], artefacts.folder / "step-int8.tflite"]
    tasks = tuple(
        Task(i, path.name, f"models/{i}/{path.name}", engine, None)
        for i, (path, engine) in enumerate(zip(models, ("onnxruntime", "litert"), strict=True))
    )
    job = Job(tasks, quick(rounds=2), (40,))
    sources = {task.file: path for task, path in zip(tasks, models, strict=True)}
    job_folder.write(tmp_path, job, sources, sound(10.0), clips(1, 40))

    def emit(event: Event) -> None:
        events.append(event)
        if isinstance(event, TimesMeasured) and event.task == 0:  # the first model dies after its first round
            workers[0]._process.kill()

    workers: list[WorkerProcess] = []
    opened = WorkerProcess.__init__

    def remember(self: WorkerProcess, *arguments: Any) -> None:
        workers.append(self)
        opened(self, *arguments)

    monkeypatch.setattr(WorkerProcess, "__init__", remember)
    run_job(tmp_path, emit)
    (failed,) = [event for event in events if isinstance(event, TaskFailed)]
    assert failed.task == 0
    assert "its process ended" in failed.message
    assert [event.task for event in events if isinstance(event, LogitsWritten)] == [1]
    assert [event.task for event in events if isinstance(event, TimesMeasured)] == [0, 1, 1]
