"""Emulated ARM boards: artefacts run as aarch64 code on an ordinary Linux machine."""
