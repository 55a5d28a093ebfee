"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command

BENCH = Command(
    "edge_asc_bench.commands.bench",
    "Measure latency, memory and accuracy of models, side by side, here or on a device.",
)
CHECK = Command("edge_asc_bench.commands.check", "Compare a benchmark's result with a baseline; fail on a regression.")
REPORT = Command("edge_asc_bench.commands.report", "Write one page about results.")
REPRODUCE = Command("edge_asc_bench.commands.reproduce", "Reproduce the paper's table and figures on your data.")
