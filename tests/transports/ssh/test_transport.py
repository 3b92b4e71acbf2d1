"""Where a host is and how it is entered, with all that says so considered; and the same again from that."""

from __future__ import annotations

from pathlib import Path

import pytest

from multirsh.model import Host, HostRoute, Settings, digest
from multirsh.transports.options import SshOptions
from multirsh.transports.ssh.transport import SshTransport
from tests.servers.keys import make_key

CONFIG = """
Host web1
    HostName 10.0.0.1
    User deploy
    Port 2201
    ProxyJump inner
Host inner
    HostName 10.0.1.1
    User jumper
    ProxyJump outer:2222
Host outer
    HostName 10.0.2.1
    ProxyCommand nc --token s3cret %h %p
Host proxied
    ProxyCommand nc --token s3cret %h %p
Match all
    User everybody
    IdentityAgent none
    UserKnownHostsFile none
"""


async def route_of(host: Host, options: SshOptions) -> HostRoute:
    transport = SshTransport(options, warn=lambda _: None)
    await transport.prepare([host])
    try:
        return transport.route(host)
    finally:
        await transport.close()


async def test_everything_is_filled_in_and_the_way_is_whole(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG)
    options = SshOptions(config_file=str(config))
    route = await route_of(Host("w", address="web1"), options)
    assert (route.target, route.address) == ("web1", "10.0.0.1")
    assert route.way.settings == Settings(
        user="deploy", port=2201, jump="everybody@outer:2222,jumper@inner:22", transport="ssh"
    )
    assert route.way.hops == (("outer", "10.0.2.1"), ("inner", "10.0.1.1"))
    assert route.way.program == digest("nc --token s3cret 10.0.2.1 2222")
    assert "s3cret" not in repr(route)


async def test_that_no_host_is_on_the_way_is_said_unless_a_command_is(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG)
    options = SshOptions(config_file=str(config))
    direct = await route_of(Host("other"), options)
    assert (direct.way.settings.jump, direct.way.program) == ("none", None)
    proxied = await route_of(Host("proxied"), options)
    assert (proxied.way.settings.jump, proxied.way.program) == (None, digest("nc --token s3cret proxied 22"))


async def test_a_key_is_known_wherever_we_are_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(tmp_path / "key")
    monkeypatch.chdir(tmp_path)
    options = SshOptions(config_file="none", settings=Settings(identity="key"))
    assert (await route_of(Host("web1"), options)).way.settings.identity == str(key)
    options = SshOptions(config_file="none")
    assert (await route_of(Host("web1"), options)).way.settings.identity is None


async def test_a_host_is_reached_as_before_though_ssh_config_says_something_else_by_now(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config"
    config.write_text(CONFIG.replace("    ProxyCommand nc --token s3cret %h %p\n", ""))
    before = await route_of(Host("web1"), SshOptions(config_file=str(config)))
    config.write_text(
        "Host web1\n HostName 10.9.9.9\n User root\nHost inner outer\n HostName 10.9.9.8\n Port 1\n"
        "Match all\n IdentityAgent none\n UserKnownHostsFile none\n"
    )
    addresses = {before.target: before.address, **dict(before.way.hops)}
    again = SshOptions(config_file=str(config), addresses=addresses)
    assert await route_of(before.host("web1"), again) == before
    said = SshOptions(config_file=str(config), addresses=addresses, overrides=("HostName=10.8.8.8",))
    assert (await route_of(before.host("web1"), said)).address == "10.8.8.8"
