"""Files that libsndfile decodes, one block after another."""

from __future__ import annotations

import re
from collections.abc import Iterator

import soundfile

from edge_asc.audio.bytestream import Window, truncation_error
from edge_asc.audio.part import FILE_BLOCK, Part
from edge_asc.errors import AudioError
from edge_asc.frontend import Array

UNKNOWN = 2**63 - 1  # libsndfile's frame count where the header leaves it open
UNRECOGNISED, UNSUPPORTED = 1, 3  # libsndfile's error codes
SIZES = ("FORM", "SSND", "BODY", "riff", "data", "Size")


class UnknownFormatError(AudioError):
    """A format or codec that libsndfile does not know."""


class _Sequential(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read from its start to its end.

    soundfile seeks after every read of a seekable file, which is inexact in MP3 and impossible in GSM 6.10. It also
    stops at libsndfile's number of frames, which may be an estimate.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


def open_part(window: Window, name: str, *, estimated: bool = False) -> Part:
    """Open a window of a file.

    Args:
        window: the bytes.
        name: of the file, for messages.
        estimated: whether the number of frames is an estimate by the size of the file.

    Raises:
        UnknownFormatError: libsndfile does not know the format.
        AudioError: the header is damaged, or the file ends before an exact field of its header says.
    """
    try:
        file = _Sequential(window)
    except soundfile.LibsndfileError as error:
        window.check()
        raise _decoding_error(error, name) from error
    try:
        window.check()
        for field, promised, end in re.findall(r"(\w+) *: (\d+) \(should be (\d+)\)", file.extra_info):
            # AIFF, SVX, W64, CAF, AU: libsndfile logs the sizes that it shortens.
            if field in SIZES and int(promised) > int(end) and file.format not in ("WAV", "WAVEX", "RF64"):
                raise truncation_error(name, f"{end} bytes", f"the {promised} that its header promises")
    except BaseException:
        file.close()
        raise
    frames = None if estimated or file.frames == UNKNOWN else int(file.frames)
    return Part(file.samplerate, file.channels, frames, _blocks(file, window, name))


def _blocks(file: soundfile.SoundFile, window: Window, name: str) -> Iterator[Array]:
    # Fewer frames for files with very many channels.
    size = max(1, FILE_BLOCK // max(1, file.channels // 8))
    with file:
        while True:
            try:
                block: Array = file.read(size, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:
                window.check()
                raise _decoding_error(error, name) from error
            window.check()
            if len(block):
                yield block
            if len(block) < size:
                return


def _decoding_error(error: soundfile.LibsndfileError, name: str) -> AudioError:
    kind = UnknownFormatError if error.code in (UNRECOGNISED, UNSUPPORTED) else AudioError
    return kind(
        f"{name}: cannot be decoded ({error.error_string.strip(' .')}); expected a whole sound file, "
        "such as WAV, FLAC, OGG or MP3: fetch or convert it again"
    )
