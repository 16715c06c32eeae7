"""The page in a real browser: desktop and phone, light and dark."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape

import pytest

from acorl_sb import report
from tests.report import sample

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--allow-file-access-from-files", "--enable-logging=stderr", "--hide-scrollbars"),
    "--enable-blink-features=ComputedAccessibilityInfo",
]

# The page runs no script; it is looked at from outside, framed at the width of a screen.
WATCHER = """<!DOCTYPE html><body style="margin:0">
<iframe src="report.html" style="border:0;width:%(width)dpx;height:900px"></iframe>
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
  const look = svg => {
    const box = svg.getBoundingClientRect(), panel = behind(svg.parentElement);
    const texts = [...svg.querySelectorAll('text')].map(text => {
      const cell = text.previousElementSibling, size = text.getBoundingClientRect();
      let ground = panel;
      if (cell && cell.classList.contains('cell')) {
        const a = Number(style(cell).fillOpacity);
        ground = colour(style(cell).fill).map((v, i) => a * v + (1 - a) * panel[i]);
      }
      return {text: text.textContent, contrast: contrast(colour(style(text).fill), ground),
              height: size.height,
              inside: size.left >= box.left - 1 && size.right <= box.right + 1};
    });
    const lines = [...svg.querySelectorAll('.line, .area')]
      .map(line => contrast(colour(style(line).stroke), panel));
    return {key: svg.dataset.figure, role: svg.computedRole, name: svg.computedName, texts, lines,
            width: box.width, height: box.height, left: box.left, right: box.right};
  };
  const words = [...page.querySelectorAll('h1,h2,h3,p,li,td,th,small,a,strong,pre,summary')]
    .map(e => ({text: e.textContent.slice(0, 40),
                contrast: contrast(colour(style(e).color), behind(e))}));
  document.getElementById('out').textContent = JSON.stringify({
    scroll: page.documentElement.scrollWidth, client: page.documentElement.clientWidth,
    figures: [...page.querySelectorAll('svg')].map(look), words,
    dark: view.matchMedia('(prefers-color-scheme: dark)').matches,
    tables: [...page.querySelectorAll('.scroll')].map(e => e.getBoundingClientRect().right)});
});
</script>"""


def look(folder, width, dark):
    """What the browser makes of ``report.html`` in ``folder``, and what it complains of."""
    (folder / "watcher.html").write_text(WATCHER % {"width": width})
    command = [
        BROWSER,
        *FLAGS,
        f"--user-data-dir={folder / f'profile-{width}-{dark}'}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--window-size={max(width, 600)},900",
        "--dump-dom",
        (folder / "watcher.html").as_uri(),
    ]
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="out">(.+?)</pre>', made.stdout, re.S)
    assert found, made.stderr[-2000:]
    complaints = [line for line in made.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(unescape(found[1])), complaints


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_page_looks_right(tmp_path, width, dark):
    figures = report.write_report(tmp_path / "report.html", *sample.make())
    page, complaints = look(tmp_path, width, dark)
    assert complaints == []
    assert page["dark"] == dark
    assert page["scroll"] <= page["client"] == width  # nothing sticks out sideways
    assert max(page["tables"]) <= width

    assert [f["key"] for f in page["figures"]] == [figure.key for figure in figures]
    for seen, figure in zip(page["figures"], figures, strict=True):
        assert seen["role"] in ("img", "image") and seen["name"].startswith(figure.title)
        assert seen["width"] > 300 and seen["height"] > 150
        assert seen["left"] >= 0 and seen["right"] <= width
        for text in seen["texts"]:
            assert text["inside"], (figure.key, text)
            assert text["contrast"] >= 4.5, (figure.key, text)
            assert text["height"] >= 9.5, (figure.key, text)
        assert all(contrast >= 3.0 for contrast in seen["lines"]), figure.key
    for word in page["words"]:
        assert word["contrast"] >= 4.5, word


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_the_watcher_sees_what_is_wrong(tmp_path):
    """The checks above would fail on a page that is too wide, illegible, or complains."""
    text, _ = report.render(*sample.make(2))
    text = text.replace("--ink:#1c2128", "--ink:#dddddd").replace(
        "</main>", '<div style="width:900px">x</div><img src="https://x.invalid/a.png"></main>'
    )
    (tmp_path / "report.html").write_text(text)
    page, complaints = look(tmp_path, 390, False)
    assert page["scroll"] > 390
    assert min(word["contrast"] for word in page["words"]) < 2
    assert any("Content Security Policy" in line for line in complaints)
