"""push and pull by the library: runs like any other, and no half work where they cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.errors import UsageError
from multirsh.events import Copied, HostFinished
from multirsh.files.options import CopyOptions, Links, Via
from multirsh.files.sftp import client
from multirsh.model import Host, Status, TransportName
from multirsh.testing import FakeTransport
from tests.files.trees import plant, seen
from tests.fleets import fleet_of, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace

pytestmark = pytest.mark.usefixtures("no_leaks")


@pytest.mark.root
async def test_a_tree_comes_and_goes(
    internal: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    names = ["127.1.0.1", "127.1.0.2", "127.1.0.3"]
    tree = plant(tmp_path / "tree")
    (tmp_path / "there").mkdir()  # the three are one machine
    ssh = ssh_options(known(internal, names, tmp_path))
    options = CopyOptions(recursive=True, preserve=True)

    async with fleet_of(hosts_on(internal, names), ssh) as fleet:
        pushed = await fleet.push([tree], tmp_path / "there", options).gather()
        pulled = [
            event async for event in fleet.pull([tmp_path / "there" / "tree"], tmp_path, options).events()
        ]

    assert {result.status for result in pushed.values()} == {Status.OK}
    assert {event.status for event in pulled if isinstance(event, HostFinished)} == {Status.OK}
    copied = [event for event in pulled if isinstance(event, Copied)]
    assert {event.host for event in copied} == set(names)
    assert sum(event.size for event in copied) == 3 * sum(
        path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink()
    )
    for name in names:
        assert seen(tmp_path / name / "tree", exact=True) == seen(tree, exact=True)


async def test_what_cannot_be_is_told_before_anything_connects(tmp_path: Path) -> None:
    fake = FakeTransport()
    async with Fleet([Host("a")], transports={TransportName.SSH: fake}) as fleet:
        with pytest.raises(UsageError, match="nothing: No such file"):
            fleet.push([tmp_path / "nothing"], "/tmp")
        with pytest.raises(UsageError, match="nothing to pull"):
            fleet.pull([], tmp_path)
        with pytest.raises(UsageError, match="no files can be copied by FakeTransport: a"):
            fleet.pull(["x"], tmp_path)
        with pytest.raises(UsageError, match="no files can be copied by FakeTransport: a"):
            fleet.push([__file__], "/tmp")

    assert not fake.connections


async def test_a_host_that_only_listens_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every command, reads, and says nothing."""
    monkeypatch.setattr(client, "VERSION_TIMEOUT_S", 0.05)
    fake = FakeTransport()
    fake.converses = True
    async with Fleet([Host("a")], transports={TransportName.SSH: fake}) as fleet:
        pulled = await fleet.pull(["f"], tmp_path).gather()

    assert pulled["a"].status is Status.FAILED
    assert pulled["a"].error is not None
    assert pulled["a"].error.message == "its SFTP server did not answer within 0.05 s"


def test_what_a_later_run_is_to_agree_with() -> None:
    assert CopyOptions(update=True, via=Via.SFTP).describe() == []
    told = CopyOptions(recursive=True, preserve=True, links=Links.SKIP).describe()
    assert told == ["recursive", "preserve", "links skip"]
