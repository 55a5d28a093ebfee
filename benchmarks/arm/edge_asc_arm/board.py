"""Boards: an arm64 system in a folder, which appears to its programs as a Raspberry Pi."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edge_asc.data.cache import default_cache
from edge_asc.files import locked
from edge_asc.tool import run_tool
from edge_asc_arm.debian import bootstrap

RELEASE, PYTHON = "bookworm", "3.11"
# Part of the cache's key. Raise it whenever the build of a system changes.
VERSION = 2
DEBIAN = (
    "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "gzip", "libgomp1", "libstdc++6", "mawk",
    "openssh-sftp-server", "procps", "python3", "python3-venv", "sed", "tar",
)  # fmt: skip
# Dependencies of the light package, besides the pinned ones.
PACKAGES = ("click", "rich", "soundfile", "soxr")
DEVICES = ("null", "zero", "urandom", "random", "tty")
# The platforms of wheels that the release's C library runs, newest first.
TAGS = (*(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)), "manylinux2014_aarch64")
# Temperature that the boards report, thousandths of °C.
TEMPERATURE = 48000
LOCK = "lock"


@dataclass(frozen=True)
class Board:
    """A board as its programs see it. The values are published ones, not measured on a board.

    Attributes:
        name: short name, such as "pi4".
        model: name that the firmware reports.
        cpu: QEMU's name of the processor.
        part, variant, revision: fields of the processor's identification register.
        features: instruction sets, as in /proc/cpuinfo.
        frequency: highest frequency, kHz.
        caches: level, type, size in KiB, and whether all cores share the cache.
        cores: number of cores.
    """

    name: str
    model: str
    cpu: str
    part: int
    variant: int
    revision: int
    features: str
    frequency: int
    caches: tuple[tuple[int, str, int, bool], ...]
    cores: int = 4

    @property
    def has_dot_products(self) -> bool:
        """Whether there are instructions for dot products of bytes, which int8 kernels use."""
        return "asimddp" in self.features.split()


PI4 = Board(
    "pi4",
    "Raspberry Pi 4 Model B Rev 1.4",
    "cortex-a72",
    0xD08,
    0,
    3,
    "fp asimd evtstrm crc32 cpuid",
    1_800_000,
    ((1, "Data", 32, False), (1, "Instruction", 48, False), (2, "Unified", 1024, True)),
)
PI5 = Board(
    "pi5",
    "Raspberry Pi 5 Model B Rev 1.0",
    "cortex-a76",
    0xD0B,
    4,
    1,
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    2_400_000,
    ((1, "Data", 64, False), (1, "Instruction", 64, False), (2, "Unified", 512, False), (3, "Unified", 2048, True)),
)
BOARDS = {board.name: board for board in (PI4, PI5)}


def list_requirements() -> list[str]:
    """Return the Python packages of a board: those of `pins.txt`, and other dependencies of the light package."""
    lines = (files("edge_asc_arm") / "pins.txt").read_text().splitlines()
    return [*(line for line in lines if line and not line.startswith("#")), *PACKAGES]


def build(board: Board, *, refresh: bool = False) -> Path:
    """Return the root folder of a board's system; build it if it is not in the cache (some 30 s, 500 MB).

    The build executes nothing of the system, and changes nothing outside the cache.

    Args:
        board: to build the system for.
        refresh: build it again.

    Raises:
        EdgeAscError: a tool is not installed, or packages cannot be fetched.
    """
    key = hashlib.sha256(json.dumps([VERSION, RELEASE, DEBIAN, list_requirements()]).encode()).hexdigest()[:12]
    folder = default_cache() / "arm" / key
    base, root = folder / "base", folder / board.name
    with locked(folder / LOCK):
        if refresh:
            for path in folder.iterdir():
                if path.name != LOCK:
                    shutil.rmtree(path)
        if not (base / "complete").exists():
            shutil.rmtree(base, ignore_errors=True)
            _install(base)
            (base / "complete").touch()
        if not (root / "complete").exists():
            copy(base, root)
            describe(board, root)
            (root / "complete").touch()
    return root


def copy(system: Path, target: Path) -> None:
    """Copy a system, but for the file that marks it as complete.

    Raises:
        EdgeAscError: the copy fails, as on a full disk.
    """
    shutil.rmtree(target, ignore_errors=True)
    run_tool(["cp", "--archive", "--reflink=auto", system, target], f"{system} cannot be copied to {target}")
    (target / "complete").unlink()


def site_packages(root: Path) -> Path:
    """Return the folder of a system's Python packages."""
    return root / "opt" / "packages"


def _install(root: Path) -> None:
    root.mkdir()
    bootstrap(root, RELEASE, "arm64", DEBIAN)
    command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--root-user-action=ignore", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={tag}" for tag in TAGS]
    command += ["--target", str(site_packages(root)), *list_requirements()]
    run_tool(command, "the board's Python packages cannot be fetched")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/bash\npi:x:1000:1000::/home/pi:/bin/bash\n")
    (root / "etc/group").write_text("root:x:0:\npi:x:1000:\n")
    for name in ("home/pi", "root", "tmp", "dev", "proc", "sys", "opt"):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name in (*DEVICES, "ptmx"):
        (root / "dev" / name).touch()
    for link, target in (("bin/sh", "dash"), ("usr/bin/python3", f"python{PYTHON}"), ("usr/bin/awk", "mawk")):
        if not (root / link).exists():
            (root / link).symlink_to(target)


def describe(board: Board, root: Path) -> None:
    """Write the files by which a board's kernel describes it. Without them, onnxruntime crashes at import."""
    lines = []
    for core in range(board.cores):
        lines += [f"processor\t: {core}", "BogoMIPS\t: 108.00", f"Features\t: {board.features}"]
        lines += ["CPU implementer\t: 0x41", "CPU architecture: 8", f"CPU variant\t: {board.variant:#x}"]
        lines += [f"CPU part\t: {board.part:#x}", f"CPU revision\t: {board.revision}", ""]
    cores = root / "sys/devices/system/cpu"
    all_cores = f"0-{board.cores - 1}"
    texts = {
        root / "proc/cpuinfo": "\n".join([*lines, f"Model\t\t: {board.model}", ""]),
        root / "proc/device-tree/model": board.model + "\0",
        root / "sys/class/thermal/thermal_zone0/temp": f"{TEMPERATURE}\n",
        **{cores / name: f"{all_cores}\n" for name in ("possible", "present", "online")},
    }
    register = 0x41 << 24 | board.variant << 20 | 0xF << 16 | board.part << 4 | board.revision
    for core in range(board.cores):
        folder = cores / f"cpu{core}"
        values = {
            "cpufreq/cpuinfo_max_freq": board.frequency,
            "cpufreq/scaling_cur_freq": board.frequency,
            "cpufreq/scaling_governor": "ondemand",
            "regs/identification/midr_el1": f"{register:#018x}",
            "topology/physical_package_id": 0,
            "topology/core_id": core,
            "topology/core_siblings_list": all_cores,
            "topology/package_cpus_list": all_cores,
            "topology/thread_siblings_list": core,
            "topology/core_cpus_list": core,
        }
        for i, (level, kind, size, shared) in enumerate(board.caches):
            values[f"cache/index{i}/level"] = level
            values[f"cache/index{i}/type"] = kind
            values[f"cache/index{i}/size"] = f"{size}K"
            values[f"cache/index{i}/coherency_line_size"] = 64
            values[f"cache/index{i}/shared_cpu_list"] = all_cores if shared else core
        texts |= {folder / name: f"{value}\n" for name, value in values.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)
