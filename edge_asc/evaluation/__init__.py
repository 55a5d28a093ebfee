"""Accuracy of models on labelled clips."""

from edge_asc.evaluation.accuracy import Accuracy, LengthResult, pool
from edge_asc.evaluation.comparison import ClipLogits, LabelledClips, compare, evaluate

__all__ = ["Accuracy", "ClipLogits", "LabelledClips", "LengthResult", "compare", "evaluate", "pool"]
