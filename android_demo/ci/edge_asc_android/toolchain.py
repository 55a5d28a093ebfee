"""The tools of a build without Gradle: Kotlin's compiler, a dexer, Android, ONNX Runtime; pinned and cached."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_asc.data.cache import default_cache
from edge_asc.errors import EdgeAscError
from edge_asc.files import locked
from edge_asc_arm.board import bootstrap

HERE = Path(__file__).parents[1]
# The only Debian release with an android.jar of classes; nothing newer is in any.
ANDROID_RELEASE, ANDROID_PACKAGE = "bullseye", "libandroid-23-java"
ANDROID_JAR = "usr/lib/android-sdk/platforms/android-23/android.jar"
# Tools of Debian, on this machine: what runs, and the package that has it.
TOOLS = {
    "java": "openjdk-17-jdk-headless",
    "javac": "openjdk-17-jdk-headless",
    "npm": "npm",
    "gcc": "gcc",
    "aapt2": "aapt",
    "zipalign": "zipalign",
    "apksigner": "apksigner",
    "mmdebstrap": "mmdebstrap",
}
LIBRARIES = {
    Path("/usr/share/java/json-latest.jar"): "libandroid-json-org-java",
    Path("/usr/share/java/junit4.jar"): "junit4",
    Path("/usr/share/java/hamcrest-core.jar"): "libhamcrest-java",
    Path("/usr/share/android-framework-res/framework-res.apk"): "android-framework-res",
}
ORT_LIBRARIES = ("libonnxruntime.so", "libonnxruntime4j_jni.so")


@dataclass(frozen=True)
class Wheel:
    """A package of Python of which one file is used, or all where none is named; nothing of it is installed."""

    requirement: str
    sha256: str
    member: str


# A dexer lies in a bundle tool, which lies in a tool that takes apps apart.
DEXER = Wheel(
    "mobsf==4.4.0",
    "74329efc7eee885ca6b9448726ca448c6f5c7ca80ec3dc9a98ee11fb7cd7c0d4",
    "mobsf/StaticAnalyzer/tools/bundletool-all-1.17.2.jar",
)
# What Android 16 (API 36) has, written as stubs of Python.
INTERFACE = Wheel(
    "chaquopy-stubs-android==36.20260406", "5e18511ccb7ae519d8c4643408cf16262fa5f20eb1d1a7e97cfe28de16e12008", ""
)


@dataclass(frozen=True)
class Toolchain:
    """Where everything is.

    Attributes:
        kotlin: folder of the compiler.
        android: classes of Android's oldest interface that the app may meet.
        dexer: a jar with D8.
        interface: folder of stubs of Android's newest interface.
        ort: classes of ONNX Runtime.
        phone: ABI → native libraries of ONNX Runtime for phones.
        native: folder with ONNX Runtime for the JVM of this machine.
    """

    kotlin: Path
    android: Path
    dexer: Path
    interface: Path
    ort: Path
    phone: dict[str, tuple[Path, ...]]
    native: Path

    @property
    def stdlib(self) -> Path:
        """Kotlin's own library."""
        return self.kotlin / "lib/kotlin-stdlib.jar"


def toolchain() -> Toolchain:
    """Everything, fetched where it is not in the cache.

    Raises:
        EdgeAscError: a tool of this machine is missing, or something cannot be fetched, or is not what is pinned.
    """
    lacking = [name for tool, name in TOOLS.items() if shutil.which(tool) is None]
    lacking += [name for path, name in LIBRARIES.items() if not path.exists()]
    if lacking:
        raise EdgeAscError(f"tools are missing; run: sudo apt install {' '.join(dict.fromkeys(lacking))}")
    if platform.machine() != "x86_64":
        raise EdgeAscError(f"this machine is {platform.machine()}; expected x86_64, as the tests' ONNX Runtime")
    cache = default_cache() / "android"
    npm = _cached(cache, "npm", (HERE / "package-lock.json").read_bytes(), _npm)
    android = _cached(cache, "interface", f"{ANDROID_RELEASE} {ANDROID_PACKAGE}".encode(), _android)
    dexer = _cached(cache, "dexer", repr(DEXER).encode(), lambda folder: _wheel(DEXER, folder))
    interface = _cached(cache, "stubs", repr(INTERFACE).encode(), lambda folder: _wheel(INTERFACE, folder))
    shims = b"".join(path.read_bytes() for path in sorted((HERE / "shims").iterdir()))
    runtime = npm / "node_modules/com.github.asus4.onnxruntime/Plugins"
    ort = _cached(
        cache, "ort", shims + (HERE / "package-lock.json").read_bytes(), lambda folder: _onnxruntime(runtime, folder)
    )
    return Toolchain(
        kotlin=npm / "node_modules/kotlin-compiler",
        android=android / Path(ANDROID_JAR).name,
        dexer=dexer / DEXER.member,
        interface=interface,
        ort=ort / "classes.jar",
        phone={
            folder.name: tuple(folder / name for name in ORT_LIBRARIES) for folder in sorted((ort / "jni").iterdir())
        },
        native=ort / "native",
    )


