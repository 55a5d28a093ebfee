"""A debug APK without Gradle: resources, classes, native libraries and assets; aligned, signed and verified."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc.tool import CommandLine, run_tool
from edge_asc_android.demo import Demo
from edge_asc_android.jvm import JVM, compile_kotlin
from edge_asc_android.toolchain import LIBRARIES, Toolchain

ABI = "arm64-v8a"
FRAMEWORK = next(path for path in LIBRARIES if path.suffix == ".apk")
UNCOMPRESSED = ("onnx", "tflite")
PASSWORD = "android"


@dataclass(frozen=True)
class CompiledApp:
    """The app before packaging.

    Attributes:
        folder: of all parts.
    """

    folder: Path

    @property
    def resources(self) -> Path:
        """An APK of resources and assets, without code."""
        return self.folder / "resources.apk"

    @property
    def classes(self) -> Path:
        """The classes of the app's Kotlin sources."""
        return self.folder / "classes"

    @property
    def resource_classes(self) -> Path:
        """The classes that name the resources."""
        return self.folder / "resources"

    @property
    def signatures(self) -> tuple[Path, Path]:
        """Classes without code, for compilation only: LiteRT's library, and newer parts of Android."""
        return self.folder / "litert", self.folder / "stubs"


def compile_app(tools: Toolchain, mains: Sequence[Path], output: Path, assets: Path) -> CompiledApp:
    """Link the resources, and compile the app against Android's interface.

    LiteRT's library is present as signatures alone, and so is what Android has added since its oldest interface.

    Args:
        tools: compilers, and the demo's sources.
        mains: classes of the demo's other modules.
        output: folder, emptied first.
        assets: folder of the app's assets.

    Raises:
        EdgeAscError: a step reports errors or warnings.
    """
    app, demo = CompiledApp(output), tools.demo
    shutil.rmtree(output, ignore_errors=True)
    for name in ("generated", "resources", "stubs"):
        (output / name).mkdir(parents=True)
    _link_resources(demo, app, assets)
    litert, stubs = app.signatures
    _compile_java(sorted((demo.ci / "stubs").rglob("*.java")), stubs, "stubs cannot be compiled")
    _compile_java(sorted((output / "generated").rglob("*.java")), app.resource_classes, "R cannot be compiled")
    compile_kotlin(tools, sorted((demo.ci / "stubs").rglob("*.kt")), litert, [tools.android])
    classpath = [stubs, litert, app.resource_classes, *mains, tools.ort, tools.android]
    compile_kotlin(tools, [demo.kotlin("app", "main")], app.classes, classpath)
    return app


