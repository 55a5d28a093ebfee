"""A progress that keeps what is reported."""

from contextlib import contextmanager

from edge_asc.progress import Phase, Progress


class Recorder(Progress):
    """Keeps each update as (title, done, total), and each note."""

    def __init__(self, on_update=lambda title, done, total: None):
        self.updates, self.notes, self._on_update = [], [], on_update

    @contextmanager
    def phase(self, title, total=None):
        yield _RecordedPhase(self, title, total)

    def note(self, text):
        self.notes.append(text)

    @property
    def titles(self):
        return [title for title, _, _ in self.updates]

    def update(self, *values):
        self.updates.append(values)
        self._on_update(*values)


class _RecordedPhase(Phase):
    def __init__(self, recorder, title, total):
        self._recorder, self._title, self._total, self._done = recorder, title, total, 0
        recorder.update(title, 0, total)

    def advance(self, count=1, **figures):
        self._done += count
        self._recorder.update(self._title, self._done, self._total)

    def update(self, done, total=None, title=""):
        self._done, self._total = done, self._total if total is None else total
        self._title = title or self._title
        self._recorder.update(self._title, self._done, self._total)
