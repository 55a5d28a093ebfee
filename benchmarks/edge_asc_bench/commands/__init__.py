"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command, Need

BENCH = Command(
    "edge_asc_bench.commands.bench",
    "Measure latency, memory and accuracy of models, side by side, here or on a device.",
    needs=(
        Need("msgspec", "msgspec", "bench", "bench"),
        Need("asyncssh", "asyncssh", "bench", "bench --target ssh://"),
        Need("adbutils", "adbutils", "bench", "bench --target adb://"),
    ),
)
CHECK = Command("edge_asc_bench.commands.check", "Compare a benchmark's result with a baseline; fail on a regression.")
REPORT = Command(
    "edge_asc_bench.commands.report",
    "Write one page about results.",
    needs=(Need("jinja2", "jinja2", "bench", "report"), Need("matplotlib", "matplotlib", "bench", "charts of report")),
)
REPRODUCE = Command(
    "edge_asc_bench.commands.reproduce",
    "Reproduce the paper's table and figures on your data.",
    needs=(
        Need("scikit-learn", "sklearn", "reproduce", "reproduce figure3"),
        Need("ray", "ray", "ray", "reproduce table1 --engine ray"),
    ),
)
