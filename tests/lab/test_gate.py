"""The access policy of a lab: logins and forwarding."""

from __future__ import annotations

import asyncssh
import pytest

from multirsh.lab import Lab, LabOptions
from tests.lab.clients import connect, openssh

pytestmark = pytest.mark.usefixtures("no_leaks")

FOUR = LabOptions(hosts=4, port=0)


async def test_another_key_is_refused() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with Lab(FOUR) as lab:
        with pytest.raises(asyncssh.PermissionDenied):
            await connect(lab, "web01", key=key).__aenter__()


async def test_another_user_is_refused() -> None:
    async with Lab(FOUR) as lab:
        with pytest.raises(asyncssh.PermissionDenied):
            await connect(lab, "web01", user="nobody").__aenter__()
        assert (await openssh(lab, "-l", "nobody", "web01", "true")).status == 255


async def test_the_user_may_have_any_name() -> None:
    async with Lab(LabOptions(hosts=1, port=0, user="deploy")) as lab:
        assert (await openssh(lab, "web01", "exit 3")).status == 3


async def test_only_public_keys_are_accepted() -> None:
    async with Lab(FOUR) as lab:
        address, port = lab.address_of("web01")
        methods = await asyncssh.get_server_auth_methods(address, port, lab.user, config=None)
        ended = await openssh(lab, "-o", "PubkeyAuthentication=no", "web01", "true")
    assert methods == ["publickey"]
    assert ended.status == 255
    assert b"Permission denied (publickey)" in ended.stderr


async def test_each_host_has_its_own_host_key() -> None:
    async with Lab(FOUR) as lab:
        keys = set()
        for name in lab.names:
            address, port = lab.address_of(name)
            key = await asyncssh.get_server_host_key(address, port, config=None)
            assert key is not None
            keys.add(key.public_data)
    assert len(keys) == 4


async def test_a_lab_host_is_a_bastion_for_the_others() -> None:
    async with Lab(FOUR) as lab:
        ended = await openssh(lab, "-J", "bastion1", "web02", "echo $MULTIRSH_LAB_HOST $SSH_CONNECTION")
        assert ended.status == 0, ended.stderr
        assert ended.stdout.startswith(b"web02 ")
        async with connect(lab, "bastion1") as bastion, connect(lab, "web03", tunnel=bastion) as inner:
            assert (await inner.run("echo $MULTIRSH_LAB_HOST")).stdout == b"web03\n"


async def test_nothing_else_is_forwarded() -> None:
    async with Lab(FOUR) as lab, connect(lab, "bastion1") as connection:
        for host, port in (("127.0.0.1", 22), (lab.address_of("web01").address, 22), ("localhost", 80)):
            with pytest.raises(asyncssh.ChannelOpenError, match="own hosts only"):
                await connection.open_connection(host, port)
        with pytest.raises(asyncssh.ChannelListenError):
            await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 22)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_unix_connection("/run/x")
