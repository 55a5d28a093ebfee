"""A build of the Android demo without Gradle: every step, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc.progress import SILENT, Progress
from edge_asc_android import api, apk, jvm
from edge_asc_android.toolchain import fetch_toolchain
from edge_asc_bench.result import read


@dataclass(frozen=True)
class BuildSummary:
    """The results of a successful build.

    Attributes:
        tests: output of the tests.
        benchmarks: one line for each model and form: cost of the front end beside the model, and agreement.
        references: number of references to Android, all of them in its newest interface.
        apk: the debug APK.
        apk_summary: its size and contents.
    """

    tests: str
    benchmarks: tuple[str, ...]
    references: int
    apk: Path
    apk_summary: str


def build(folder: Path, progress: Progress = SILENT) -> BuildSummary:
    """Compile, test and benchmark on the JVM, check references to Android, and build a debug APK.

    Args:
        folder: with the assets and golden vectors, which `edge-asc android assets` writes; receives all output.
        progress: receives a phase for each step.

    Raises:
        EdgeAscError: the assets or the golden vectors are missing, or a step fails.
    """
    # Without vectors, tests would be skipped.
    for part in ("assets/bench", "golden/golden.json"):
        if not (folder / part).exists():
            raise EdgeAscError(f"{folder / part}: no such file or folder; run: edge-asc android assets BUNDLES")
    with progress.phase("Fetching tools"):
        tools = fetch_toolchain()
    with progress.phase("Compiling core and ort"):
        classes = jvm.build(tools, folder / "classes")
    with progress.phase("Testing"):
        tests = jvm.test(tools, classes, folder / "golden").strip()
    benchmarks: list[str] = []
    for plan in progress.track(sorted((folder / "assets/bench").glob("*.json")), "Benchmarking on the JVM"):
        output = folder / f"bench-{plan.name}"
        jvm.bench(tools, classes, folder / "assets", plan.stem, output)
        benchmarks += _summarise(output)
    with progress.phase("Compiling the app"):
        mains = [path for name, path in classes.items() if name.endswith("main")]
        app = apk.compile_app(tools, mains, folder / "apk", folder / "assets")
    with progress.phase("Checking references to Android"):
        references = [reference for path in (*mains, app.classes) for reference in api.list_references(path)]
        missing = api.find_missing(references, tools.interface)
    if missing:
        raise EdgeAscError("not in Android's interface:\n" + "\n".join(map(str, missing)))
    with progress.phase("Building the APK"):
        path = folder / "demo-debug.apk"
        apk_summary = apk.package(tools, mains, app, path)
    return BuildSummary(tests, tuple(benchmarks), len(references), path, apk_summary)


def _summarise(path: Path) -> Iterator[str]:
    """Yield a line for each model in a result: cost of the front end beside the model, and agreement."""
    for variant in read(path).variants:
        times = variant.latency.get("step")
        if times is not None and times.front_end is not None:
            front_end, model = 1000 * times.front_end.p50, 1000 * times.model.p50
            yield (
                f"{variant.name}: front end {front_end:.0f} µs, model {model:.0f} µs, "
                f"ratio {front_end / model:.2f}; agreement {variant.agreed_share:.4g}"
            )
