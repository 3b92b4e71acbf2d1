"""The light rsh server does for a client what in.rshd and the script do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from multirsh.model import ClosedBy, Exited, Status
from multirsh.transports.options import RshStderr
from tests.fleets import addresses
from tests.servers.namespace import Namespace
from tests.servers.rshd import PORT
from tests.transports.rsh.rsh_fleets import MERGED, SEPARATE, nothing_left, open_rsh, rsh_host, run_rsh

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]


@contextmanager
def started(namespace: Namespace, host: str) -> Iterator[None]:
    server = namespace.popen([sys.executable, "-m", "tests.servers.light_rshd", "--host", host])
    try:
        assert server.stdout is not None
        assert b"listening" in server.stdout.readline()
        yield
    finally:
        server.kill()
        server.communicate()


@pytest.fixture
def light_rshd(namespace: Namespace) -> Iterator[None]:
    """One, in ``namespace``, as a process of its own."""
    with started(namespace, "0.0.0.0"):
        yield


@pytest.mark.parametrize("stderr", [SEPARATE, MERGED])
async def test_hundreds_of_hosts(stderr: RshStderr, light_rshd: None, in_namespace: Namespace) -> None:
    hosts = [rsh_host(name) for name in addresses(400)]
    finished, run, _, _ = await run_rsh("exit 3", hosts=hosts, stderr=stderr)
    assert Counter(ended.status for ended in finished.values()) == {Status.FAILED: 400}
    assert {ended.exit_status for ended in finished.values()} == {3}
    assert run.ports.closed_by == {ClosedBy.REMOTE: 800 if stderr is SEPARATE else 400}
    nothing_left(in_namespace, run)


async def test_input_comes_back(light_rshd: None, in_namespace: Namespace) -> None:
    async with open_rsh() as talk:
        assert await talk.run("cat", b"one\0two") == Exited(0)
        assert talk.sink.stdout == b"one\0two"
    assert not in_namespace.client_side([PORT])


async def test_a_goodbye(light_rshd: None, in_namespace: Namespace) -> None:
    async with open_rsh() as talk:
        pass
    assert talk.tally.statistics().closed_by == {ClosedBy.REMOTE: 2}


@pytest.mark.parametrize("stderr", [SEPARATE, MERGED])
async def test_ipv6(stderr: RshStderr, in_namespace: Namespace) -> None:
    with started(in_namespace, "::1"):
        finished, run, _, _ = await run_rsh("exit 3", hosts=[rsh_host("::1")], stderr=stderr)
    assert finished["::1"].exit_status == 3
    nothing_left(in_namespace, run)
