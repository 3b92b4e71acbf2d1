"""The folder that a pull writes to, against links and names that would lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from multirsh.files.destination import DestinationDir, FinalAttributes

PLAIN = FinalAttributes(mode=0o644, exact=False, times=None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def landing(root: Path) -> DestinationDir:
    return DestinationDir(os.fsencode(root))


def test_a_file_is_stored_with_its_folders(landing: DestinationDir, root: Path) -> None:
    landing.store(
        (b"h", b"a"), b"f", b"data", FinalAttributes(mode=0o640, exact=True, times=(5 * 10**9, 6 * 10**9 + 7))
    )

    made = root / "h" / "a" / "f"
    assert made.read_bytes() == b"data"
    assert (stat.S_IMODE(made.stat().st_mode), made.stat().st_mtime_ns) == (0o640, 6 * 10**9 + 7)
    assert [path.name for path in made.parent.iterdir()] == ["f"]


@pytest.mark.parametrize("part", [b"..", b".", b"", b"a/b", b"../x"])
def test_no_part_leads_elsewhere(landing: DestinationDir, part: bytes, root: Path) -> None:
    with pytest.raises(OSError, match="leads elsewhere"):
        landing.make_folder((part,))
    assert not list(root.iterdir())


def test_no_folder_that_is_a_link_is_entered(landing: DestinationDir, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)

    steps: list[Callable[[], object]] = [
        lambda: landing.make_folder((b"link",)),
        lambda: landing.store((b"link",), b"f", b"evil", PLAIN),
        lambda: landing.link((b"link",), b".t", b"f", b"x"),
        lambda: landing.set_folder((b"link",), 0o777, (1, 1)),
        lambda: landing.lstat((b"link",), b"f"),
    ]
    for step in steps:
        with pytest.raises(OSError, match="link in the place of a folder"):
            step()
    assert not list(outside.iterdir())


def test_a_link_is_never_written_through(landing: DestinationDir, root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (root / "t").symlink_to(precious)
    (root / "f").symlink_to(precious)

    with pytest.raises(OSError):  # noqa: PT011 - ELOOP or EEXIST, as the system has it
        landing.create((), b"t")
    with pytest.raises(OSError):  # noqa: PT011 - as above
        landing.write((), b"t", 0, b"evil")
    landing.store((), b"f", b"new", PLAIN)

    assert precious.read_text() == "mine"
    assert (root / "f").read_text() == "new"
    assert not (root / "f").is_symlink()


def test_a_folder_is_never_replaced_by_a_file(landing: DestinationDir, root: Path) -> None:
    (root / "f").mkdir()

    with pytest.raises(IsADirectoryError):
        landing.store((), b"f", b"data", PLAIN)
    with pytest.raises(IsADirectoryError):
        landing.link((), b".t", b"f", b"x")

    assert [path.name for path in root.iterdir()] == ["f"]


def test_what_is_overwritten_keeps_its_mode(landing: DestinationDir, root: Path) -> None:
    (root / "f").write_text("old")
    (root / "f").chmod(0o600)

    landing.store((), b"f", b"new", PLAIN)
    landing.store((), b"g", b"new", FinalAttributes(mode=0o777, exact=False, times=None))

    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o600
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((root / "g").stat().st_mode) == 0o777 & ~umask


@pytest.mark.root
def test_no_folder_is_entered_that_another_user_has_left_there(landing: DestinationDir, root: Path) -> None:
    (root / "h").mkdir()
    os.chown(root / "h", 4242, -1)
    with pytest.raises(PermissionError, match="another user has left it there"):
        landing.store((b"h",), b"f", b"secret", PLAIN)
    assert not list((root / "h").iterdir())

    os.chown(root, 4242, -1)
    landing.store((b"h",), b"f", b"of the folder's owner", PLAIN)
    assert (root / "h" / "f").exists()


def test_what_is_overwritten_sets_no_user_any_more(landing: DestinationDir, root: Path) -> None:
    """Its content is another machine's now."""
    for name, how in (("f", PLAIN), ("g", PLAIN._replace(in_place=True))):
        (root / name).write_text("old")
        (root / name).chmod(0o6755)

        assert landing.store((), name.encode(), b"new", how) == []

        assert stat.S_IMODE((root / name).stat().st_mode) == 0o755


def test_what_is_written_in_place_stays_the_file_that_it_is(landing: DestinationDir, root: Path) -> None:
    (root / "f").write_text("old and longer")
    (root / "f").chmod(0o640)
    (root / "hard").hardlink_to(root / "f")
    (root / "link").symlink_to("f")
    in_place = FinalAttributes(mode=0o666, exact=False, times=None, in_place=True)

    landing.store((), b"f", b"new", in_place)
    landing.store((), b"g", b"new", in_place)
    with pytest.raises(OSError):  # noqa: PT011 - ELOOP, which has no class of its own
        landing.store((), b"link", b"evil", in_place)

    assert ((root / "hard").read_text(), stat.S_IMODE((root / "f").stat().st_mode)) == ("new", 0o640)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((root / "g").stat().st_mode) == 0o666 & ~umask


@pytest.mark.root
def test_a_file_that_another_user_has_left_is_not_written_to_in_place(
    landing: DestinationDir, root: Path
) -> None:
    (root / "f").write_text("theirs")
    os.chown(root / "f", 4242, -1)
    with pytest.raises(PermissionError, match="another user has left it there"):
        landing.store(
            (), b"f", b"secret", FinalAttributes(mode=0o666, exact=False, times=None, in_place=True)
        )
    assert (root / "f").read_text() == "theirs"


def test_what_is_left_of_long_ago_is_removed_and_what_is_fresh_is_not(
    landing: DestinationDir, root: Path
) -> None:
    old, fresh = root / ".f.multirsh-1", root / ".f.multirsh-2"
    for path in (old, fresh):
        path.write_text("half")
    os.utime(old, (1, 1))

    assert landing.begin((), b"f", PLAIN) == b".f.multirsh-3"

    assert not old.exists()
    assert fresh.read_text() == "half"
