"""A corpus of your own: files named ``<speaker>_<anything>.wav``, in a folder and below it.

It has no splits of its own, so development and test speakers are held out of ``train``.
"""

from acorl_sb.corpora import Corpus
from acorl_sb.corpora.listing import audio_files, require_folder, utterances


def collect(data_folder):
    root = require_folder(data_folder, "a folder of <speaker>_<anything>.wav")
    rows = [(f.stem, f, f.stem.split("_")[0], "", "") for f in audio_files(root)]
    return Corpus(train=utterances(rows))  # a row: id, file, speaker, session, gender
