"""Settings that rsh can follow, and those that it cannot."""

from __future__ import annotations

import pwd
from types import SimpleNamespace
from typing import Any

import pytest

from multirsh.errors import UsageError
from multirsh.model import Host, Settings, SourcePort, TransportName
from multirsh.transports.options import RshOptions, RshStderr
from multirsh.transports.rsh.transport import WARNING, RshTransport


def host(name: str = "old1", **settings: object) -> Host:
    return Host(name, settings=Settings(transport=TransportName.RSH, **settings))  # type: ignore[arg-type]  # by name


@pytest.fixture(autouse=True)
def alice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda _uid: SimpleNamespace(pw_name="alice"))
    monkeypatch.setenv("USER", "mallory")
    monkeypatch.setenv("LOGNAME", "mallory")


async def prepared(*hosts: Host, **options: object) -> tuple[RshTransport, list[str]]:
    said: list[str] = []
    transport = RshTransport(RshOptions(**options), said.append)  # type: ignore[arg-type]  # by name
    await transport.prepare(hosts)
    return transport, said


async def test_the_warning_is_said_once() -> None:
    _, said = await prepared(host("a"), host("b", user="bob"))
    assert said == [WARNING]


async def test_what_is_not_said() -> None:
    """Port 514; the local user, by the user database and not by what the environment says."""
    transport, _ = await prepared(host())
    plan = transport.plan(host())
    assert (plan.address, plan.port, plan.is_merged) == ("old1", 514, False)
    assert plan.local_user == plan.remote_user == b"alice"


async def test_what_is_said_for_all_goes_before_the_hosts_own() -> None:
    options = Settings(user="root", port=1514)
    transport, _ = await prepared(host(user="bob"), settings=options, stderr=RshStderr.MERGED)
    plan = transport.plan(Host("old1", address="10.0.0.1", settings=Settings(user="bob", port=99)))
    assert (plan.address, plan.port, plan.is_merged) == ("10.0.0.1", 1514, True)
    assert (plan.local_user, plan.remote_user) == (b"alice", b"root")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"jump": "bastion"}, r"old1: rsh cannot go through a jump host \(bastion\)"),
        ({"source_port": SourcePort.EPHEMERAL}, "old1: rsh needs a reserved port"),
        ({"user": "a-name-of-17-bytes"}, "old1: the user 'a-name-of-17-bytes': .* 16 bytes"),
        ({"user": ""}, "the user cannot be '': it is empty"),
    ],
)
async def test_what_cannot_be_meant(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        await prepared(host("old0"), host(**settings))
    assert caught.value.hint


async def test_a_jump_host_for_all_is_refused_too() -> None:
    with pytest.raises(UsageError, match="jump host"):
        await prepared(host(), settings=Settings(jump="bastion"))


async def test_no_jump_is_no_trouble() -> None:
    await prepared(host(jump="none", source_port=SourcePort.RESERVED, identity="~/.ssh/id_ed25519"))


async def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_uid: int) -> None:
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UsageError, match="has no name"):
        await prepared(host())


async def test_a_route_names_the_user_and_the_port_that_are_not_said() -> None:
    transport, _ = await prepared(host())
    way = transport.route(host()).way
    assert way.settings == Settings(user="alice", port=514, transport=TransportName.RSH)
    transport, _ = await prepared(host(user="bob"), settings=Settings(port=1514))
    way = transport.route(host(user="bob")).way
    assert (way.settings.user, way.settings.port) == ("bob", 1514)
