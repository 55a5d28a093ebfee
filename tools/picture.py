"""Draw the page of `edge-asc export --page` as a reader sees it, with a recording: docs/page.png.

    edge-asc conformance golden
    edge-asc export fuse --quantize int8 --input samples --output build/js --page build/page \
        --runtime-files examples/node_modules/onnxruntime-web
    python tools/picture.py build/page build/golden/samples.wav docs/page.png

It needs Chromium and edge-asc[conformance].
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

from edge_asc_conformance.browser import open_page, serve

WIDTH, HEIGHT = 680, 620
COLOURS = 64


def draw(folder: Path, recording: Path, picture: Path) -> None:
    """Open the page in a folder, give it a recording, and write a screenshot as PNG."""
    with serve({"page": folder}) as url, open_page(f"{url}/page/index.html") as page:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.wait_for_selector("#file:enabled")
        page.set_input_files("#file", recording)
        page.wait_for_selector("#connection:has-text('finished')")
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    # A palette takes a third of the bytes.
    shot.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


if __name__ == "__main__":
    draw(*map(Path, sys.argv[1:]))
