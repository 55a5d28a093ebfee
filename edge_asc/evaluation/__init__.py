"""Measures of a model on labelled clips."""

from edge_asc.evaluation.accuracy import Accuracy, Heard, LengthResult, compare, evaluate, pool

__all__ = ["Accuracy", "Heard", "LengthResult", "compare", "evaluate", "pool"]
