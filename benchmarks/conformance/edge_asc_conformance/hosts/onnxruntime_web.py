"""ONNX Runtime in a browser, in WebAssembly."""

from edge_asc_conformance.browser import BrowserHost


class OnnxRuntimeWebHost(BrowserHost):
    """Chromium with the npm package onnxruntime-web."""

    title, suffix, package = "onnxruntime-web in Chromium", ".onnx", "onnxruntime-web"


HOST = OnnxRuntimeWebHost
