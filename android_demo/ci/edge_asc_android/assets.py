"""The app's assets: artefacts of the zoo, and plans of benchmarks with the logits that PyTorch gives on their clips."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import edge_asc
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.scenes import VERSION, generate_scene
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array
from edge_asc.manifest import MANIFEST
from edge_asc.runtime import Runtime
from edge_asc.streaming import StreamingClassifier
from edge_asc.zoo import locate_model, zoo
from edge_asc_bench import latency
from edge_asc_bench.job import Settings
from edge_asc_bench.measurement import Model, describe_model
from edge_asc_bench.result import KIND, SCHEMA_VERSION

SECONDS = 10

Pcm = npt.NDArray[np.int16]


def clip(label: str, seconds: int = SECONDS, seed: int = 0) -> Pcm:
    """A generated scene as 16-bit samples, (n,)."""
    return np.round(np.clip(generate_scene(label, seed, seconds), -1, 32767 / 32768) * 32768).astype("<i2")


def stream(runtime: Runtime, samples: Pcm) -> list[Array]:
    """The logits of each step, (classes,)."""
    return [decision.logits for decision in StreamingClassifier(runtime).push(samples / np.float32(32768))]


def artefacts(bundles: Path, model: str) -> list[Path]:
    """The float and int8 artefacts of a model, in `bundles`/MODEL/{float,int8}.

    Raises:
        EdgeAscError: a bundle is not there.
    """
    found = []
    for scheme in ("float", "int8"):
        manifest = bundles / model / scheme / MANIFEST
        try:
            names = json.loads(manifest.read_text())["files"]
        except (OSError, ValueError, KeyError) as error:
            raise EdgeAscError(f"{manifest}: cannot be read ({error}); run: make exported") from error
        found += [manifest.parent / name for name in sorted(names)]
    return found


def write(bundles: Path, models: Sequence[str], output: Path) -> None:
    """Write the assets of some models of the zoo; the folder appears whole or not at all.

    Args:
        bundles: what `make exported` makes.
        models: of the zoo.
        output: folder, which is replaced.

    Raises:
        EdgeAscError: no such model, or it was not exported.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".assets-", dir=output.parent) as made:
        root = Path(made) / "assets"
        for name in ("models", "bench"):
            (root / name).mkdir(parents=True)
        clips = {label: clip(label) for label in TAU_LABELS}
        for label, samples in clips.items():
            (root / "bench" / f"{label}.pcm").write_bytes(samples.tobytes())
        for model in models:
            files = artefacts(bundles, model)
            for file in files:
                shutil.copyfile(file, root / "models" / file.name)
            plan = _plan(model, files, clips, root / "bench")
            (root / "bench" / f"{model}.json").write_text(json.dumps(plan, indent=1))
        if output.exists():
            output.rename(Path(made) / "before")
        root.rename(output)


def _plan(model: str, files: Sequence[Path], clips: dict[str, Pcm], folder: Path) -> dict[str, Any]:
    """A benchmark of a model's artefacts: how is measured, on what, and what is known of the result beforehand."""
    checkpoint = locate_model(model)
    if checkpoint is None:
        raise EdgeAscError(f"{model}: no checkpoint there, and not in the zoo, which has {', '.join(zoo())}")
    runtime = open_runtime(checkpoint)
    entries = []
    for label, samples in clips.items():
        logits = f"{model}-{label}.logits"
        (folder / logits).write_bytes(np.stack(stream(runtime, samples)).astype("<f4").tobytes())
        entries.append({"audio": f"{label}.pcm", "logits": logits})
    digest = hashlib.sha256(b"".join(samples.tobytes() for samples in clips.values())).hexdigest()
    variants = [describe_model(Model(path.name, path, open_runtime(path))) for path in (checkpoint, *files)]
    return {
        "kind": KIND,
        "schema_version": SCHEMA_VERSION,
        "edge_asc": edge_asc.__version__,
        "reference": checkpoint.name,
        "settings": {**asdict(Settings()), "lengths": []},
        "limits": {
            "fewest": latency.FEWEST,
            "largest_spread": latency.LARGEST_SPREAD,
            "largest_outlier": latency.LARGEST_OUTLIER,
            "largest_slowdown": latency.LARGEST_SLOWDOWN,
        },
        "percentiles": list(latency.PERCENTILES),
        "data": {"name": f"generated, version {VERSION}", "clips": len(clips), "sha256": digest, "labels": []},
        "clips": entries,
        "variants": variants,
    }
