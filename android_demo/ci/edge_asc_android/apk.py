"""A debug APK without Gradle: resources, classes, native libraries, assets; aligned, signed, verified."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from edge_asc.errors import EdgeAscError
from edge_asc_android.jvm import DEMO, JVM, compile_kotlin
from edge_asc_android.toolchain import HERE, LIBRARIES, Toolchain, run

APP = DEMO / "app/src/main"
ABI = "arm64-v8a"
FRAMEWORK = next(path for path in LIBRARIES if path.suffix == ".apk")
UNCOMPRESSED = ("onnx", "tflite")
PASSWORD = "android"


def setting(name: str) -> str:
    """What Gradle's build file of the app sets.

    Raises:
        EdgeAscError: it does not.
    """
    found = re.search(rf"^\s*{name} = \"?([^\"\n]+)\"?$", (DEMO / "app/build.gradle.kts").read_text(), re.MULTILINE)
    if found is None:
        raise EdgeAscError(f"{DEMO / 'app/build.gradle.kts'}: no {name}")
    return found[1]


def compile_app(tools: Toolchain, mains: Sequence[Path], output: Path, assets: Path) -> tuple[Path, Path]:
    """Link resources, and compile the app against Android's interface; its classes, and an APK without code.

    What LiteRT's library has is there as signatures alone, and so is what Android has since its oldest interface.
    """
    shutil.rmtree(output, ignore_errors=True)
    for name in ("generated", "resources", "stubs"):
        (output / name).mkdir(parents=True)
    manifest = output / "AndroidManifest.xml"
    package = setting("namespace")
    manifest.write_text(
        (APP / "AndroidManifest.xml").read_text().replace("<manifest ", f'<manifest package="{package}" ', 1)
    )
    run("aapt2", "compile", "--dir", APP / "res", "-o", output / "res.zip", failure="resources cannot be compiled")
    options: list[str | Path] = ["--min-sdk-version", setting("minSdk"), "--target-sdk-version", setting("targetSdk")]
    options += ["--version-code", setting("versionCode"), "--version-name", setting("versionName"), "--debug-mode"]
    options += [part for suffix in UNCOMPRESSED for part in ("-0", suffix)]
    files: list[str | Path] = ["-I", FRAMEWORK, "--manifest", manifest, "-A", assets, "--java", output / "generated"]
    unsigned = output / "resources.apk"
    run("aapt2", "link", *options, *files, "-o", unsigned, output / "res.zip", failure="resources cannot be linked")
    java = sorted((HERE / "stubs").rglob("*.java"))
    run("javac", "--release", JVM, "-d", output / "stubs", *java, failure="stubs cannot be compiled")
    resources = sorted((output / "generated").rglob("*.java"))
    run("javac", "--release", JVM, "-d", output / "resources", *resources, failure="R cannot be compiled")
    litert = compile_kotlin(tools, sorted((HERE / "stubs").rglob("*.kt")), output / "litert", [tools.android])
    classpath = [output / "stubs", litert, output / "resources", *mains, tools.ort, tools.android]
    return compile_kotlin(tools, [APP / "kotlin"], output / "classes", classpath), unsigned


def package(tools: Toolchain, classes: Iterable[Path], unsigned: Path, output: Path) -> str:
    """Dex classes, put everything into one file, align, sign and verify it; what was found.

    Args:
        tools: the dexer, and what else goes in.
        classes: folders, the app's with `stubs` and `litert` beside it, which do not go in.
        unsigned: resources and assets.
        output: the APK.

    Raises:
        EdgeAscError: a step fails or warns, or the result lacks something.
    """
    work = unsigned.parent
    jars = [_jar(folder, work / f"{folder.parent.name}-{folder.name}.jar") for folder in classes]
    (work / "dex").mkdir()
    lookup: list[str | Path] = ["--lib", tools.android]
    for name in ("litert", "stubs"):
        lookup += ["--classpath", _jar(work / name, work / f"{name}.jar")]
    told = run(
        "java",
        "-Xmx1g",
        "-cp",
        tools.dexer,
        "com.android.tools.r8.D8",
        "--debug",
        "--min-api",
        setting("minSdk"),
        *lookup,
        "--output",
        work / "dex",
        *jars,
        tools.stdlib,
        tools.ort,
        failure="classes cannot be dexed",
    )
    if "Warning" in told:
        raise EdgeAscError(f"classes cannot be dexed without warnings:\n{told}")
    with zipfile.ZipFile(unsigned, "a", zipfile.ZIP_DEFLATED) as archive:
        for dex in sorted((work / "dex").glob("*.dex")):
            archive.write(dex, dex.name)
        for library in tools.phone[ABI]:
            archive.write(library, f"lib/{ABI}/{library.name}")
    aligned = work / "aligned.apk"
    run("zipalign", "-f", "-p", "4", unsigned, aligned, failure="the APK cannot be aligned")
    key = work / "debug.keystore"
    kind = ["-keyalg", "RSA", "-keysize", "2048", "-alias", "debug", "-dname", "CN=Debug", "-validity", "10000"]
    secret = ["-storepass", PASSWORD, "-keypass", PASSWORD]
    run("keytool", "-genkeypair", "-keystore", key, *kind, *secret, failure="no key")
    output.parent.mkdir(parents=True, exist_ok=True)
    signing: list[str | Path] = ["--ks", key, "--ks-pass", f"pass:{PASSWORD}", "--out", output]
    run(
        "apksigner",
        "sign",
        "--min-sdk-version",
        setting("minSdk"),
        *signing,
        aligned,
        failure="the APK cannot be signed",
    )
    return verify(output)


def verify(apk: Path) -> str:
    """Check alignment, signatures, and that all is inside; what was found.

    Raises:
        EdgeAscError: something is wrong or missing.
    """
    run("zipalign", "-c", "-p", "4", apk, failure=f"{apk}: not aligned")
    signed = run(
        "apksigner", "verify", "--verbose", "--min-sdk-version", setting("minSdk"), apk, failure=f"{apk}: not signed"
    )
    badging = run("aapt2", "dump", "badging", apk, failure=f"{apk}: its manifest cannot be read")
    names = zipfile.ZipFile(apk).namelist()
    models = [name for name in names if name.startswith("assets/models/")]
    wanted = {
        f"package: name='{setting('applicationId')}'": badging,
        f"sdkVersion:'{setting('minSdk')}'": badging,
        f"targetSdkVersion:'{setting('targetSdk')}'": badging,
        "android.permission.RECORD_AUDIO": badging,
        f"launchable-activity: name='{setting('namespace')}.MainActivity'": badging,
        "Verified using v2 scheme (APK Signature Scheme v2): true": signed,
        "Verified using v3 scheme (APK Signature Scheme v3): true": signed,
    }
    lacking = [text for text, where in wanted.items() if text not in where]
    lacking += [name for name in ("classes.dex", f"lib/{ABI}/libonnxruntime.so") if name not in names]
    lacking += [
        f"assets/models/*.{suffix}" for suffix in UNCOMPRESSED if not any(name.endswith(suffix) for name in models)
    ]
    if lacking:
        raise EdgeAscError(f"{apk}: lacks {'; '.join(lacking)}")
    return f"{apk.stat().st_size / 1e6:.0f} MB, {len(models)} artefacts, signatures v2 and v3"


def _jar(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*.class")):
            archive.write(path, path.relative_to(folder))
    return target
