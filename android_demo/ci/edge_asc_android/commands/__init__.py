"""The commands of this package, described without importing them."""

from edge_asc.cli.command import Command

ANDROID = Command("edge_asc_android.commands.android", "Write the Android demo's assets; build and test it.")
