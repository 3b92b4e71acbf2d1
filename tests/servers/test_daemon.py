"""The shape of a wire test: a real sshd in a namespace, and a client in this test's own loop."""

from __future__ import annotations

import asyncssh
import pytest

from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace


@pytest.mark.root
@pytest.mark.usefixtures("no_leaks")
async def test_a_client_in_the_namespace(sshd: Daemon, in_module_namespace: Namespace) -> None:
    trusted = asyncssh.import_known_hosts(sshd.known_hosts(["127.1.2.3"]))
    async with asyncssh.connect(
        "127.1.2.3",
        sshd.port,
        username=sshd.user,
        client_keys=[str(sshd.client_key)],
        known_hosts=trusted,
        config=[],
        agent_path=None,
    ) as connection:
        assert (await connection.run("exit 3")).exit_status == 3
        (row,) = in_module_namespace.client_side([sshd.port])
        assert row.state == "ESTAB"
    sshd.log.wait_for("Received disconnect")
