"""The page as text: self-contained, well-formed, every figure named, every number there."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from scipy.stats import norm

from acorl_sb.fusion.models import LABELS
from acorl_sb.report import figures, fusion_page, write_pictures
from acorl_sb.report import fusion_tables as fuse_tables
from acorl_sb.report.page import Page, Section, Table, Text, as_html, as_markdown
from tests.report import sample

FIGURES = {"det", "subsets", "correlation-target", "correlation-nontarget", "error-overlap"}
FIGURES |= {"bayes-logistic-fusion", "histogram-logistic-fusion", "histogram-ecapa"}
TRAINING = {f"training-{name}" for name in ("dev-eer", "task-loss", "adversary-loss", "weight")}


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


def render(*made):
    page = fusion_page(*made)
    return as_html(page), page.pictures


def test_the_page_needs_nothing_else(made):
    text, _ = render(*made)
    reader = Reader(text)
    for tag, attrs in reader.tags:
        assert tag not in ("script", "link", "img", "iframe", "object", "embed")
        assert not {"src", "srcset", "onload", "onclick"} & set(attrs)
        for key in ("href", "xlink:href"):
            assert attrs.get(key, "#").startswith(("#", "data:image/png;"))
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    addresses = set(re.findall(r"https?://[^\"'<\s]+", text))
    names = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # never fetched
    assert addresses <= names
    assert "default-src 'none'" in text


def test_every_figure_is_there_and_names_itself(made):
    text, pictures = render(*made)
    keys = [picture.key for picture in pictures]
    assert set(keys) >= FIGURES | TRAINING and len(keys) == len(set(keys))
    reader = Reader(text)
    assert len(reader.ids) == len(set(reader.ids))
    drawn = [attrs for tag, attrs in reader.tags if tag == "svg"]
    assert [attrs["data-figure"] for attrs in drawn] == keys
    for attrs in drawn:
        assert attrs["role"] == "img"
        assert set(attrs["aria-labelledby"].split()) <= set(reader.ids)
    for picture in pictures:
        assert len(picture.description) > 40


def test_names_that_look_like_markup_or_mathematics_stay_text(made):
    text, _ = render(*made)
    assert "resnet &lt;b&gt;&amp;" in text and "<b>" not in text
    results, curves, _ = copy.deepcopy(made)
    for old, new in (("ecapa", "$x$_{1} 讲者"), ("resnet <b>&", 'a"b|c')):
        results["systems"][results["systems"].index(old)] = new
        next(r for r in results["table"] if r["name"] == old)["name"] = new
        curves[new] = curves.pop(old)
    results["best_member"] = "$x$_{1} 讲者"
    text, _ = render(results, curves)
    assert text.count("$x$_{1} 讲者") > 10
    assert Reader(text).open == []


def test_the_numbers_of_the_table_are_on_the_page(made):
    results, curves, training = made
    text, _ = render(results, curves, training)
    for row in results["table"]:
        assert f"{100 * row['eer']:.2f} <small>[" in text
        assert f"{row['act_dcf']['0.01']:.3f}" in text
    for counts in results["protocol"]["parts"].values():
        for kind in ("speakers", "target", "nontarget"):
            assert f"<span>{counts[kind]:,}</span>" in text
    assert "something to be warned of" in text and "CAUTION: 3 speakers" in text
    assert "python fuse.py --dev a.txt --test &#39;b &lt;c&gt;.txt&#39;" in text


def test_there_is_no_empty_section_of_training(made):
    results, curves, training = made
    link = 'href="#training"'
    assert link in as_html(fusion_page(results, curves, training))
    once = {name: epochs[:1] for name, epochs in training.items()}
    for without in (None, once):
        assert link not in as_html(fusion_page(results, curves, without))


def test_intervals_of_act_dcf_and_cllr_are_shown_where_they_are(made):
    results = copy.deepcopy(made[0])
    results["table"][0]["intervals"] |= {"act_dcf(0.01)": [0.111, 0.222], "cllr": [0.333, 0.444]}
    text, _ = render(results, made[1])
    assert "[0.111, 0.222]" in text and "[0.333, 0.444]" in text


def test_differences_have_true_minus_signs_and_none_is_of_a_system_with_itself(made):
    _, rows = fuse_tables.main_table(made[0])
    differences = {row[0]: row[2] for row in rows}
    assert differences["ecapa"] == differences[LABELS["best_single"]] == "–"
    assert differences["logistic fusion"].startswith("−")
    text = as_html(fusion_page(*made))
    body = re.sub(r"<(svg|style|pre).*?</\1>", "", text, flags=re.S)
    assert not re.search(r">\s*-\d|\[-\d", body)
    assert "+0.00 <small>[+0.00" not in body


@pytest.mark.parametrize("members, cross", [(1, False), (2, True)])
def test_other_kinds_of_results(members, cross):
    results, curves, _ = sample.make(members, cross)
    text, pictures = render(results, curves)
    keys = {picture.key for picture in pictures}
    assert ("subsets" in keys) == (members > 1)
    assert ("cross-validated" in text) == cross
    assert not keys & TRAINING


def test_figures_are_files_of_their_own(made, tmp_path):
    _, pictures = render(*made)
    for path in write_pictures(tmp_path, pictures):
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.find("{http://www.w3.org/2000/svg}title").text
        assert "prefers-color-scheme:dark" in path.read_text()
        # No ink is left that only one of the schemes can show.
        assert not re.search(r"(fill|stroke): (#000000|black)", path.read_text())


def test_det_axes_are_normal_deviates(made):
    """The EER ring of a system lies on the diagonal, where its rate belongs on a probit axis."""
    results, curves, _ = made
    (axis,) = figures.det(results, curves).figure.axes
    for side in (axis.xaxis, axis.yaxis):
        rates = [float(label.get_text()) / 100 for label in side.get_ticklabels()]
        assert len(rates) >= 4
        np.testing.assert_allclose(side.get_ticklocs(), norm.ppf(rates))
    rings = [line.get_xydata() for line in axis.lines if line.get_marker() == "o"]
    rings = {tuple(points[0]) for points in rings if len(points) == 1}
    wanted = {norm.ppf(row["eer"]) for row in results["table"]}
    assert sorted({x for x, _ in rings}) == pytest.approx(sorted(wanted))
    assert all(x == y for x, y in rings)


def test_det_curves_that_lie_on_one_another_are_named_and_look_different(made):
    results, curves, _ = made
    assert figures.det(results, curves).note == ""
    same = {**curves, "resnet <b>&": curves["ecapa"]}
    picture = figures.det(results, same)
    assert "ecapa, resnet <b>&" in picture.note
    (axis,) = picture.figure.axes
    lines = [line for line in axis.lines if (line.get_gid() or "").startswith("line-")]
    assert len({(line.get_color(), line._dash_pattern[1] is None, line.get_linewidth(),
                 line.get_marker()) for line in lines}) == len(lines)  # fmt: skip
    assert all("EER" in text.get_text() for text in axis.get_legend().get_texts())


@pytest.mark.parametrize("points", [(0.05, 0.01), (0.5, 0.05, 0.01, 0.001), (0.9, 0.99)])
def test_a_threshold_is_labelled_at_its_own_line_in_every_histogram(made, points):
    results, curves, _ = copy.deepcopy(made)
    results["decisions"] = [
        {"p_target": p, "llr_threshold": float(np.log((1 - p) / p))} for p in points
    ]
    pictures = figures.histograms(results, curves)
    ranges = {tuple(p.figure.axes[0].get_xlim() + p.figure.axes[0].get_ylim()) for p in pictures}
    assert len(ranges) == 1  # one pair of axes for all
    for picture in pictures:
        (axis,) = picture.figure.axes
        FigureCanvasAgg(picture.figure).draw()
        flags = {}
        for line in axis.lines:
            if (line.get_gid() or "").startswith("flag-"):
                flags[line.get_xdata()[0]] = line.get_window_extent()
        texts = {t.xy[0]: t.get_window_extent() for t in axis.texts}
        assert flags.keys() == texts.keys() and len(flags) == len(points)
        for x, text in texts.items():
            middle = (text.y0 + text.y1) / 2
            beside = {f: line.x0 for f, line in flags.items() if line.y1 > middle}
            assert not [f for f, at in beside.items() if text.x0 < at < text.x1]
            near = {f: min(abs(at - text.x0), abs(at - text.x1)) for f, at in beside.items()}
            assert min(near, key=near.get) == x and near[x] < 6


def test_bars_are_as_long_as_their_figures(made):
    results, _, _ = made
    (axis,) = figures.subsets(results).figure.axes
    widths = sorted(bar.get_width() for bar in axis.patches)
    errors = sorted(100 * row["figures"]["eer"] for row in results["contributions"]["subsets"])
    assert widths == pytest.approx(errors) and len(errors) == 7
    assert axis.get_xlim()[0] == 0


def test_one_page_as_html_and_as_markdown():
    table = Table("a | b", ["name", "x|y"], [["<i>", "1 [0, 2]"]])
    page = Page("T & U", [Section("S", "s", [Text("rest", "lead", "First."), table])])
    html, markdown = as_html(page), as_markdown(page, "figures")
    assert "&lt;i&gt;" in html and "<strong>First.</strong> rest" in html and "T &amp; U" in html
    assert 'data-label="x|y"' in html
    assert markdown.splitlines()[:1] == ["# T & U"] and "**First.** rest" in markdown
    assert "| \\<i> | 1 [0, 2] |" in markdown and "x\\|y" in markdown
    assert replace(page, sections=[]).pictures == []
