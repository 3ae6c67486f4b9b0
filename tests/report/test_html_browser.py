"""The page in a real browser: nothing overlaps, nothing overflows, light and dark differ, sorting works."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sample import (
    frozen_rows,
    hostile_report,
    mask_pictures,
    missed_report,
    regression_report,
    sample_report,
    sparse_report,
)

from edgeprune.records.report import BuildReport
from edgeprune.report.html import render_html

pytestmark = pytest.mark.browser

PROBE = (Path(__file__).parent / "layout_probe.js").read_text(encoding="utf-8")
# The page stands in a frame of the wanted width: a headless window is never narrower than 500 pixels.
WRAPPER = """<!DOCTYPE html>
<meta charset="utf-8">
<style>
:root {{ color-scheme: light dark; }} body {{ margin: 0; }}
iframe {{ display: block; border: 0; width: {width}px; height: {height}px; }}
</style>
<iframe srcdoc="{page}"></iframe>
<script>{probe}</script>
"""
SCHEMES = {"dark": 0, "light": 1}
WIDTHS = (420, 1280)
REPORTS: dict[str, Callable[[], BuildReport]] = {
    "sample": sample_report,
    "missed": missed_report,
    "regression": regression_report,
    "hostile": hostile_report,
    "bare": lambda: sample_report(5, bench=None, rounds=(), limits=(), frozen=(), budget={}),
    "120 layers": lambda: sample_report(120, frozen=frozen_rows(2, 200)),
}


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "the browser tier needs chromium or google-chrome on PATH"
    return found


class Browser:
    """Headless Chromium with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _run(self, page: Path, scheme: str, *options: str) -> str:
        command = [
            browser(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={self.folder / 'profile'}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
            *options,
            page.as_uri(),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout

    def _wrap(self, source: str, width: int, height: int) -> Path:
        page = self.folder / "wrapper.html"
        text = WRAPPER.format(page=html.escape(source), width=width, height=height, probe=PROBE)
        page.write_text(text, encoding="utf-8")
        return page

    def look(self, source: str, width: int, scheme: str) -> dict[str, Any]:
        """What layout_probe.js finds in a page of `width` pixels."""
        dom = self._run(self._wrap(source, width, 900), scheme, f"--window-size={width},900", "--dump-dom")
        found = re.search(r'<pre id="findings" hidden="">(.*?)</pre>', dom, re.DOTALL)
        assert found, dom[-2000:]
        findings: dict[str, Any] = json.loads(html.unescape(found.group(1)))
        return findings

    def screenshot(self, source: str, width: int, height: int, scheme: str) -> Image.Image:
        """The first `height` pixels of the page."""
        shot = self.folder / f"{width}-{scheme}.png"
        self._run(self._wrap(source, width, height), scheme, f"--window-size={width},{height}", f"--screenshot={shot}")
        with Image.open(shot) as image:
            return image.convert("RGB")


@pytest.fixture
def chromium(tmp_path: Path) -> Browser:
    return Browser(tmp_path)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", REPORTS)
def test_nothing_overlaps_overflows_or_fades(chromium: Browser, name: str, width: int, scheme: str) -> None:
    findings = chromium.look(render_html(REPORTS[name]()), width, scheme)
    assert findings["width"] == width
    assert findings["boxes"] > 60
    assert findings["overlaps"] == []
    assert findings["escapes"] == []
    assert findings["scrollWidth"] <= width
    assert findings["contrast"]["ratio"] >= 4.5, findings["contrast"]
    assert findings["requests"] == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_masks_are_drawn_and_leave_the_layout_alone(chromium: Browser, width: int, scheme: str) -> None:
    findings = chromium.look(render_html(sparse_report(), mask_pictures(9)), width, scheme)
    assert findings["overlaps"] == []
    assert findings["escapes"] == []
    assert findings["scrollWidth"] <= width
    assert findings["contrast"]["ratio"] >= 4.5, findings["contrast"]
    assert findings["images"] == [True] * 9
    assert findings["requests"] == []


@pytest.mark.parametrize("width", [400, 700, 830, 1000, 1400])
def test_widths_in_between_hold_too(chromium: Browser, width: int) -> None:
    findings = chromium.look(render_html(missed_report()), width, "light")
    assert (findings["overlaps"], findings["escapes"]) == ([], [])
    assert findings["scrollWidth"] <= width


def test_the_probe_sees_overlap_overflow_and_faint_text(chromium: Browser) -> None:
    broken = (
        '<main><section style="width:50px;overflow:visible"><p style="position:absolute;top:9px;left:9px">one</p>'
        '<p style="position:absolute;top:12px;left:12px;color:#eee">two</p>'
        '<p style="white-space:nowrap">a line that is much wider than its card and than the page</p></section></main>'
    )
    source = f'<!DOCTYPE html><html><body style="background:#fff">{broken}</body></html>'
    findings = chromium.look(source, 300, "light")
    assert any('"one" and "two"' in pair for pair in findings["overlaps"])
    assert "a line that is much wider than its card" in " ".join(findings["escapes"])
    assert findings["scrollWidth"] > 300
    assert findings["contrast"]["ratio"] < 1.5


def test_layers_sort_by_number_and_by_name(chromium: Browser) -> None:
    report = sample_report(12)
    findings = chromium.look(render_html(report), 1280, "light")
    channels = sorted((row.channels_after for row in report.layers), reverse=True)
    assert findings["byChannels"] == {"direction": "descending", "values": [str(value) for value in channels]}
    assert findings["byChannelsAgain"] == {"direction": "ascending", "values": [str(value) for value in channels[::-1]]}
    # Numbers inside names count: block_2 stands before block_10.
    names = [row.layer for row in report.layers]
    assert findings["byName"]["values"] in (names, names[::-1])


def test_a_script_in_a_name_never_runs(chromium: Browser) -> None:
    name = "</code></td></style></script></title><script>window.alerted = 1</script><img src=x onerror='alerted = 1'>"
    report = sample_report(2)
    report = dataclasses.replace(report, target=name, notes=(name,))
    assert chromium.look(render_html(report), 1280, "light")["alerted"] is False
    # The policy holds even where escaping would have failed.
    unescaped = render_html(report).replace("</main>", f"{name}</main>")
    assert chromium.look(unescaped, 1280, "light")["alerted"] is False
    # And the probe does see a script that runs.
    body = "<main>text</main><script>window.alerted = 1</script>"
    open_page = f'<!DOCTYPE html><html><body style="background:#fff">{body}</body></html>'
    assert chromium.look(open_page, 1280, "light")["alerted"] is True


@pytest.mark.parametrize("width", WIDTHS)
def test_light_and_dark_differ(chromium: Browser, width: int) -> None:
    source = render_html(sample_report())
    light, dark = (chromium.screenshot(source, width, 900, scheme) for scheme in ("light", "dark"))
    assert light.size == dark.size == (width, 900)
    corners = [sum(image.getpixel((2, 2))) / 3 for image in (light, dark)]  # type: ignore[arg-type]
    assert corners[0] > 230
    assert corners[1] < 40
    # Bars, text and cards: a page that failed to draw would have a colour or two.
    for image in (light, dark):
        assert len(image.getcolors(maxcolors=1 << 24) or ()) > 100
