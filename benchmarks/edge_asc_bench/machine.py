"""The machine that a measurement was made on; what cannot be read is recorded as missing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import edge_asc

PACKAGES = ("numpy", "scipy", "onnxruntime", "ai-edge-litert", "torch")
# What decides which integer kernels a runtime has: of x86-64 and of ARM.
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimd", "asimddp", "i8mm", "sve", "bf16")
X86 = ("x86_64", "i386", "i686")
THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}


def describe() -> dict[str, Any]:
    """Processor, system and package versions, as JSON."""
    cpu = _cpuinfo()
    features = (cpu.get("flags") or cpu.get("Features") or "").split()
    found: dict[str, Any] = {
        "architecture": platform.machine(),
        "cpu": cpu.get("model name") or cpu.get("Model") or cpu.get("Hardware"),
        "features": [name for name in FEATURES if name in features],
        "cores": os.cpu_count(),
        "board": _read(Path("/proc/device-tree/model"), strip="\x00"),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "emulated": _emulator(),
        "packages": {"edge-asc": edge_asc.__version__}
        | {name: number for name in PACKAGES if (number := _version(name))},
    }
    return {**found, "missing": sorted(k for k, value in found.items() if value is None and k != "emulated")}


def unknown() -> dict[str, Any]:
    """What `describe` would say of a machine that told nothing."""
    known: dict[str, Any] = {"features": [], "packages": {}, "missing": []}
    names = ("architecture", "cpu", "cores", "board", "memory_bytes", "system", "python", "governor", "emulated")
    return {**dict.fromkeys(names), **known}


def conditions() -> dict[str, Any]:
    """What may change while a measurement runs: frequency, temperature, load, throttling; None where unknown."""
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
    return {
        "frequency_mhz": frequencies or None,
        "temperature_c": max(temperatures) if temperatures else None,
        "load": os.getloadavg()[0],
        "throttling": _throttling(),
    }


def _emulator() -> str | None:
    """What emulates this processor, if a user-mode emulator does."""
    # It is mapped beside the program; unlike in maps, emulators do not hide that in smaps.
    if "/qemu-" in (_read(Path("/proc/self/smaps")) or ""):
        return "qemu"
    kernel, machine = _read(Path("/proc/sys/kernel/arch")), platform.machine()
    return f"an emulator on {kernel}" if kernel and (kernel == "x86_64") != (machine in X86) else None


def _throttling() -> list[str] | None:
    """The flags of a Raspberry Pi's firmware; None on another machine."""
    try:
        text = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout
        flags = int(text.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    now = [name for bit, name in THROTTLING.items() if flags >> bit & 1]
    return now + [f"{name} since boot" for bit, name in THROTTLING.items() if flags >> (bit + 16) & 1]


def _cpuinfo() -> dict[str, str]:
    lines = (_read(Path("/proc/cpuinfo")) or "").splitlines()
    pairs = (line.partition(":") for line in reversed(lines) if ":" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _read(path: Path, strip: str = "") -> str | None:
    try:
        return path.read_text(errors="replace").strip().strip(strip) or None
    except OSError:
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
