"""Corpora: a folder of speech becomes manifests and trial lists."""

from acorl_sb.corpora.preparation import Corpus, Splits, prepare
from acorl_sb.corpora.registry import corpus_module, known_corpora
from acorl_sb.corpora.splits import check_disjoint, make_trials, split_speakers
from acorl_sb.data.manifest import Utterance, read_manifest, write_manifest

__all__ = [
    "Corpus",
    "Splits",
    "Utterance",
    "check_disjoint",
    "corpus_module",
    "known_corpora",
    "make_trials",
    "prepare",
    "read_manifest",
    "split_speakers",
    "write_manifest",
]
