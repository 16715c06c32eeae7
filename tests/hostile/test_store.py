"""A store of speakers on a bad day: one sentence, exit code 2, and no file has changed."""

from __future__ import annotations

import shutil
import sqlite3

import numpy as np
import pytest

from acorl_sb.inference import Verifier
from acorl_sb.store import open_store
from acorl_sb.store.store_model import StoreModel
from tests import folders
from tests.commands import checksums, refused, run
from tests.hostile.damage import noise, soundfile


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run and a store of one of its speakers."""
    root = tmp_path_factory.mktemp("store")
    folder, speech = folders.finished_run(root / "run")
    verifier = Verifier.from_run(folder, store=root / "speakers.db")
    verifier.enrol("ann", [speech[0].wav])
    verifier.store.close()
    model = verifier.store_model()
    other = StoreModel(model.names, model.dims, ("0" * 64, "1" * 64), model.probe)
    open_store(root / "other.db", other, create=True).close()
    open_store(root / "nobody.db", model, create=True).close()
    soundfile.write(root / "a.wav", noise(), 16000)
    soundfile.write(root / "silent.wav", np.zeros(16000), 16000)
    data = (root / "speakers.db").read_bytes()
    (root / "half.db").write_bytes(data[: len(data) // 2])
    (root / "text.db").write_text("ann\n")
    (root / "empty.db").touch()
    with sqlite3.connect(root / "music.db") as connection:
        connection.execute("CREATE TABLE albums (title)")
    connection.close()
    shutil.copy(root / "speakers.db", root / "vector.db")
    with sqlite3.connect(root / "vector.db") as connection:
        connection.execute("UPDATE speakers SET vector = zeroblob(length(vector))")
    connection.close()
    return root


NOT_STORES = ("half.db", "text.db", "music.db", "other.db", "a.wav", "gone/x.db", ".")
TABLE = [
    *((["identify", name, "a.wav"], name) for name in (*NOT_STORES, "empty.db", "none.db")),
    *((["enrol", name, "ben", "a.wav"], name) for name in NOT_STORES),
    *((["speakers", name], name) for name in NOT_STORES if name != "other.db"),
    (["identify", "vector.db", "a.wav"], "vector.db"),
    (["identify", "nobody.db", "a.wav"], "nobody.db"),
    (["enrol", "speakers.db", "ann", "a.wav"], "'ann'"),
    (["enrol", "speakers.db", "ben", "gone.wav"], "gone.wav"),
    (["enrol", "speakers.db", "ben", "a.wav", "silent.wav"], "silent.wav"),
    (["enrol", "new.db", "ben", "silent.wav"], "silent.wav"),
    (["enrol", "new.db", "a\nb", "a.wav"], "name"),
    (["enrol", "speakers.db", "ben", "a.wav", "a.wav"], "a.wav"),
    (["enrol", "speakers.db", "ben"], "files"),
    (["verify", "ben", "a.wav", "--store", "speakers.db"], "'ben'"),
    (["verify", "gone.wav", "a.wav"], "gone.wav"),
    (["verify", "a.wav", "silent.wav"], "silent.wav"),
    (["verify", "a.wav"], "second"),
    (["verify", "a.wav", "a.wav", "a.wav"], "a.wav"),
    (["verify", "a.wav", "a.wav", "--p_target", "1"], "p_target"),
    (["identify", "speakers.db", "a.wav", "--top", "0"], "top"),
    (["speakers", "speakers.db", "--delete", "ann", "ben"], "'ben'"),
]


@pytest.mark.parametrize(("words", "named"), TABLE, ids=lambda value: " ".join(value)[:40])
def test_refused_and_nothing_changed(made, words, named):
    before = checksums(made)
    more = [] if words[0] == "speakers" else ["--run_folder", "run"]
    line = refused(run(["-m", "acorl_sb", *words, *more], cwd=made))
    assert named in line
    assert checksums(made) == before


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "a.wav", "x\udcff.wav"],
        ["verify", "ann", "x\udcff.wav", "--store", "speakers.db"],
        ["enrol", "speakers.db", "ben", "x\udcff.wav"],
        ["enrol", "x\udcff.db", "ben", "a.wav"],
        ["identify", "speakers.db", "x\udcff.wav"],
    ],
    ids=lambda words: ascii(" ".join(words)),
)
def test_a_name_that_is_not_utf8_is_one_sentence(made, words):
    shutil.copy(made / "a.wav", made / "x\udcff.wav")
    before = checksums(made)
    line = refused(run(["-m", "acorl_sb", *words, "--run_folder", "run"], cwd=made))
    assert r"x\udcff" in line
    assert checksums(made) == before
    (made / "x\udcff.wav").unlink()
