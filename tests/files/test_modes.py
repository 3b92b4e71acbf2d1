"""Modes of temporary files, and of those that are overwritten."""

from __future__ import annotations

import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.files.modes import is_special, kept_mode, opening_mode

permissions = st.integers(0, 0o777)
modes = st.integers(0, 0o7777)


@given(permissions, st.none() | modes, st.booleans())
def test_a_temporary_file_is_never_more_open_than_its_target(mode: int, old: int | None, exact: bool) -> None:  # noqa: FBT001 - drawn
    """To others than its owner, who writes it; and by whatever group it has."""
    opened = opening_mode(mode, old, exact=exact)

    will_be = mode if old is None or exact else old
    assert opened & 0o077 & ~will_be == 0
    if old is not None:
        assert opened & 0o077 & ~old == 0
        assert opened >> 3 & 0o7 & ~(old & 0o7) == 0, "a group that others are in may do what all may do"


@given(modes, st.booleans(), st.booleans())
def test_what_is_overwritten_lets_no_other_in(old: int, user: bool, group: bool) -> None:  # noqa: FBT001 - drawn
    kept = kept_mode(old, user=user, group=group)

    assert kept & ~old == 0
    assert kept & 0o707 == old & 0o707
    assert (kept == old) or not (user and group)
    if not group:
        assert kept >> 3 & 0o7 & ~(old & 0o7) == 0
    if not (user and group):
        assert not kept & 0o6000


@pytest.mark.parametrize(
    ("mode", "special"),
    [
        (None, False),
        (0o644, False),  # a server that tells permissions alone
        (stat.S_IFREG | 0o644, False),
        (stat.S_IFLNK | 0o777, False),
        (stat.S_IFIFO | 0o600, True),
        (stat.S_IFCHR | 0o600, True),
        (stat.S_IFSOCK | 0o600, True),
    ],
)
def test_what_is_neither_file_nor_folder_nor_link(mode: int | None, *, special: bool) -> None:
    assert is_special(mode) == special
