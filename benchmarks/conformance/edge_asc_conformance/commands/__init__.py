"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command

CONFORMANCE = Command(
    "edge_asc_conformance.commands.conformance", "Compare artefacts in other languages and runtimes with Python."
)
