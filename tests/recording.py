"""A progress that records what a library reports."""

from contextlib import contextmanager

from edge_asc.progress import Phase, Progress


class RecordingProgress(Progress):
    """Keeps (title, total, units done) of each phase, and notes."""

    def __init__(self):
        self.phases, self.notes = [], []

    @contextmanager
    def phase(self, title, total=None):
        entry = [title, total, 0.0]
        self.phases.append(entry)
        yield _Recorded(entry)

    def note(self, text):
        self.notes.append(text)


class _Recorded(Phase):
    def __init__(self, entry):
        self.entry = entry

    def advance(self, count=1, **figures):
        self.entry[2] += count

    def update(self, done, total=None, title=""):
        self.entry[2] = done
