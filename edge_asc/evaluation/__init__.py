"""Measures of a model on labelled clips."""

from edge_asc.evaluation.accuracy import Accuracy, LengthResult, evaluate, pool

__all__ = ["Accuracy", "LengthResult", "evaluate", "pool"]
