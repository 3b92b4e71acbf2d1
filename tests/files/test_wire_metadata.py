"""What copies keep, beside scp and rsync: each cell of the table in docs/files.md is what a copy shows."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.program import ROOT, Ended, Program
from tests.servers.requirement import program

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

ONE = ("-f", "hosts.yaml", "-w", "h01")
ADDRESS = "127.1.0.1"
SOURCE_OWNER, TARGET_OWNER = 1234, 777
TIME_NS = 1_500_000_000_123_456_789
HOLE_BYTES = 4 * 1024 * 1024


def table() -> dict[str, dict[str, str]]:
    """The table of the docs: by way of copying and by what is kept."""
    text = (ROOT / "docs" / "files.md").read_text()
    lines = text.partition("## What is kept")[2].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    (_, *ways), *facts = rows
    return {
        way.strip("`"): {fact: cells[number] for fact, *cells in facts} for number, way in enumerate(ways)
    }


def give_acl(path: Path) -> None:
    program("setfacl", package="acl")
    subprocess.run(["setfacl", "-m", "u:4321:r", path], check=True)


def has_acl(path: Path) -> bool:
    said = subprocess.run(["getfacl", "-npcE", path], capture_output=True, check=True, text=True)
    return "user:4321:" in said.stdout


def plant_source(tree: Path) -> None:
    tree.mkdir()
    for name in ("new", "over", "with-acl", "over-acl"):
        (tree / name).write_text(f"new {name}")
        (tree / name).chmod(0o640 if name == "over" else 0o666)
        os.chown(tree / name, SOURCE_OWNER, SOURCE_OWNER)
        os.utime(tree / name, ns=(TIME_NS, TIME_NS))
    give_acl(tree / "with-acl")
    (tree / "link").symlink_to("new")
    (tree / "hard").write_text("hard")
    (tree / "hard-too").hardlink_to(tree / "hard")
    with (tree / "hole").open("wb") as file:
        file.truncate(HOLE_BYTES)
    os.mkfifo(tree / "fifo")


def plant_target(tree: Path) -> None:
    tree.mkdir(parents=True)
    for name in ("over", "over-acl"):
        (tree / name).write_text("old")
        (tree / name).chmod(0o604)
        os.chown(tree / name, TARGET_OWNER, TARGET_OWNER)
    give_acl(tree / "over-acl")


def kept(source: Path, made: Path) -> dict[str, str]:
    """What has been kept, in the words of the table."""
    new, over = (made / "new").stat(), (made / "over").stat()
    contents = all(
        (made / name).read_bytes() == (source / name).read_bytes() for name in ("new", "over", "hole")
    )
    return {
        "contents": _either(contents, "yes", "no"),
        "mode of a new file": {0o666: "exact", 0o644: "less the umask"}[stat.S_IMODE(new.st_mode)],
        "mode of an overwritten file": {0o604: "its own", 0o640: "the source's"}[stat.S_IMODE(over.st_mode)],
        "owner and group of a new file": _either(new.st_uid == new.st_gid == SOURCE_OWNER, "as root", "no"),
        "owner and group of an overwritten file": {TARGET_OWNER: "its own", SOURCE_OWNER: "the source's"}[
            over.st_uid
        ],
        "ACL of the source": _either(has_acl(made / "with-acl"), "yes", "no"),
        "ACL of an overwritten file": _either(has_acl(made / "over-acl"), "its own", "lost"),
        "modification time": _time(new),
        "symbolic links in a folder": _either((made / "link").is_symlink(), "kept", "followed"),
        "hard links": _either((made / "hard").stat().st_nlink > 1, "kept", "no"),
        "holes": _either((made / "hole").stat().st_blocks * 512 < HOLE_BYTES, "kept", "no"),
        "devices and FIFOs": _either((made / "fifo").exists(), "as root", "left out"),
    }


def _time(status: os.stat_result) -> str:
    if status.st_mtime_ns == TIME_NS:
        return "exact"
    return "seconds" if status.st_mtime_ns // 10**9 == TIME_NS // 10**9 else "no"


def _either(holds: bool, yes: str, no: str) -> str:  # noqa: FBT001 - a word for each
    return yes if holds else no


class Copy(NamedTuple):
    """A copy that is to be made.

    Attributes:
        by: The program, where the host is known.
        tree: The source.
        folder: Where it goes.
    """

    by: Program
    tree: Path
    folder: Path

    def push(self, *flags: str) -> Ended:
        return self.by("push", *ONE, "-r", *flags, self.tree, self.folder)

    def pull(self, *flags: str) -> Ended:
        return self.by("pull", *ONE, "-r", *flags, self.tree, self.folder)

    def peer(self, *words: str) -> Ended:
        return self.by.shell(shlex.join([*words, str(self.tree), f"{ADDRESS}:{self.folder}"]))


WAYS: dict[str, tuple[Callable[[Copy], Ended], str]] = {
    "push": (lambda copy: copy.push(), ""),
    "push -p": (lambda copy: copy.push("-p"), ""),
    "pull": (lambda copy: copy.pull(), "h01"),
    "pull -p": (lambda copy: copy.pull("-p"), "h01"),
    "scp -p": (lambda copy: copy.peer("scp", "-qrp"), ""),
    "rsync -a": (lambda copy: copy.peer("rsync", "-a"), ""),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_kept_is_what_the_table_says(on_internal: Program, tmp_path: Path, way: str) -> None:
    program("rsync", package="rsync")
    copy_by, below = WAYS[way]
    copy = Copy(on_internal, tmp_path / "tree", tmp_path / "there")
    made = copy.folder / below / "tree"
    plant_source(copy.tree)
    plant_target(made)

    ended = copy_by(copy)

    assert (made / "new").exists(), ended.err
    assert kept(copy.tree, made) == table()[way], ended.err


def test_every_way_of_the_table_is_tried() -> None:
    assert set(table()) == {*WAYS, "Ansible's copy"}
