"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command, Need

ARM = Command(
    "edge_asc_arm.commands.arm",
    "Run artefacts as aarch64 code on emulated boards: conformance and cost.",
    needs=(Need("msgspec", "msgspec", "bench", "arm"),),
)
