"""The POSIX text that runs on hosts, where a user may write to the folder that root copies into."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from multirsh.files.host_shell import FUNCTIONS
from multirsh.files.scp.push import RENAMER
from multirsh.sh_text import quoted
from tests.files.test_wire_existing import acl_of, give_acl

NEW = ".target.multirsh-1"


@pytest.fixture(params=["dash", "bash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Those that are /bin/sh somewhere, as far as they are here."""
    words = str(request.param).split()
    if subprocess.run(["sh", "-c", f"command -v {words[0]}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{words[0]} is not installed")
    return words


def said_by(shell: list[str], text: str, folder: Path) -> str:
    return subprocess.run(shell, input=text, cwd=folder, capture_output=True, check=True, text=True).stdout


def with_a_link(tmp_path: Path) -> tuple[Path, Path]:
    """Make a private file, and a folder in which a link to it has taken the place of the temporary file."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    folder = tmp_path / "there"
    folder.mkdir()
    (folder / "target").touch()
    (folder / "target").chmod(0o666)
    (folder / NEW).symlink_to(secret)
    return secret, folder


@pytest.mark.root
def test_an_acl_is_not_given_to_what_a_link_in_the_place_of_the_new_file_leads_to(
    shell: list[str], tmp_path: Path
) -> None:
    secret, folder = with_a_link(tmp_path)
    give_acl(folder / "target")

    said = said_by(shell, f"{FUNCTIONS}\nkeep_acl target {NEW}\n", folder)

    assert said == "lost\n"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert not any("4321" in entry for entry in acl_of(secret))


@pytest.mark.root
def test_an_acl_is_given_to_a_new_file(shell: list[str], tmp_path: Path) -> None:
    (tmp_path / "target").touch()
    give_acl(tmp_path / "target")
    (tmp_path / NEW).touch(mode=0o600)

    assert said_by(shell, f"{FUNCTIONS}\nkeep_acl target {NEW}\n", tmp_path) == ""
    assert acl_of(tmp_path / NEW) == acl_of(tmp_path / "target")


@pytest.mark.root
def test_a_link_in_the_place_of_a_file_sent_by_scp_gives_nothing_away(
    shell: list[str], tmp_path: Path
) -> None:
    secret, folder = with_a_link(tmp_path)
    os.chown(folder / "target", 1234, 1234)

    said = said_by(shell, f"{RENAMER}\nmove {NEW} target 0 0644 usual\n", folder)

    assert said.startswith("0 - its temporary file is gone, or another"), said
    found = secret.stat()
    assert (found.st_mode & 0o777, found.st_uid, found.st_gid) == (0o600, 0, 0)
    assert not (folder / "target").is_symlink()


@pytest.mark.parametrize("leads_to", ["file", "folder", "nothing"])
def test_a_link_is_replaced_only_by_a_file_that_is_there(
    shell: list[str], tmp_path: Path, leads_to: str
) -> None:
    (tmp_path / "file").write_text("its own")
    (tmp_path / "folder").mkdir()
    target = tmp_path / "target"
    target.symlink_to(leads_to)
    move = f"{RENAMER}\nmove {quoted(NEW.encode())} target 0 0644 usual\n"

    assert said_by(shell, move, tmp_path).startswith("0 - ")
    assert target.is_symlink()

    (tmp_path / NEW).write_text("new")
    assert said_by(shell, move, tmp_path) == ""
    assert not target.is_symlink()
    assert target.read_text() == "new"
    assert (tmp_path / "file").read_text() == "its own"
    assert not list((tmp_path / "folder").iterdir())
