"""Corpora by name: those of the package, and modules of one's own."""

from __future__ import annotations

import sys

import pytest

from acorl_sb.corpora import corpus_module, known_corpora
from acorl_sb.utils.errors import UserError


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Write a module that Python can import; it is forgotten after the test."""
    monkeypatch.syspath_prepend(tmp_path)
    names = set(sys.modules)

    def write(name, text):
        path = tmp_path / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    yield write
    for name in set(sys.modules) - names:
        if name.startswith("own_"):
            del sys.modules[name]


def test_a_module_of_ones_own_is_a_corpus(own):
    own("own_corpus", "def collect(data_folder): return 'mine'")
    own("own_package.corpus", "def collect(data_folder): return 'nested'")
    assert corpus_module("own_corpus").collect(None) == "mine"
    assert corpus_module("own_package.corpus").collect(None) == "nested"


def test_a_corpus_of_the_package_comes_first(own):
    own("folder", "raise AssertionError('imported')")
    assert corpus_module("folder").__name__ == "acorl_sb.corpora.folder"
    assert "folder" in known_corpora() and "registry" not in known_corpora()


@pytest.mark.parametrize("name", ["own_none", "own_bare", "os", "./own_corpus", "a/b.py", "", ".a"])
def test_what_is_no_corpus_is_refused_by_name(own, name):
    own("own_bare", "collect = 3")
    with pytest.raises(UserError) as error:
        corpus_module(name)
    assert repr(name) in str(error.value) and "speechocean762" in str(error.value)


@pytest.mark.parametrize("text", ["import own_missing", "1 / 0", "def collect(:"])
def test_a_corpus_that_fails_says_why(own, text):
    own("own_broken", text)
    with pytest.raises(UserError) as error:
        corpus_module("own_broken")
    assert "own_broken" in str(error.value) and error.value.__cause__ is not None
