"""The machine that a measurement was made on; fields that cannot be read are None."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import edge_asc
from edge_asc.children import kill_group
from edge_asc_bench.timeouts import FIRMWARE

BASE_PACKAGES = ("numpy",)
# Features that decide which integer kernels a runtime has: of x86-64 and of ARM.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve", "bf16")
X86 = ("x86_64", "i386", "i686")
# Where newer kernels of a Raspberry Pi show the flags.
FIRMWARE_FLAGS = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


@dataclass(frozen=True)
class Machine:
    """Processor, system and package versions; without arguments, an unknown machine.

    Attributes:
        architecture: such as "aarch64".
        cpu: name of the processor.
        features: those of `FEATURES` that it has.
        cores: logical ones.
        board: name of the board.
        memory_bytes: installed memory.
        system: operating system and its version.
        python: version.
        governor: of the first core's frequency.
        emulated: the emulator, if the processor is emulated.
        packages: versions by distribution.
        missing: names of the fields that could not be read.
    """

    architecture: str | None = None
    cpu: str | None = None
    features: tuple[str, ...] = ()
    cores: int | None = None
    board: str | None = None
    memory_bytes: int | None = None
    system: str | None = None
    python: str | None = None
    governor: str | None = None
    emulated: str | None = None
    packages: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Condition:
    """Properties of a machine that change during a measurement; None where they are unknown.

    Attributes:
        frequency_mhz: of each core.
        temperature_c: of the hottest zone.
        load: average over one minute.
        throttling: flags that a Raspberry Pi's firmware reports.
    """

    frequency_mhz: tuple[float, ...] | None
    temperature_c: float | None
    load: float | None
    throttling: tuple[str, ...] | None


def describe() -> Machine:
    """Return the description of this machine."""
    cpu = _read_cpuinfo()
    features = (cpu.get("flags") or cpu.get("Features") or "").split()
    machine = Machine(
        architecture=platform.machine(),
        cpu=cpu.get("model name") or cpu.get("Model") or cpu.get("Hardware"),
        features=tuple(name for name in FEATURES if name in features),
        cores=os.cpu_count(),
        board=_read(Path("/proc/device-tree/model"), strip="\x00"),
        memory_bytes=_read_memory(),
        system=platform.platform(),
        python=sys.version.split()[0],
        governor=_read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        emulated=_find_emulator(),
        packages=_read_packages(),
    )
    missing = (f.name for f in fields(machine) if getattr(machine, f.name) is None and f.name != "emulated")
    return replace(machine, missing=tuple(sorted(missing)))


def read_condition() -> Condition:
    """Return the current condition of this machine."""
    frequencies = [
        int(text) / 1000
        for path in sorted(Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))
        if (text := _read(path)) and text.isdigit()
    ]
    temperatures = [
        int(text) / 1000
        for path in sorted(Path("/sys/class/thermal").glob("thermal_zone*/temp"))
        if (text := _read(path)) and text.lstrip("-").isdigit()
    ]
    return Condition(
        frequency_mhz=tuple(frequencies) or None,
        temperature_c=max(temperatures) if temperatures else None,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        throttling=_read_throttling(),
    )


def _read_packages() -> dict[str, str]:
    """The versions of edge-asc, of what it computes with, and of every engine's package, where they are installed."""
    from edge_asc.engine import ENGINES

    names = list(BASE_PACKAGES)
    for engine in ENGINES.all().values():
        names += [engine.distribution, *(substitute.distribution for substitute in engine.substitutes)]
    installed = {name: number for name in names if (number := _find_version(name)) is not None}
    return {**installed, "edge-asc": edge_asc.__version__}


def _find_emulator() -> str | None:
    """The user-mode emulator that emulates this processor; None on a real one."""
    # It is mapped beside the program; unlike in maps, emulators do not hide that in smaps.
    if "/qemu-" in (_read(Path("/proc/self/smaps")) or ""):
        return "qemu"
    kernel, machine = _read(Path("/proc/sys/kernel/arch")), platform.machine()
    return f"an emulator on {kernel}" if kernel and (kernel == "x86_64") != (machine in X86) else None


def _read_throttling() -> tuple[str, ...] | None:
    """The flags of a Raspberry Pi's firmware; None on another machine."""
    text = _read(FIRMWARE_FLAGS) or _ask_firmware()
    try:
        flags = int(text.strip().rpartition("=")[2], 16)
    except ValueError:
        return None
    now = [name for bit, name in THROTTLING.items() if flags >> bit & 1]
    return (*now, *(f"{name} since boot" for bit, name in THROTTLING.items() if flags >> (bit + 16) & 1))


# Programs that failed once, and calls of them that did not end: neither is waited for again.
_failed: set[str] = set()
_stuck: list[subprocess.Popen[str]] = []


def _ask_firmware() -> str:
    """The line that `vcgencmd get_throttled` prints; "" where it fails."""
    path = shutil.which("vcgencmd")
    if path is None or path in _failed:
        return ""
    _failed.add(path)
    try:
        process = subprocess.Popen(
            [path, "get_throttled"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    except OSError:
        return ""
    try:
        text, _ = process.communicate(timeout=FIRMWARE)
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        _stuck.append(process)  # a call into a driver may never end
        return ""
    if process.returncode == 0:
        _failed.discard(path)
    return text


def _read_memory() -> int | None:
    if not hasattr(os, "sysconf"):  # Windows
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _read_cpuinfo() -> dict[str, str]:
    lines = (_read(Path("/proc/cpuinfo")) or "").splitlines()
    pairs = (line.partition(":") for line in reversed(lines) if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(path: Path, strip: str = "") -> str | None:
    try:
        return path.read_text(errors="replace").strip().strip(strip) or None
    except OSError:
        return None


def _find_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
