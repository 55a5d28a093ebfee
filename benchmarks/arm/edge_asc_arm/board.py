"""Boards: an arm64 system in a folder, seen by programs in it as one of several Raspberry Pis."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edge_asc_bench.targets.remote import last_line

from edge_asc.data.cache import default_cache
from edge_asc.errors import EdgeAscError
from edge_asc.files import locked

RELEASE, PYTHON = "bookworm", "3.11"
# Part of the key of the cache: to be raised when a built system would look different.
VERSION = 2
DEBIAN = (
    "bash", "ca-certificates", "coreutils", "dash", "findutils", "grep", "gzip", "libgomp1", "libstdc++6", "mawk",
    "openssh-sftp-server", "procps", "python3", "python3-venv", "sed", "tar",
)  # fmt: skip
# What the light package needs beside the pinned ones.
PACKAGES = ("click", "rich", "soundfile", "soxr")
SOURCES = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
DEVICES = ("null", "zero", "urandom", "random", "tty")
UNNEEDED = ("doc", "man", "locale", "info", "perl", "perl5")
# What each release's C library runs, newest first.
TAGS = (*(f"manylinux_2_{minor}_aarch64" for minor in range(36, 16, -1)), "manylinux2014_aarch64")
TEMPERATURE = 48000
LOCK = "lock"


@dataclass(frozen=True)
class Board:
    """What programs see of a board. Its values are those published for these systems, not read off one.

    Attributes:
        name: short.
        model: as a board's firmware tells it.
        cpu: QEMU's name of the processor.
        part, variant, revision: of the processor's identification register.
        features: as /proc/cpuinfo lists them.
        frequency: highest, kHz.
        caches: level, type, KiB, and whether all cores share it.
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
    def dot_products(self) -> bool:
        """It has instructions for sums of products of bytes, which int8 kernels use."""
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


def requirements() -> list[str]:
    """The packages of a board: those of `pins.txt`, and what else the light package needs."""
    lines = (files("edge_asc_arm") / "pins.txt").read_text().splitlines()
    return [*(line for line in lines if line and not line.startswith("#")), *PACKAGES]


def build(board: Board, *, refresh: bool = False) -> Path:
    """The root folder of a board's system, made where it is not in the cache: some 30 s, 500 MB.

    Nothing of it is executed for that, and nothing outside the cache is changed.

    Raises:
        EdgeAscError: a tool is missing, or packages cannot be fetched.
    """
    key = hashlib.sha256(json.dumps([VERSION, RELEASE, DEBIAN, requirements()]).encode()).hexdigest()[:12]
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
    """Copy a system; what the copy lacks is the mark of being complete.

    Raises:
        EdgeAscError: no room.
    """
    shutil.rmtree(target, ignore_errors=True)
    call(["cp", "--archive", "--reflink=auto", str(system), str(target)], "the system could not be copied")
    (target / "complete").unlink()


def site(root: Path) -> Path:
    """Where the Python packages of a system are."""
    return root / "opt" / "packages"


def _install(root: Path) -> None:
    root.mkdir()
    bootstrap(root, RELEASE, "arm64", DEBIAN)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    command += ["--root-user-action=ignore", "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    command += [f"--platform={tag}" for tag in TAGS]
    call([*command, "--target", str(site(root)), *requirements()], "no packages could be fetched")
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
    """Write what a board's kernel would tell of it: onnxruntime's processor detection ends the process without that."""
    lines = []
    for core in range(board.cores):
        lines += [f"processor\t: {core}", "BogoMIPS\t: 108.00", f"Features\t: {board.features}"]
        lines += ["CPU implementer\t: 0x41", "CPU architecture: 8", f"CPU variant\t: {board.variant:#x}"]
        lines += [f"CPU part\t: {board.part:#x}", f"CPU revision\t: {board.revision}", ""]
    cores = root / "sys/devices/system/cpu"
    everyone = f"0-{board.cores - 1}"
    texts = {
        root / "proc/cpuinfo": "\n".join([*lines, f"Model\t\t: {board.model}", ""]),
        root / "proc/device-tree/model": board.model + "\0",
        root / "sys/class/thermal/thermal_zone0/temp": f"{TEMPERATURE}\n",
        **{cores / name: f"{everyone}\n" for name in ("possible", "present", "online")},
    }
    register = 0x41 << 24 | board.variant << 20 | 0xF << 16 | board.part << 4 | board.revision
    for core in range(board.cores):
        here = cores / f"cpu{core}"
        values = {
            "cpufreq/cpuinfo_max_freq": board.frequency,
            "cpufreq/scaling_cur_freq": board.frequency,
            "cpufreq/scaling_governor": "ondemand",
            "regs/identification/midr_el1": f"{register:#018x}",
            "topology/physical_package_id": 0,
            "topology/core_id": core,
            "topology/core_siblings_list": everyone,
            "topology/package_cpus_list": everyone,
            "topology/thread_siblings_list": core,
            "topology/core_cpus_list": core,
        }
        for i, (level, kind, size, shared) in enumerate(board.caches):
            values[f"cache/index{i}/level"] = level
            values[f"cache/index{i}/type"] = kind
            values[f"cache/index{i}/size"] = f"{size}K"
            values[f"cache/index{i}/coherency_line_size"] = 64
            values[f"cache/index{i}/shared_cpu_list"] = everyone if shared else core
        texts |= {here / name: f"{value}\n" for name, value in values.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_text(text)


def bootstrap(root: Path, release: str, architecture: str, packages: Sequence[str]) -> None:
    """Unpack Debian packages, with what they need, into a folder; nothing of them is run.

    Raises:
        EdgeAscError: mmdebstrap is missing, or the packages cannot be fetched.
    """
    if shutil.which("mmdebstrap") is None:
        raise EdgeAscError("mmdebstrap is not installed; run: sudo apt install mmdebstrap debian-archive-keyring")
    command = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"]
    command += [f"--include={','.join(packages)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in UNNEEDED]
    # As an archive, so that the files belong to who unpacks them: without root, mmdebstrap has users of its own.
    archive = root.with_name(f"{root.name}.tar")
    try:
        call([*command, release, str(archive), *_mirror()], "no system could be made")
        call(["tar", "--extract", "--file", str(archive), "--directory", str(root), "--exclude=./dev/*"], "no room")
    finally:
        archive.unlink(missing_ok=True)


def _mirror() -> list[str]:
    """The mirror of Debian that this machine uses, if it is a Debian; else mmdebstrap's own choice."""
    try:
        debian = re.search(r"^ID=debian$", Path("/etc/os-release").read_text(), re.MULTILINE)
    except OSError:
        return []
    texts = [path.read_text() for path in SOURCES if debian and path.is_file()]
    found = re.search(r"^(?:URIs:|deb(?:\s+\[.*?\])?)\s+(https?://\S+)", "\n".join(texts), re.MULTILINE)
    return [found[1]] if found else []


def call(command: list[str], failure: str) -> None:
    """Run a command.

    Raises:
        EdgeAscError: it failed, with the last line it printed.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        raise EdgeAscError(f"{failure}: {last_line(done.stderr, done.stdout) or 'no output'}")
