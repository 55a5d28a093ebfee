"""Recording of a quantisation plan on a data set, beside the one that training leaves in a checkpoint."""

from __future__ import annotations

from pathlib import Path

from edge_asc.data.cache import FeatureCache, default_cache
from edge_asc.data.dataset import Dataset
from edge_asc.errors import ExportError
from edge_asc.models import CRNN
from edge_asc.progress import SILENT, Progress
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.calibration import MOST_CLIPS, Choice, Source, calibrate, evenly
from edge_asc_export.plan import Plan


def record_plan(checkpoint: Path, data: Path, *, method: Choice = "auto", progress: Progress = SILENT) -> Plan:
    """Record the quantisation plan of a checkpoint on a data set in TAU layout.

    Raises:
        EdgeAscError: the data set or a clip of it cannot be used.
        ExportError: the model is no CRNN.
    """
    loaded, dataset = Checkpoint.load(checkpoint), Dataset.open(data)
    if not isinstance(loaded.model, CRNN):
        raise ExportError(f"{loaded.name} is a CNN with global average pooling; only a CRNN is exported")
    dataset.check()
    features = FeatureCache(default_cache(), loaded.front_end).features(dataset, evenly(dataset.clips, MOST_CLIPS))
    source = Source(data=dataset.name, classes=len({clip.label for clip in dataset.clips}))
    return calibrate(loaded.model, loaded.front_end, features, method=method, source=source, progress=progress)
