"""The Kotlin sources on the JVM: compiled with warnings as errors, tested with the real ONNX Runtime, benchmarked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from edge_asc.tool import CommandLine, run_tool
from edge_asc_android.toolchain import LIBRARIES, Toolchain

JVM = "17"
MODULES = ("core", "ort")


def compile_kotlin(
    tools: Toolchain, sources: Sequence[Path], classes: Path, classpath: Sequence[Path], friends: Path | None = None
) -> Path:
    """Compile Kotlin to a folder of classes, and return the folder.

    Args:
        tools: the compiler.
        sources: files or folders.
        classes: output folder.
        classpath: libraries besides Kotlin's own.
        friends: classes whose internal members the sources may use.

    Raises:
        EdgeAscError: the compiler reports errors or warnings.
    """
    options = ["-Werror", "-Wextra", "-jvm-target", JVM, "-no-stdlib", "-no-reflect", "-d", str(classes)]
    if friends:
        options.append(f"-Xfriend-paths={friends}")
    compiler = _path(sorted((tools.kotlin / "lib").glob("*.jar")))
    command = ["java", "-Xmx1g", "-cp", compiler, "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", *options]
    run_tool(
        [*command, "-cp", _path([tools.stdlib, *classpath]), *sources],
        f"{', '.join(path.as_posix() for path in sources)} cannot be compiled",
        whole_output=True,
    )
    return classes


def libraries(tools: Toolchain) -> tuple[Path, ...]:
    """Return the libraries of the tests: JSON, JUnit, ONNX Runtime."""
    return (*(path for path in LIBRARIES if path.suffix == ".jar"), tools.ort)


def build(tools: Toolchain, output: Path) -> dict[str, Path]:
    """Compile core, ort and their tests; return each folder of classes under a name such as "core-main"."""
    classes: dict[str, Path] = {}
    for module in MODULES:
        for source_set in ("main", "test"):
            name = f"{module}-{source_set}"
            friends = classes.get(f"{module}-main")
            sources = [tools.demo.kotlin(module, source_set)]
            classpath = [*classes.values(), *libraries(tools)]
            classes[name] = compile_kotlin(tools, sources, output / name, classpath, friends)
    return classes


def test(tools: Toolchain, classes: Mapping[str, Path], golden: Path) -> str:
    """Run the tests with a folder of golden vectors, and return their output.

    Raises:
        EdgeAscError: a test fails.
    """
    names = []
    for module in MODULES:
        root = tools.demo.kotlin(module, "test")
        tests = (path.relative_to(root).with_suffix("") for path in sorted(root.rglob("*Test.kt")))
        names += [".".join(path.parts) for path in tests]
    properties = [f"-Dorg.edgeasc.golden={golden.resolve()}"]
    return _run_java(tools, classes, ["org.junit.runner.JUnitCore", *names], "tests fail", properties)


def bench(tools: Toolchain, classes: Mapping[str, Path], assets: Path, model: str, output: Path) -> None:
    """Run the app's benchmark of a model on the JVM of this machine, and write its result to `output`."""
    command: CommandLine = ["org.edgeasc.ort.BenchMainKt", assets, model, output]
    _run_java(tools, classes, command, f"the benchmark of {model} failed")


def _run_java(
    tools: Toolchain,
    classes: Mapping[str, Path],
    command: Sequence[str | Path],
    failure: str,
    properties: Sequence[str] = (),
) -> str:
    """Run a main class with its arguments, and return its output."""
    classpath = _path([*classes.values(), tools.stdlib, *libraries(tools)])
    return run_tool(
        ["java", f"-Donnxruntime.native.path={tools.native}", *properties, "-cp", classpath, *command],
        failure,
        environment={**os.environ, "LD_LIBRARY_PATH": str(tools.native)},
        whole_output=True,
    )


def _path(entries: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, entries))
