"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command

EXPORT = Command(
    "edge_asc_export.commands.export", "Write streaming ONNX and TFLite artefacts, checked against PyTorch."
)
INSPECT = Command("edge_asc_export.commands.inspect", "Show the contract, size and operations of an artefact.")
