"""The page as text: self-contained, well-formed, every figure named, every number there."""

from __future__ import annotations

import itertools
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from acorl_sb import report
from acorl_sb.report import svg
from tests.report import sample

FIGURES = {"det", "subsets", "correlation-target", "correlation-nontarget", "common-errors"}
FIGURES |= {"bayes-logistic-fusion", "histogram-logistic-fusion", "histogram-ecapa"}
TRAINING = {f"training-{name}" for name in ("dev-eer", "task-loss", "adversary-loss", "push")}


@pytest.fixture(scope="module")
def made():
    return sample.make()


class Reader(HTMLParser):
    """Collects tags and checks that every one is closed."""

    VOID = ("meta", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(made):
    text, _ = report.render(*made)
    reader = Reader(text)
    for tag, attrs in reader.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed")
        assert not {"src", "srcset", "onload", "onclick"} & set(attrs)
        assert attrs.get("href", "#").startswith("#")
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    addresses = set(re.findall(r"https?://[^\"'<\s]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert "default-src 'none'" in text


def test_every_figure_is_there_and_names_itself(made):
    text, figures = report.render(*made)
    keys = [figure.key for figure in figures]
    assert set(keys) >= FIGURES | TRAINING and len(keys) == len(set(keys))
    reader = Reader(text)
    assert len(reader.ids) == len(set(reader.ids))
    drawn = [attrs for tag, attrs in reader.tags if tag == "svg"]
    assert [attrs["data-figure"] for attrs in drawn] == keys
    for attrs in drawn:
        assert attrs["role"] == "img"
        assert set(attrs["aria-labelledby"].split()) <= set(reader.ids)
    for figure in figures:
        assert len(figure.description) > 40


def test_names_that_look_like_markup_stay_text(made):
    text, _ = report.render(*made)
    assert "resnet &lt;b&gt;&amp;" in text and "<b>" not in text


def test_the_numbers_of_the_table_are_on_the_page(made):
    results, curves, training = made
    text, _ = report.render(results, curves, training)
    for row in results["table"]:
        assert f"{100 * row['eer']:.2f} <small>[" in text
        assert f"{row['act_dcf']['0.01']:.3f}" in text
    assert "something to be warned of" in text and "CAUTION: 3 speakers" in text
    assert "python fuse.py --dev a.txt --test &#x27;b &lt;c&gt;.txt&#x27;" in text


@pytest.mark.parametrize("members, cross", [(1, False), (2, True)])
def test_other_kinds_of_results(members, cross):
    results, curves, _ = sample.make(members, cross)
    text, figures = report.render(results, curves)
    keys = {figure.key for figure in figures}
    assert ("subsets" in keys) == (members > 1)
    assert ("cross-validated" in text) == cross
    assert not keys & TRAINING


def test_figures_are_files_of_their_own(made, tmp_path):
    _, figures = report.render(*made)
    for path in report.write_figures(tmp_path, figures):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}title").text
        assert "prefers-color-scheme:dark" in path.read_text()


def test_det_axes_are_normal_deviates(made):
    """The EER dot of a member lies on the diagonal, where its rate belongs on a probit axis."""
    from scipy.stats import norm

    results, curves, _ = made
    figure = report.figures.det(results, curves)
    root = ElementTree.fromstring(figure.svg)
    space = "{http://www.w3.org/2000/svg}"
    frame = next(r for r in root.iter(f"{space}rect") if r.get("class") == "frame")
    x0, y0, side = (float(frame.get(k)) for k in ("x", "y", "width"))
    ticks = {}
    for text in root.iter(f"{space}text"):
        if text.get("text-anchor") == "middle" and re.fullmatch(r"[\d.]+", text.text or ""):
            ticks[float(text.text) / 100] = (float(text.get("x")) - x0) / side
    rates = sorted(ticks)
    assert len(rates) >= 4
    low, high = rates[0], rates[-1]
    dots = {
        float(d.find(f"{space}title").text.rsplit(" ", 2)[1]): d
        for d in root.iter(f"{space}circle")
    }

    def place(rate):
        share = (norm.ppf(rate) - norm.ppf(low)) / (norm.ppf(high) - norm.ppf(low))
        return ticks[low] + share * (ticks[high] - ticks[low])

    for rate in rates:
        assert ticks[rate] == pytest.approx(place(rate), abs=0.002)
    for percent, dot in dots.items():
        x = (float(dot.get("cx")) - x0) / side
        y = 1 - (float(dot.get("cy")) - y0) / side
        assert x == pytest.approx(y, abs=0.002)
        assert x == pytest.approx(place(percent / 100), abs=0.004)


def test_bars_are_as_long_as_their_figures(made):
    results, _, _ = made
    root = ElementTree.fromstring(report.figures.subsets(results).svg)
    widths = [float(r.get("width")) for r in root.iter("{http://www.w3.org/2000/svg}rect")]
    errors = sorted(row["figures"]["eer"] for row in results["contributions"]["subsets"])
    assert len(widths) == 7
    for width, error in zip(widths, errors, strict=True):
        assert width / widths[-1] == pytest.approx(error / errors[-1], abs=0.003)


def test_ticks_are_round_and_inside():
    for low, high in ((0, 1), (-3.7, 12.2), (0, 0.0031), (1, 8), (0, 1234), (-8, 4)):
        made = svg.ticks(low, high)
        values = [value for value, _ in made]
        assert 2 <= len(values) <= 8 and low <= values[0] + 1e-9 and values[-1] <= high + 1e-9
        assert all(float(text) == pytest.approx(value, abs=1e-12) for value, text in made)
        steps = {round(b - a, 10) for a, b in itertools.pairwise(values)}
        assert len(steps) == 1
