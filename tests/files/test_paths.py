"""Names: what a remote's may be, where a host's files go, what a half file is called."""

from __future__ import annotations

import fnmatch
import posixpath
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.errors import UsageError
from multirsh.files.paths import (
    base_name,
    is_partial,
    is_pattern,
    kept_name,
    matches_pattern,
    objection,
    partial_name,
    partials_pattern,
    remote_path,
    split_pattern,
    stays_inside,
    temporary_name,
)
from multirsh.files.scp.push import TEMPORARY

names = st.binary(min_size=1, max_size=300)
parts = st.sampled_from([b"..", b".", b"", b"a", b"b", b"link"])


@given(names)
def test_a_name_that_is_taken_is_one_part_of_a_path(name: bytes) -> None:
    if objection(name) is None:
        assert posixpath.normpath(posixpath.join(b"/root", name)) == b"/root/" + name
        assert b"\0" not in name


@pytest.mark.parametrize("name", [b"", b".", b"..", b"/", b"a/b", b"/a", b"a\0", b"a" * 256])
def test_these_are_no_names(name: bytes) -> None:
    assert objection(name)


@pytest.mark.parametrize(
    "name", [b"...", b".a", b"a b", b"-rf", b"\xff", "naïve".encode(), b"a" * 255, b"a\n", b"\x1b[2J"]
)
def test_these_are_names(name: bytes) -> None:
    assert objection(name) is None


@given(names.filter(lambda name: objection(name) is None), st.integers(0, 1 << 62), st.integers(0, 1 << 32))
def test_half_files_have_names_of_their_own(name: bytes, size: int, mtime: int) -> None:
    for made in (temporary_name(name, "0123abcd"), partial_name(name, size, mtime)):
        assert objection(made) is None
        assert made.startswith(b".")
        assert made != name


@given(names.filter(lambda name: objection(name) is None))
def test_what_another_file_takes_the_place_of_is_not_tidied_away(name: bytes) -> None:
    """It may be the only copy."""
    kept = kept_name(name, "0123abcd")
    assert objection(kept) is None
    for pattern in (*TEMPORARY, partials_pattern(name)):
        assert not fnmatch.fnmatchcase(kept, pattern)
    assert not is_partial(kept)


def test_a_partial_file_is_of_one_version() -> None:
    assert partial_name(b"f", 5, 6) == partial_name(b"f", 5, 6)
    assert len({partial_name(b"f", size, time) for size in (1, 2) for time in (1, 2)}) == 4
    long = b"n" * 254
    assert partial_name(long + b"1", 1, 1) != partial_name(long + b"2", 1, 1)


class FakeTree:
    """A tree with links as ``stays_inside`` lets them be, in which a path is followed as a kernel would."""

    def __init__(self) -> None:
        self.links: dict[tuple[bytes, ...], bytes] = {}

    def follow(self, folder: tuple[bytes, ...], path: bytes, *, depth: int = 0) -> tuple[bytes, ...] | None:
        """Where ``path`` leads from ``folder``; ``None`` for nowhere. Leaving the root fails the test."""
        here = folder
        for part in path.split(b"/"):
            if part in {b"", b"."}:
                continue
            if part == b"..":
                assert here, "it leads out"
                here = here[:-1]
                continue
            here = (*here, part)
            if here in self.links:
                if depth > 8:
                    return None
                led = self.follow(here[:-1], self.links[here], depth=depth + 1)
                if led is None:
                    return None
                here = led
        return here


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([b"a", b"b"]), max_size=2).map(tuple),
            st.sampled_from([b"link", b"b", b"a"]),
            st.lists(parts, min_size=1, max_size=5).map(b"/".join),
        ),
        max_size=6,
    )
)
def test_links_that_stay_inside_do_together_too(
    made: list[tuple[tuple[bytes, ...], bytes, bytes]],
) -> None:
    """Each is made where its folders are real, as they are when a pull makes it."""
    tree = FakeTree()
    real: set[tuple[bytes, ...]] = set()
    for folder, name, target in made:
        ways = [folder[:length] for length in range(1, len(folder) + 1)]
        if any(way in tree.links for way in ways) or (*folder, name) in real:
            continue
        if stays_inside(folder, target):
            real.update(ways)
            tree.links[*folder, name] = target
    for place, target in tree.links.items():
        tree.follow(place[:-1], target)


@pytest.mark.parametrize(
    ("folder", "target", "inside"),
    [
        ((), b"a", True),
        ((), b"./a/b", True),
        ((), b"..", False),
        ((b"a",), b"../b", True),
        ((b"a",), b"../../b", False),
        ((b"a",), b"b/../..", False),
        ((), b"/etc", False),
        ((), b"", False),
    ],
)
def test_where_links_may_lead(folder: tuple[bytes, ...], target: bytes, *, inside: bool) -> None:
    assert stays_inside(folder, target) == inside


@pytest.mark.parametrize(
    ("path", "name"),
    [(b"/a/b", b"b"), (b"a/", b"a"), (b"/", b""), (b".", b""), (b"a/.", b""), (b"a//", b"a")],
)
def test_what_a_source_is_called(path: bytes, name: bytes) -> None:
    assert base_name(path) == name


def test_home_folders() -> None:
    assert remote_path(b"~/a") == b"a"
    assert remote_path(b"~") == remote_path(b"~/") == b"."
    assert remote_path(b"/a/~") == b"/a/~"
    for wrong in (b"", b"~other", b"a\0b"):
        with pytest.raises(UsageError):
            remote_path(wrong)


NAMES = ["a", "ab", "b", ".a", "[x]", "a*b", "A", "x-y", "naïve"]
PATTERNS = ["*", "?", "a*", ".*", "[ab]", "[!a]*", "[[]x]", "*b", "a[*]b", "[a-c]?", "??*", "na*ve"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_shell_finds_the_same(tmp_path: Path, pattern: str) -> None:
    for name in NAMES:
        (tmp_path / name).touch()
    said = subprocess.run(
        ["sh", "-c", f'for f in {pattern}; do [ -e "$f" ] && printf \'%s\\n\' "$f"; done; :'],
        cwd=tmp_path,
        capture_output=True,
        check=True,
        env={"LC_ALL": "C"},
    )
    want = set(said.stdout.decode().splitlines()) - {".", ".."}

    assert {name for name in NAMES if matches_pattern(name.encode(), pattern.encode())} == want


def test_a_pattern_is_cut_into_parts() -> None:
    assert split_pattern(b"/var/*/x") == (b"/", (b"var", b"*", b"x"))
    assert split_pattern(b"a//b?") == (b".", (b"a", b"b?"))
    assert is_pattern(b"[a]")
    assert not is_pattern(b"/plain/path")
