"""Data sets, and their cached features."""

from edge_asc.data.cache import FeatureCache
from edge_asc.data.dataset import Clip, Dataset
from edge_asc.data.split import group_split

__all__ = ["Clip", "Dataset", "FeatureCache", "group_split"]
