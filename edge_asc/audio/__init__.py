"""Audio files, pipes and the microphone: every source gives mono float32 samples."""

from edge_asc.audio.microphone import microphone, refresh_devices
from edge_asc.audio.reader import duration, is_pipe, probe, read, stream
from edge_asc.audio.writer import write

__all__ = ["duration", "is_pipe", "microphone", "probe", "read", "refresh_devices", "stream", "write"]
