"""The folder that a pull writes to, against links and names that would lead out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from multirsh.files.landing import Finish, Landing

PLAIN = Finish(mode=0o644, exact=False, times=None)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def landing(root: Path) -> Landing:
    return Landing(os.fsencode(root))


def test_a_file_is_stored_with_its_folders(landing: Landing, root: Path) -> None:
    landing.store((b"h", b"a"), b".t", b"f", b"data", Finish(mode=0o640, exact=True, times=(5, 6)))

    made = root / "h" / "a" / "f"
    assert made.read_bytes() == b"data"
    assert (stat.S_IMODE(made.stat().st_mode), made.stat().st_mtime) == (0o640, 6)
    assert [path.name for path in made.parent.iterdir()] == ["f"]


@pytest.mark.parametrize("part", [b"..", b".", b"", b"a/b", b"../x"])
def test_no_part_leads_elsewhere(landing: Landing, part: bytes, root: Path) -> None:
    with pytest.raises(OSError, match="leads elsewhere"):
        landing.make_folder((part,))
    assert not list(root.iterdir())


def test_no_folder_that_is_a_link_is_entered(landing: Landing, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "link").symlink_to(outside)

    steps: list[Callable[[], object]] = [
        lambda: landing.make_folder((b"link",)),
        lambda: landing.store((b"link",), b".t", b"f", b"evil", PLAIN),
        lambda: landing.link((b"link",), b".t", b"f", b"x"),
        lambda: landing.set_folder((b"link",), 0o777, (1, 1)),
        lambda: landing.look((b"link",), b"f"),
    ]
    for step in steps:
        with pytest.raises(OSError, match="link in the place of a folder"):
            step()
    assert not list(outside.iterdir())


def test_a_link_is_never_written_through(landing: Landing, root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (root / "t").symlink_to(precious)
    (root / "f").symlink_to(precious)

    with pytest.raises(OSError):  # noqa: PT011 - ELOOP or EEXIST, as the system has it
        landing.create((), b"t")
    with pytest.raises(OSError):  # noqa: PT011 - as above
        landing.write((), b"t", 0, b"evil")
    landing.store((), b".t", b"f", b"new", PLAIN)

    assert precious.read_text() == "mine"
    assert (root / "f").read_text() == "new"
    assert not (root / "f").is_symlink()


def test_a_folder_is_never_replaced_by_a_file(landing: Landing, root: Path) -> None:
    (root / "f").mkdir()

    with pytest.raises(IsADirectoryError):
        landing.store((), b".t", b"f", b"data", PLAIN)
    with pytest.raises(IsADirectoryError):
        landing.link((), b".t", b"f", b"x")

    assert [path.name for path in root.iterdir()] == ["f"]


def test_what_is_overwritten_keeps_its_mode(landing: Landing, root: Path) -> None:
    (root / "f").write_text("old")
    (root / "f").chmod(0o600)

    landing.store((), b".t", b"f", b"new", PLAIN)
    landing.store((), b".t", b"g", b"new", Finish(mode=0o777, exact=False, times=None))

    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o600
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((root / "g").stat().st_mode) == 0o777 & ~umask


@pytest.mark.root
def test_no_folder_is_entered_that_another_user_has_left_there(landing: Landing, root: Path) -> None:
    (root / "h").mkdir()
    os.chown(root / "h", 4242, -1)
    with pytest.raises(PermissionError, match="another user has left it there"):
        landing.store((b"h",), b".t", b"f", b"secret", PLAIN)
    assert not list((root / "h").iterdir())

    os.chown(root, 4242, -1)
    landing.store((b"h",), b".t", b"f", b"of the folder's owner", PLAIN)
    assert (root / "h" / "f").exists()
