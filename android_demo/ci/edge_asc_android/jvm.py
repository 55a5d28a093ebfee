"""The sources, compiled with warnings as errors, and their tests on the JVM with the real ONNX Runtime."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge_asc_android.toolchain import LIBRARIES, Toolchain, run
from edge_asc_bench.result import read

DEMO = Path(__file__).parents[2]
JVM = "17"


def compile_kotlin(
    tools: Toolchain, sources: Sequence[Path], classes: Path, classpath: Sequence[Path], friends: Path | None = None
) -> Path:
    """Compile to a folder of classes.

    Args:
        tools: the compiler.
        sources: files or folders.
        classes: that are made.
        classpath: what the sources need beside Kotlin's library.
        friends: classes whose internals are seen.

    Raises:
        EdgeAscError: errors, or warnings.
    """
    options = ["-Werror", "-Wextra", "-jvm-target", JVM, "-no-stdlib", "-no-reflect", "-d", str(classes)]
    if friends:
        options.append(f"-Xfriend-paths={friends}")
    run(
        "java",
        "-Xmx1g",
        "-cp",
        _path(sorted((tools.kotlin / "lib").glob("*.jar"))),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        *options,
        "-cp",
        _path([tools.stdlib, *classpath]),
        *sources,
        failure=f"{', '.join(path.as_posix() for path in sources)} cannot be compiled",
    )
    return classes


def libraries(tools: Toolchain) -> tuple[Path, ...]:
    """What tests need: JSON, JUnit, ONNX Runtime."""
    return (*(path for path in LIBRARIES if path.suffix == ".jar"), tools.ort)


def build(tools: Toolchain, output: Path) -> dict[str, Path]:
    """Compile core and ort, and their tests; folders of classes."""
    found: dict[str, Path] = {}
    for module in ("core", "ort"):
        for kind in ("main", "test"):
            name = f"{module}-{kind}"
            friends = found.get(f"{module}-main")
            found[name] = compile_kotlin(
                tools,
                [DEMO / module / "src" / kind / "kotlin"],
                output / name,
                [*found.values(), *libraries(tools)],
                friends,
            )
    return found


def test(tools: Toolchain, classes: dict[str, Path], golden: Path) -> str:
    """Run the tests; what they print.

    Raises:
        EdgeAscError: some fail.
    """
    names = [
        str(path.relative_to(DEMO / module / "src/test/kotlin").with_suffix("")).replace("/", ".")
        for module in ("core", "ort")
        for path in sorted((DEMO / module / "src/test/kotlin").rglob("*Test.kt"))
    ]
    return _java(tools, classes, "org.junit.runner.JUnitCore", *names, golden=golden, failure="tests fail")


def bench(tools: Toolchain, classes: dict[str, Path], assets: Path, model: str, output: Path) -> dict[str, Any]:
    """The phone's benchmark on this machine; its result, checked as `edge-asc bench` checks a phone's."""
    _java(tools, classes, "org.edgeasc.ort.BenchMainKt", assets, model, output, failure="the benchmark failed")
    return read(output)


def ratios(result: dict[str, Any]) -> str:
    """What the front end costs beside the model, in a result."""
    rows = [
        f"{variant['name']}: front end {latency['front_end']['p50'] * 1000:.0f} µs, model "
        f"{latency['model']['p50'] * 1000:.0f} µs, ratio {latency['front_end']['p50'] / latency['model']['p50']:.2f}; "
        f"agreement {json.dumps(round(variant['agreement']['share'], 4))}"
        for variant in result["variants"]
        if (latency := variant["latency"].get("step"))
    ]
    return "\n".join(rows)


def _java(
    tools: Toolchain,
    classes: dict[str, Path],
    main: str,
    *arguments: str | Path,
    failure: str,
    golden: Path | None = None,
) -> str:
    properties = [f"-Donnxruntime.native.path={tools.native}"]
    if golden:
        properties.append(f"-Dorg.edgeasc.golden={golden.resolve()}")
    return run(
        "java",
        *properties,
        "-cp",
        _path([*classes.values(), tools.stdlib, *libraries(tools)]),
        main,
        *arguments,
        failure=failure,
        environment={"LD_LIBRARY_PATH": str(tools.native)},
    )


def _path(entries: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, entries))
