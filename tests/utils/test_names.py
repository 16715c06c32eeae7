"""What can be a name of a member, and so of a folder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from acorl_sb.utils.errors import UserError
from acorl_sb.utils.names import check_name


@pytest.mark.parametrize("name", ["a", "ecapa-1024_x+y.2", "0", "x" * 100])
def test_names(name):
    assert check_name(name, "members[0]") == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../a", "/a", "a/b", "a\\b", "-a", "_a", "a b", "a\n", "ä", "x" * 101, 3, None],
)
def test_what_is_no_name(name):
    with pytest.raises(UserError, match="members"):
        check_name(name, "members[0]")


@given(st.text(max_size=20))
def test_a_name_is_one_plain_part_of_a_path(tmp_path_factory, text):
    try:
        check_name(text, "x")
    except UserError:
        return
    folder = tmp_path_factory.getbasetemp()
    assert (folder / text).resolve().parent == folder.resolve() and text.isascii()
