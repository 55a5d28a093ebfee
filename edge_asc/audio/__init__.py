"""Audio files, pipes and the microphone: every source gives mono float32 samples."""

from edge_asc.audio.microphone import check_microphone, microphone, refresh_devices
from edge_asc.audio.reader import Measures, check_path, duration, is_pipe, measure, probe, read, stream
from edge_asc.audio.writer import write

__all__ = [
    "Measures",
    "check_microphone",
    "check_path",
    "duration",
    "is_pipe",
    "measure",
    "microphone",
    "probe",
    "read",
    "refresh_devices",
    "stream",
    "write",
]
