"""What quantisation may cost, held on the zoo: `make proof`. Minutes; prints what it measures."""

from pathlib import Path

import numpy as np
import pytest
import torch

from artefacts import crnn
from edge_asc.contract import AnyArray, InputKind
from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import default_cache
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.samples import Samples
from edge_asc.data.scenes import generate_scene
from edge_asc.engine import open_runtime
from edge_asc.evaluation.comparison import LabelledClips, evaluate
from edge_asc.evaluation.logits import decide, stream_logits
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo, zoo_path
from edge_asc_export.artefact import Draft, write
from edge_asc_export.format import FORMATS
from edge_asc_export.lowering import lower_step
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation

pytestmark = pytest.mark.slow
MINUTE = 60 * 16000 // 4096

# What the zoo is known to fall short of; everything else must hold.
SHORT = {
    ("bcresnet", "samples"): (
        "int8 decides 0.9987 to 0.9998 of the steps alike: a feature that is rounded the other way stays in the states"
    ),
    ("bcresnet", "drift"): (
        "agreement of each minute of generated scenes is 0.91 to 0.98, of the first one 0.96 and of the last one 0.93: "
        "near-ties, unlike any recording"
    ),
}


def hold(name: str, what: str, holds: bool) -> None:
    if not holds and (name, what) in SHORT:
        pytest.xfail(SHORT[name, what])
    assert holds


class Exported:
    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        path = zoo_path(name)
        assert path is not None
        self.checkpoint = Checkpoint.load(path)
        self.plan = Plan.from_json(self.checkpoint.quantisation)
        self.reference = open_runtime(path)

    def runtime(self, fmt: str, scheme: str, kind: InputKind = "features") -> Runtime:
        plan = self.plan.with_scheme(SCHEMES[scheme])
        (artefact,) = write(Draft(self.checkpoint, "", plan, input=kind), fmt)
        path = self.folder / artefact.name
        path.write_bytes(artefact.data)
        return open_runtime(path)

    def decisions(self, logits: AnyArray) -> AnyArray:
        return np.concatenate([decide(clip, self.checkpoint.decision) for clip in logits])


