"""ARM boards emulated on an ordinary Linux machine: the same artefacts, executed as aarch64 code."""
