"""The harness finds what it is for."""

from __future__ import annotations

from pathlib import Path

from browser import Browser, View

PAGE = """<!doctype html><html lang="en"><title>t</title><main><h1>t</h1>
<p style="color: #aaa; background: #fff">pale</p>
<img src="missing.png">
<div style="width: 600px; background: #eee">wide</div>
<div style="overflow-x: auto" tabindex="0" role="group" aria-label="frame"><div style="width: 900px">scrolls</div></div>
<svg role="img" aria-label="drawing" viewBox="0 0 100 20" width="100"><text x="80" y="15">letters</text></svg>
</main></html>"""


def test_faults_are_found(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(PAGE)
    seen = browser.inspect(tmp_path / "page.html", View(360))
    assert [line.partition(" ")[0] for line in seen.overflow if "scrolls" not in line][:1] == ["div"]
    assert "text in a drawing is cut: letters" in seen.overflow
    assert not any("scrolls" in line for line in seen.overflow)
    assert {line.partition(" ")[0] for line in seen.violations} == {"color-contrast", "image-alt"}
    assert [url.rpartition("/")[2] for url in seen.requests] == ["missing.png"]
    wide = browser.inspect(tmp_path / "page.html", View(1280))
    assert wide.overflow == ["text in a drawing is cut: letters"]
