"""The app's assets: pretrained models' artefacts, and plans of benchmarks with PyTorch's logits on their clips."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

import edge_asc
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.scenes import VERSION, generate_scene
from edge_asc.engine import open_runtime
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.frontend import Array
from edge_asc.manifest import Manifest
from edge_asc.progress import SILENT, Progress
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc.zoo import locate_model, zoo
from edge_asc_bench import latency
from edge_asc_bench.inputs import Model
from edge_asc_bench.job import Settings
from edge_asc_bench.result import KIND, SCHEMA_VERSION, Variant
from edge_asc_bench.variant import describe_model

SECONDS = 10

Pcm = npt.NDArray[np.int16]


@dataclass(frozen=True)
class ClipFiles:
    """The files of one clip, beside the plan.

    Attributes:
        audio: 16-bit samples, little-endian.
        logits: PyTorch's logits of each step, single precision, little-endian.
    """

    audio: str
    logits: str


@dataclass(frozen=True)
class BenchmarkPlan:
    """The app's benchmark of one model: its settings and clips, and the fields of the result that are known before.

    Attributes:
        reference: name of the checkpoint whose logits the artefacts are compared with.
        clips: files of each clip.
        samples_sha256: SHA-256 over the samples of all clips.
        variants: the checkpoint and the artefacts, as a result describes them.
    """

    reference: str
    clips: tuple[ClipFiles, ...]
    samples_sha256: str
    variants: tuple[Variant, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that the app reads."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "edge_asc": edge_asc.__version__,
            "reference": self.reference,
            "settings": {**asdict(Settings()), "lengths": []},
            "limits": {
                "fewest": latency.FEWEST,
                "largest_spread": latency.LARGEST_SPREAD,
                "largest_outlier": latency.LARGEST_OUTLIER,
                "largest_slowdown": latency.LARGEST_SLOWDOWN,
            },
            "percentiles": list(latency.PERCENTILES),
            "data": {
                "name": f"generated, version {VERSION}",
                "clips": len(self.clips),
                "sha256": self.samples_sha256,
                "labels": [],
            },
            "clips": [asdict(clip) for clip in self.clips],
            "variants": msgspec.to_builtins(self.variants),
        }


def generate_clip(label: str, seconds: int = SECONDS, seed: int = 0) -> Pcm:
    """Return a generated scene as 16-bit samples, (16000 · seconds,)."""
    return np.round(np.clip(generate_scene(label, seed, seconds), -1, 32767 / 32768) * 32768).astype("<i2")


def stream(runtime: Runtime, samples: Pcm) -> list[Array]:
    """Return the logits of each step, (classes,)."""
    return [decision.logits for decision in StreamingClassifier(runtime).push(samples / np.float32(32768))]


def list_artefacts(bundles: Path, model: str) -> list[Path]:
    """Return the float and int8 artefacts of a model, in `bundles`/MODEL/{float,int8}.

    Raises:
        EdgeAscError: a bundle is missing or damaged.
    """
    paths = []
    for scheme in ("float", "int8"):
        bundle = bundles / model / scheme
        try:
            names = Manifest.read(bundle).files
        except ContractError as error:
            raise EdgeAscError(f"{error}; for the pretrained models, run: make exported") from error
        paths += [bundle / name for name in sorted(names)]
    return paths


def write(bundles: Path, models: Sequence[str], output: Path, progress: Progress = SILENT) -> None:
    """Write the assets of pretrained models. The folder appears whole or not at all.

    Args:
        bundles: folder with `MODEL/float` and `MODEL/int8` of each model; `make exported` writes it.
        models: names of pretrained models.
        output: folder, replaced.
        progress: receives a unit of work for each model.

    Raises:
        EdgeAscError: no pretrained model has this name, or its artefacts are missing.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".assets-", dir=output.parent) as temporary:
        root = Path(temporary) / "assets"
        for name in ("models", "bench"):
            (root / name).mkdir(parents=True)
        clips = {label: generate_clip(label) for label in TAU_LABELS}
        for label, samples in clips.items():
            (root / "bench" / f"{label}.pcm").write_bytes(samples.tobytes())
        for model in progress.track(models, "Writing assets"):
            artefacts = list_artefacts(bundles, model)
            for artefact in artefacts:
                shutil.copyfile(artefact, root / "models" / artefact.name)
            plan = _plan_benchmark(model, artefacts, clips, root / "bench")
            (root / "bench" / f"{model}.json").write_text(json.dumps(plan.to_json(), indent=1))
        if output.exists():
            output.rename(Path(temporary) / "before")
        root.rename(output)


def _plan_benchmark(model: str, artefacts: Sequence[Path], clips: Mapping[str, Pcm], folder: Path) -> BenchmarkPlan:
    """Plan a benchmark of a model's artefacts, and write PyTorch's logits on each clip to `folder`."""
    checkpoint = locate_model(model)
    if checkpoint is None:
        raise EdgeAscError(f"{model}: no such pretrained model; expected one of {', '.join(zoo())}")
    runtime = open_runtime(checkpoint)
    files = []
    for label, samples in clips.items():
        logits = f"{model}-{label}.logits"
        (folder / logits).write_bytes(np.stack(stream(runtime, samples)).astype("<f4").tobytes())
        files.append(ClipFiles(f"{label}.pcm", logits))
    return BenchmarkPlan(
        reference=checkpoint.name,
        clips=tuple(files),
        samples_sha256=hashlib.sha256(b"".join(samples.tobytes() for samples in clips.values())).hexdigest(),
        variants=tuple(describe_model(Model.open(path.name, path)) for path in (checkpoint, *artefacts)),
    )
