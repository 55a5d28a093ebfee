"""Lines that native libraries print on stderr, past Python."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

STDERR = 2  # the file descriptor, which native code writes to
_lock = Lock()


@contextmanager
def drop_lines(*starts: str) -> Iterator[None]:
    """Drop the lines on stderr that start with one of these texts, until the `with` block ends.

    Everything else, of other threads too, is printed when the block ends. Where there is no stderr, nothing is done.
    """
    try:
        kept = os.dup(STDERR)
    except OSError:
        yield
        return
    with _lock, tempfile.TemporaryFile() as file:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(file.fileno(), STDERR)
        try:
            yield
        finally:
            os.dup2(kept, STDERR)
            os.close(kept)
            file.seek(0)
            prefixes = tuple(start.encode() for start in starts)
            for line in file:
                if not line.startswith(prefixes):
                    os.write(STDERR, line)
