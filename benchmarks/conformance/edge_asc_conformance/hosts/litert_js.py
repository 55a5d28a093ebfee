"""LiteRT in a browser, in WebAssembly."""

from typing import ClassVar

from edge_asc_conformance.browser import BrowserHost


class LiteRtJsHost(BrowserHost):
    """Chromium with the npm package @litertjs/core."""

    title, suffix, package = "@litertjs/core in Chromium", ".tflite", "@litertjs/core"
    unsupported: ClassVar[dict[str, str]] = {
        "int8": "its tensors are float32, int32 or uint8, and the states of an int8 artefact are int8"
    }


HOST = LiteRtJsHost
