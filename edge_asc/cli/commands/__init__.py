"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command, Need

ADAPT = Command(
    "edge_asc.cli.commands.adapt",
    "Give an artefact new classes, on the device that runs it.",
    needs=(Need("scipy", "scipy", "adapt", "adapt"),),
)
CLASSIFY = Command(
    "edge_asc.cli.commands.classify",
    "Classify a recording, or the microphone live.",
    needs=(Need("sounddevice", "sounddevice", "microphone", "classify --microphone"),),
)
DATA = Command("edge_asc.cli.commands.data", "Show what is understood of a folder of recordings.")
DEMO = Command("edge_asc.cli.commands.demo", "Classify three recordings that come with the package.")
DOCTOR = Command("edge_asc.cli.commands.doctor", "Show what is installed, what is missing, and how to get it.")
EVALUATE = Command(
    "edge_asc.cli.commands.evaluate", "Measure accuracy at each length of checkpoints and artefacts, side by side."
)
LISTEN = Command(
    "edge_asc.cli.commands.listen",
    "Report sound events: live, from a pipe, or in recordings.",
    needs=(
        Need("sounddevice", "sounddevice", "microphone", "listen to the microphone"),
        Need("paho-mqtt", "paho", "service", "listen --mqtt"),
    ),
)
SCENES = Command("edge_asc.cli.commands.scenes", "Write a data set of generated scenes.")
TRAIN = Command(
    "edge_asc.cli.commands.train",
    "Train a classifier.",
    needs=(Need("torch", "torch", "train", "train"), Need("safetensors", "safetensors", "train", "checkpoints")),
)
