"""Data sets in the TAU Urban Acoustic Scenes layout, and their cached features."""

from edge_asc.data.cache import FeatureCache
from edge_asc.data.dataset import Clip, Dataset, group_split

__all__ = ["Clip", "Dataset", "FeatureCache", "group_split"]
