"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command, Need

PEERS = Command(
    "edge_asc_peers.commands.peers",
    "Measure a model in other runtimes, beside edge-asc's artefacts.",
    needs=(Need("torch", "torch", "peers", "peers"),),
)
QUANTISERS = Command(
    "edge_asc_peers.commands.quantisers",
    "Compare int8 of other quantisers with edge-asc's.",
    needs=(
        Need("torch", "torch", "peers", "quantisers"),
        Need("msgspec", "msgspec", "peers", "quantisers"),
    ),
)
