"""Copies by sudo with its password: to and from places that only root may enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.commands.sudo.options import Sudo
from multirsh.files.options import CopyOptions, Via
from multirsh.model import Status
from tests.commands.sudo.sudo_fleets import Fleets
from tests.files.trees import leftovers, plant, seen
from tests.servers.sudoers import FREE, STRANGER, TRUSTED

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]


@pytest.mark.parametrize("via", [Via.SFTP, Via.SCP])
async def test_those_who_may_copy_as_root(fleets: Fleets, tmp_path: Path, via: Via) -> None:
    """Where a host is probed without the password, the conversation begins anew with it."""
    tree = plant(tmp_path / "tree", files=5)
    (tree / "broken").unlink()
    (tree / "link").unlink()
    (tree / "sub" / "up").unlink()
    there = fleets.server.directory / f"there-{via}"
    there.mkdir(mode=0o700)
    # The hosts are one, and scp(1) fails where another makes the folder that it has just not found.
    for folder in (tree, *(path for path in tree.rglob("*") if path.is_dir())):
        (there / folder.relative_to(tree.parent)).mkdir()
    options = CopyOptions(recursive=True, via=via)

    async with fleets.of(TRUSTED, FREE, TRUSTED, STRANGER) as fleet:
        pushed = await fleet.push([tree], there, options, sudo=Sudo()).gather()
        pulled = await fleet.pull([there / "tree"], tmp_path / "back", options, sudo=Sudo()).gather()

    for results in (pushed, pulled):
        assert [results[host.name].status for host in fleet.hosts] == [Status.OK] * 3 + [Status.AUTH]
    assert seen(there / "tree") == seen(tree)
    for host in fleet.hosts[:3]:
        assert seen(tmp_path / "back" / host.name / "tree") == seen(tree)
    assert not leftovers(there)


async def test_a_wrong_password_copies_nothing(fleets: Fleets, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    there = fleets.server.directory / "elsewhere"
    there.mkdir(mode=0o700)

    async with fleets.of(TRUSTED, TRUSTED, password="wrong") as fleet:
        pushed = await fleet.push([tmp_path / "f"], there, sudo=Sudo()).gather()

    assert {result.status for result in pushed.values()} == {Status.AUTH}
    assert not list(there.iterdir())