def package(tools: Toolchain, mains: Sequence[Path], app: CompiledApp, output: Path) -> str:
    """Dex all classes, put everything into one APK, align, sign and verify it.

    Args:
        tools: the dexer, and the libraries that go in.
        mains: classes of the demo's other modules.
        app: the compiled app.
        output: the APK.

    Returns:
        A summary of the APK.

    Raises:
        EdgeAscError: a step fails or warns, or the APK lacks a part.
    """
    _dex(tools, [*mains, app.classes, app.resource_classes], app)
    with zipfile.ZipFile(app.resources, "a", zipfile.ZIP_DEFLATED) as archive:
        for dex in sorted((app.folder / "dex").glob("*.dex")):
            archive.write(dex, dex.name)
        for library in tools.phone[ABI]:
            archive.write(library, f"lib/{ABI}/{library.name}")
    aligned = app.folder / "aligned.apk"
    run_tool(["zipalign", "-f", "-p", "4", app.resources, aligned], "the APK cannot be aligned", whole_output=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    _sign(tools.demo, aligned, app.folder / "debug.keystore", output)
    return verify(tools.demo, output)


def verify(demo: Demo, apk: Path) -> str:
    """Check the alignment, the signatures and the parts of an APK; return a summary of it.

    Raises:
        EdgeAscError: the APK is not aligned, not signed, or lacks a part.
    """
    minimum = demo.setting("minSdk")
    run_tool(["zipalign", "-c", "-p", "4", apk], f"{apk}: not aligned", whole_output=True)
    command: CommandLine = ["apksigner", "verify", "--verbose", "--min-sdk-version", minimum, apk]
    signatures = run_tool(command, f"{apk}: not signed", whole_output=True)
    command = ["aapt2", "dump", "badging", apk]
    badging = run_tool(command, f"{apk}: its manifest cannot be read", whole_output=True)
    names = zipfile.ZipFile(apk).namelist()
    models = [name for name in names if name.startswith("assets/models/")]
    expected = {
        f"package: name='{demo.setting('applicationId')}'": badging,
        f"sdkVersion:'{minimum}'": badging,
        f"targetSdkVersion:'{demo.setting('targetSdk')}'": badging,
        "android.permission.RECORD_AUDIO": badging,
        f"launchable-activity: name='{demo.setting('namespace')}.MainActivity'": badging,
        "Verified using v2 scheme (APK Signature Scheme v2): true": signatures,
        "Verified using v3 scheme (APK Signature Scheme v3): true": signatures,
    }
    missing = [text for text, output in expected.items() if text not in output]
    missing += [name for name in ("classes.dex", f"lib/{ABI}/libonnxruntime.so") if name not in names]
    missing += [
        f"assets/models/*.{suffix}" for suffix in UNCOMPRESSED if not any(name.endswith(suffix) for name in models)
    ]
    if missing:
        raise EdgeAscError(f"{apk}: lacks {'; '.join(missing)}")
    return f"{apk.stat().st_size / 1e6:.0f} MB, {len(models)} artefacts, signatures v2 and v3"


def _link_resources(demo: Demo, app: CompiledApp, assets: Path) -> None:
    """Compile and link the resources to an APK, and generate the Java source of the class R."""
    manifest, compiled = app.folder / "AndroidManifest.xml", app.folder / "res.zip"
    # Gradle adds the package, and aapt2 needs it.
    text = (demo.app / "AndroidManifest.xml").read_text()
    manifest.write_text(text.replace("<manifest ", f'<manifest package="{demo.setting("namespace")}" ', 1))
    command: CommandLine = ["aapt2", "compile", "--dir", demo.app / "res", "-o", compiled]
    run_tool(command, "resources cannot be compiled", whole_output=True)
    options = ["--min-sdk-version", demo.setting("minSdk"), "--target-sdk-version", demo.setting("targetSdk")]
    options += ["--version-code", demo.setting("versionCode"), "--version-name", demo.setting("versionName")]
    options += ["--debug-mode", *(part for suffix in UNCOMPRESSED for part in ("-0", suffix))]
    command = ["aapt2", "link", *options, "-I", FRAMEWORK, "--manifest", manifest, "-A", assets]
    command += ["--java", app.folder / "generated", "-o", app.resources, compiled]
    run_tool(command, "resources cannot be linked", whole_output=True)


def _compile_java(sources: Sequence[Path], classes: Path, failure: str) -> None:
    run_tool(["javac", "--release", JVM, "-d", classes, *sources], failure, whole_output=True)


def _dex(tools: Toolchain, classes: Sequence[Path], app: CompiledApp) -> None:
    """Convert folders of classes, Kotlin's library and ONNX Runtime's classes to DEX files in `app.folder`/dex.

    Raises:
        EdgeAscError: the dexer fails or warns.
    """
    work = app.folder
    jars = [_jar(folder, work / f"{folder.parent.name}-{folder.name}.jar") for folder in classes]
    (work / "dex").mkdir()
    command: CommandLine = ["java", "-Xmx1g", "-cp", tools.dexer, "com.android.tools.r8.D8", "--debug"]
    command += ["--min-api", tools.demo.setting("minSdk"), "--lib", tools.android]
    for folder in app.signatures:
        command += ["--classpath", _jar(folder, work / f"{folder.name}.jar")]
    command += ["--output", work / "dex", *jars, tools.stdlib, tools.ort]
    output = run_tool(command, "classes cannot be dexed", whole_output=True)
    if "Warning" in output:
        raise EdgeAscError(f"classes cannot be dexed without warnings:\n{output}")


def _sign(demo: Demo, aligned: Path, keystore: Path, output: Path) -> None:
    """Sign an aligned APK with a new debug key."""
    command: CommandLine = ["keytool", "-genkeypair", "-keystore", keystore, "-keyalg", "RSA", "-keysize", "2048"]
    command += ["-alias", "debug", "-dname", "CN=Debug", "-validity", "10000"]
    command += ["-storepass", PASSWORD, "-keypass", PASSWORD]
    run_tool(command, "the debug key cannot be generated", whole_output=True)
    command = ["apksigner", "sign", "--min-sdk-version", demo.setting("minSdk"), "--ks", keystore]
    command += ["--ks-pass", f"pass:{PASSWORD}", "--out", output, aligned]
    run_tool(command, "the APK cannot be signed", whole_output=True)


def _jar(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*.class")):
            archive.write(path, path.relative_to(folder))
    return target
