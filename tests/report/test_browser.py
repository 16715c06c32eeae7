"""The page in a real browser: desktop and phone, light and dark."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from acorl_sb import report
from acorl_sb.report.page import as_html
from tests.report import sample

BROWSER = next(
    filter(
        None,
        (
            *map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")),
            *map(shutil.which, ("/usr/lib/chromium/chromium", "/opt/google/chrome/chrome")),
            *map(shutil.which, ("/snap/bin/chromium", "/opt/chromium/chrome")),
        ),
    ),
    None,
)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--allow-file-access-from-files", "--enable-logging=stderr", "--hide-scrollbars"),
    "--enable-blink-features=ComputedAccessibilityInfo",
]

needs_browser = pytest.mark.skipif(BROWSER is None, reason="needs Chromium")

# The page runs no script; it is looked at from outside, framed at the width of a screen.
WATCHER = """<!DOCTYPE html><body style="margin:0">
<iframe src="%(page)s" style="border:0;width:%(width)dpx;height:900px"></iframe>
<pre id="out"></pre>
<script>
const linear = v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
const luminance = c => [.2126, .7152, .0722].reduce((sum, k, i) => sum + k * linear(c[i] / 255), 0);
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const contrast = (a, b) => {
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
  return (x + .05) / (y + .05);
};
window.addEventListener('load', () => {
  const frame = document.querySelector('iframe');
  const page = frame.contentDocument, view = frame.contentWindow;
  const style = e => view.getComputedStyle(e);
  const colour = text => numbers(text).slice(0, 3);
  const behind = element => {  // the nearest background that is painted
    for (let e = element; e; e = e.parentElement) {
      const c = numbers(style(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c.slice(0, 3);
    }
  };
  const over = (paint, alpha, ground) => paint.map((v, i) => alpha * v + (1 - alpha) * ground[i]);
  const inside = (path, x, y) => {
    const at = new DOMPoint(x, y).matrixTransform(path.getScreenCTM().inverse());
    return path.isPointInFill(at);
  };
  const look = svg => {
    const box = svg.getBoundingClientRect(), panel = behind(svg.parentElement);
    const fills = [...svg.querySelectorAll('path')].filter(p => style(p).fill !== 'none');
    const texts = [...svg.querySelectorAll('text')].map(text => {
      const size = text.getBoundingClientRect();
      let ground = panel;  // with all that is painted before, below the middle of the text
      for (const path of fills) {
        if (path.compareDocumentPosition(text) & Node.DOCUMENT_POSITION_FOLLOWING &&
            inside(path, (size.left + size.right) / 2, (size.top + size.bottom) / 2))
          ground = over(colour(style(path).fill), Number(style(path).fillOpacity), ground);
      }
      return {text: text.textContent, contrast: contrast(colour(style(text).fill), ground),
              height: Math.min(size.height, size.width),
              box: [size.left, size.top, size.right, size.bottom],
              inside: size.left >= box.left - 1 && size.right <= box.right + 1 &&
                      size.top >= box.top - 1 && size.bottom <= box.bottom + 1};
    });
    const lines = [...svg.querySelectorAll('g[id*="-line-"] path')]
      .filter(line => style(line).stroke !== 'none')
      .map(line => contrast(colour(style(line).stroke), panel));
    return {key: svg.dataset.figure, role: svg.computedRole, name: svg.computedName, texts, lines,
            width: box.width, height: box.height, left: box.left, right: box.right};
  };
  const words = [...page.querySelectorAll('h1,h2,h3,p,li,td,th,small,a,strong,pre,summary')]
    .filter(e => e.offsetParent)
    .map(e => ({text: e.textContent.slice(0, 40),
                contrast: contrast(colour(style(e).color), behind(e))}));
  document.getElementById('out').textContent = JSON.stringify({
    scroll: page.documentElement.scrollWidth, client: page.documentElement.clientWidth,
    figures: [...page.querySelectorAll('svg')].map(look), words,
    dark: view.matchMedia('(prefers-color-scheme: dark)').matches,
    cells: [...page.querySelectorAll('td')].filter(e => e.offsetParent).map(e =>
      Math.max(e.getBoundingClientRect().right, ...[...e.children].map(c =>
        c.getBoundingClientRect().right))),
    tables: [...page.querySelectorAll('.scroll')].map(e => e.getBoundingClientRect().right)});
});
</script>"""


def look(folder, name, width, dark):
    """What the browser makes of a page in ``folder``, and what it complains of."""
    watcher = folder / f"watcher-{name}-{width}-{dark}.html"
    watcher.write_text(WATCHER % {"width": width, "page": name})
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={folder / f'profile-{name}-{width}-{dark}'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={max(width, 600)},900",
        "--dump-dom",
        watcher.as_uri(),
    ]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="out">(.+?)</pre>', made.stdout, re.S)
    assert found, made.stderr[-2000:]
    complaints = [line for line in made.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found[1])), complaints


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A folder with both pages, and the keys and titles of the report's pictures."""
    folder = tmp_path_factory.mktemp("pages")
    report.write_report(folder / "report.html", *sample.make())
    sample.analysis(folder)
    return folder


def overlapping(texts):
    """Pairs of texts whose boxes share more than a pixel in both directions."""
    return [
        (a["text"], b["text"])
        for a, b in itertools.combinations(texts, 2)
        if all(
            min(a["box"][n + 2], b["box"][n + 2]) - max(a["box"][n], b["box"][n]) > 1
            for n in (0, 1)
        )
    ]


@needs_browser
@pytest.mark.parametrize("name", ["report.html", "analysis.html"])
@pytest.mark.parametrize(
    "width, dark", [(1600, False), (1600, True), (800, False), (390, False), (390, True)]
)
def test_page_looks_right(pages, name, width, dark):
    page, complaints = look(pages, name, width, dark)
    assert complaints == []
    assert page["dark"] == dark
    assert page["scroll"] <= page["client"] == width  # nothing sticks out sideways
    assert max(page["tables"]) <= width
    if width == 390:  # no value waits off-screen
        assert max(page["cells"]) <= width

    assert len(page["figures"]) > 12
    for seen in page["figures"]:
        key = seen["key"]
        assert seen["role"] in ("img", "image") and len(seen["name"]) > 3
        assert seen["width"] > 300 and seen["height"] > 100
        assert seen["left"] >= 0 and seen["right"] <= width
        assert overlapping(seen["texts"]) == [], key
        for text in seen["texts"]:
            assert text["inside"], (key, text)
            assert text["contrast"] >= 4.5, (key, text)
            assert text["height"] >= 9.5 or len(text["text"]) == 1, (key, text)
        assert all(contrast >= 3.0 for contrast in seen["lines"]), key
    for word in page["words"]:
        assert word["contrast"] >= 4.5, word


@needs_browser
def test_the_watcher_sees_what_is_wrong(tmp_path):
    """The checks above would fail on a page that is too wide, illegible, or complains."""
    text = as_html(report.fusion_page(*sample.make(2)))
    ink = re.search(r"<text[^>]*>EER, %</text>", text)[0]
    text = text.replace("--ink:#1c2128", "--ink:#dddddd").replace(ink, 2 * ink)
    wrong = '<div style="width:900px">x</div><img src="https://x.invalid/a.png"></main>'
    (tmp_path / "report.html").write_text(text.replace("</main>", wrong))
    page, complaints = look(tmp_path, "report.html", 390, False)
    assert page["scroll"] > 390
    assert min(word["contrast"] for word in page["words"]) < 2
    assert any(overlapping(figure["texts"]) for figure in page["figures"])
    assert any("Content Security Policy" in line for line in complaints)
