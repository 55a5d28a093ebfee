"""The longest waits of a benchmark, in seconds; docs/protocol.md lists them."""

from __future__ import annotations

# A worker: a reply to a request, what each frame of an evaluation (16 ms of audio) adds, and the end of its process.
WORKER_REPLY, EVALUATION_PER_FRAME, WORKER_END = 600.0, 0.16, 10.0
# A device: connecting with the login, a short command, making an environment, installing packages into it.
CONNECT, COMMAND, ENVIRONMENT, INSTALL = 30.0, 60.0, 600.0, 3600.0
# A file that is copied: at least, and for each byte (50 kB/s).
COPY, COPY_PER_BYTE = 60.0, 1 / 50_000
# Between two lines of a runner's events: it sends an empty one every HEARTBEAT.
HEARTBEAT, SILENCE = 5.0, 60.0
# What is left on a device after Ctrl-C.
ABANDON = 10.0
# One reading of a Raspberry Pi's firmware; the first that fails is the last.
FIRMWARE = 1.0
# The app: until it starts, and without progress (beside the seconds of sustained inference).
APP_START, APP_PROGRESS = 20.0, 120.0


def copy_timeout(size: int) -> float:
    """Return the longest time that a file of this size, bytes, may take."""
    return COPY + COPY_PER_BYTE * size
