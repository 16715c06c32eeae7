"""The audio that a trial list's ids mean, and ids that mean two files."""

from __future__ import annotations

import pytest

from acorl_sb.corpora.trial_audio import find_audio
from acorl_sb.utils.errors import UserError


@pytest.mark.parametrize("name", ["s/a_b.wav", "s/a_b"])
def test_an_id_is_a_path_that_means_one_file(audio_tree, name):
    root = audio_tree("data", ["s/a b.wav", "s/c.wav"])
    (found,) = find_audio([name], root, "trials.txt")
    assert found.id == name and found.wav == str(root / "s/a b.wav")
    audio_tree("data", ["s/a_b.wav"])
    with pytest.raises(UserError) as error:
        find_audio([name], root, "trials.txt")
    assert name in str(error.value)
