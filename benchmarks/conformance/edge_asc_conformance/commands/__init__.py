"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command, Need

CONFORMANCE = Command(
    "edge_asc_conformance.commands.conformance",
    "Compare artefacts in other languages and runtimes with Python.",
    needs=(
        Need("playwright", "playwright", "conformance", "conformance measure in Chromium"),
        Need("tflite-micro", "tflite_micro", "tflm", "conformance measure in tflite-micro"),
    ),
)