@pytest.fixture(scope="module", params=[name for name in zoo() if name != "fuse-50"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def recordings(scenes10: Path) -> tuple[Dataset, list[Array]]:
    dataset = Dataset.open(scenes10)
    return dataset, list(FeatureCache(default_cache(), FrontEnd()).features(dataset, dataset.clips))


@pytest.fixture(scope="module")
def long_stream() -> Array:
    """Ten minutes of generated scenes; the last minute is the first again, so that only the state differs."""
    same = np.concatenate([generate_scene(label, i, 6) for i, label in enumerate(TAU_LABELS)])
    between = [generate_scene(label, i, 60) for i, label in enumerate(TAU_LABELS[:8])]
    return LogMel(FrontEnd())(np.concatenate([same, *between, same]))


def test_int8_keeps_accuracy_at_every_length(exported: Exported, recordings: tuple[Dataset, list[Array]]) -> None:
    dataset, features = recordings
    targets = [dataset.labels.index(clip.label) for clip in dataset.clips]
    schemes = [(f"{fmt} {s}", exported.runtime(fmt, s)) for s in ("int8", "int8-dynamic") for fmt in ("onnx", "tflite")]
    labelled = LabelledClips(features, targets, dataset.labels)
    base, *results = evaluate([("float", exported.reference), *schemes], labelled, range(1, 6))
    failures = []
    for result in results:
        drop = 100 * (base.all_steps.accuracy - result.all_steps.accuracy)
        pairs = [(base.at(s), result.at(s)) for s in range(1, 6)]
        lost = [before.right - after.right for before, after in pairs if before and after]
        assert len(lost) == 5
        agreement = result.all_steps.agreement
        print(f"{exported.name} {result.model}: {drop:+.2f} points, lost by length {lost}, agreement {agreement:.4f}")
        assert agreement is not None
        least = 0.995 if "dynamic" in result.model else 0.98
        clips = max(1, round(0.01 * len(features)))
        if drop > 0.5 or max(lost) > clips or agreement < least:
            failures.append(result.model)
    hold(exported.name, "accuracy", not failures)


def test_both_formats_are_their_simulation(exported: Exported, recordings: tuple[Dataset, list[Array]]) -> None:
    _, features = recordings
    picked = [clip for clip in features[::4] if len(clip) >= 152]
    graph, plan = lower_step(crnn(exported.checkpoint)), exported.plan.with_scheme(SCHEMES["int8"])
    lowered = run_passes(Lowered.of(graph, plan), FORMATS.load("tflite").passes)
    simulations = {
        "onnx": Simulation(equalise_by_plan(graph, plan), dtype=torch.float64, plan=plan),
        "tflite": Simulation(lowered.graph, dtype=torch.float64, plan=plan, qparams=lowered.qparams),
    }
    x = LogMel(exported.checkpoint.front_end).normalise(np.stack([np.array(clip[:152]) for clip in picked]))
    batches = torch.from_numpy(x).transpose(1, 2)[:, None].split(32)
    simulated, found = {}, {}
    for fmt in ("onnx", "tflite"):
        logits = stream_logits(exported.runtime(fmt, "int8"), [clip[:152] for clip in picked])
        found[fmt] = np.stack(logits).argmax(2)
        simulated[fmt] = np.concatenate([simulations[fmt].stream(batch).numpy() for batch in batches]).argmax(2)
    shares = {
        **{f"{fmt} and simulation": (found[fmt] == simulated[fmt]).mean() for fmt in found},
        "onnx and tflite": (found["onnx"] == found["tflite"]).mean(),
    }
    print(exported.name, found["onnx"].size, "steps", {k: round(float(v), 4) for k, v in shares.items()})
    hold(exported.name, "formats", shares["onnx and tflite"] >= 0.998)
    hold(exported.name, "simulation", shares["tflite and simulation"] >= 0.999)


def test_int8_does_not_drift_in_ten_minutes(exported: Exported, long_stream: Array) -> None:
    expected = stream_logits(exported.reference, [long_stream])[0].argmax(1)
    for fmt in ("onnx", "tflite"):
        found = stream_logits(exported.runtime(fmt, "int8"), [long_stream])[0].argmax(1)
        minutes = [(expected == found)[i : i + MINUTE].mean() for i in range(0, len(found) - MINUTE + 1, MINUTE)]
        print(exported.name, fmt, "agreement by minute", [round(float(m), 3) for m in minutes])
        hold(exported.name, "drift", minutes[-1] >= minutes[0] - 0.01)


@pytest.mark.parametrize("scheme", ["none", "int8"])
@pytest.mark.parametrize("fmt", ["onnx", "tflite"])
def test_samples_are_decided_as_their_features(exported: Exported, scenes10: Path, fmt: str, scheme: str) -> None:
    """Each step's own decision, on recordings whose peak has each level."""
    dataset = Dataset.open(scenes10)
    runtimes = [exported.runtime(fmt, scheme, kind) for kind in ("features", "samples")]
    clips, log_mel = Samples(dataset, dataset.clips, 16000), LogMel(exported.checkpoint.front_end.raw)
    failures = []
    for level in (0.0, -30.0, -60.0):
        same = steps = 0
        for clip in clips:
            samples = clip * np.float32(10 ** (level / 20) / np.abs(clip).max())
            pair = ((runtimes[0], log_mel(samples)), (runtimes[1], samples))
            features, inside = (stream_logits(runtime, [value])[0].argmax(1) for runtime, value in pair)
            same, steps = same + int((features == inside).sum()), steps + len(features)
        print(f"{exported.name} {fmt} {scheme}, {level:g} dBFS: {same} of {steps} steps, {same / steps:.5f}")
        if same < 0.999 * steps:
            failures.append(level)
    hold(exported.name, "samples", not failures)
