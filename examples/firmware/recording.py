"""Turn a sound file into C: python recording.py FILE OUTPUT.c."""

import sys
import textwrap
from pathlib import Path

import numpy as np

from edge_asc import audio

path, output = map(Path, sys.argv[1:])
samples = np.clip(np.rint(audio.read(path, 16000) * 32768), -32768, 32767).astype(int)
numbers = textwrap.fill(", ".join(map(str, samples)), 116)
output.write_text(
    f"#include <stdint.h>\n\n/* {path.name}, 16 kHz. */\nextern const int16_t recording[];\n"
    f"extern const uint32_t recording_samples;\nconst int16_t recording[{len(samples)}] = {{\n{numbers}}};\n"
    f"const uint32_t recording_samples = {len(samples)};\n"
)
