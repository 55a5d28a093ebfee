"""A new output layer for an artefact, on the device that runs it: no torch, no onnx, no converter."""
