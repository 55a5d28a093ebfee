"""Export of trained classifiers to streaming ONNX and TFLite artefacts."""