def run(*command: str | Path, failure: str, environment: dict[str, str] | None = None) -> str:
    """Run a command; what it prints.

    Raises:
        EdgeAscError: it failed; with all that it printed.
    """
    line = [str(part) for part in command]
    done = subprocess.run(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise EdgeAscError(f"{failure}:\n{done.stdout.strip()}")
    return done.stdout


def _cached(cache: Path, name: str, key: bytes, make: Callable[[Path], None]) -> Path:
    """A folder that `make` fills, whole or not at all, once for each key."""
    target = cache / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    with locked(cache / f"{name}.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as made:
                folder = Path(made) / name
                folder.mkdir()
                make(folder)
                folder.rename(target)
    return target


def _npm(folder: Path) -> None:
    """The Kotlin compiler and ONNX Runtime, as the lock file has them."""
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(HERE / name, folder / name)
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    run("npm", "ci", "--ignore-scripts", f"--prefix={folder}", *quiet, failure="npm packages cannot be fetched")


def _android(folder: Path) -> None:
    root = folder / "root"
    root.mkdir()
    bootstrap(root, ANDROID_RELEASE, "amd64", [ANDROID_PACKAGE])
    (root / ANDROID_JAR).resolve().rename(folder / Path(ANDROID_JAR).name)
    shutil.rmtree(root)


def _wheel(wheel: Wheel, folder: Path) -> None:
    """Unpack what is used of a wheel whose digest is pinned."""
    with tempfile.TemporaryDirectory(dir=folder) as fetched:
        requirements = Path(fetched) / "requirements.txt"
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        files = ["--only-binary=:all:", "--dest", fetched, "--requirement", str(requirements)]
        run(*pip, *files, failure=f"{wheel.requirement} cannot be fetched")
        (path,) = Path(fetched).glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder, [wheel.member] if wheel.member else None)


def _onnxruntime(plugins: Path, folder: Path) -> None:
    """Take the library for phones apart, and make its JNI library one that a JVM on this machine can load."""
    with zipfile.ZipFile(plugins / "Android/onnxruntime.aar") as archive:
        wanted = [name for name in archive.namelist() if name == "classes.jar" or name.startswith("jni/")]
        archive.extractall(folder, wanted)
    native = folder / "native"
    native.mkdir()
    shutil.copyfile(plugins / "Linux/x64/libonnxruntime.so", native / "libonnxruntime.so.1")
    shutil.copyfile(folder / "jni/x86_64" / ORT_LIBRARIES[1], native / ORT_LIBRARIES[1])
    _shim(native / "libc.so", HERE / "shims/libc.c", HERE / "shims/libc.map")
    for name in ("libm.so", "libdl.so"):
        shutil.copyfile(native / "libc.so", native / name)
    versions = native / "onnxruntime.map"
    versions.write_text(f"{_ort_version(native)} {{ global: OrtSession*; local: *; }};\n")
    linked = [f"-L{native}", "-l:libonnxruntime.so.1", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]
    _shim(native / ORT_LIBRARIES[0], HERE / "shims/onnxruntime.c", versions, linked)


def _ort_version(native: Path) -> str:
    """The name that the library gives the version of its entries."""
    marker = b"VERS_"
    data = (native / ORT_LIBRARIES[1]).read_bytes()
    begin = data.index(marker)
    return data[begin : data.index(b"\0", begin)].decode()


def _shim(target: Path, source: Path, versions: Path, libraries: Sequence[str] = ()) -> None:
    flags = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-fno-stack-protector", "-Wall", "-Werror"]
    link = [f"-Wl,-soname,{target.name}", f"-Wl,--version-script={versions}", "-Wl,--no-as-needed"]
    run("gcc", *flags, *link, "-o", target, source, *libraries, failure=f"{target.name} cannot be built")
