"""The acoustic scene classifiers of Choi & Chang (Interspeech 2022), windowed and causal."""

from edge_asc.models.crnn import CNN, CRNN, ModelConfig, build

__all__ = ["CNN", "CRNN", "ModelConfig", "build"]
