"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command, Need

EXPORT = Command(
    "edge_asc_export.commands.export",
    "Write streaming ONNX and TFLite artefacts, checked against PyTorch.",
    needs=(
        Need("torch", "torch", "export", "export"),
        Need("onnx", "onnx", "export", "export --format onnx"),
        Need("flatbuffers", "flatbuffers", "export", "export --format tflite"),
    ),
)
INSPECT = Command("edge_asc_export.commands.inspect", "Show the contract, size and operations of an artefact.")
