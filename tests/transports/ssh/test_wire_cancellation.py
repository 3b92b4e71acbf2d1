"""A host given up on at any moment of its connection leaves nothing open and nothing unsaid.

The loop's selector counts its turns. Each scenario is run to its end once, and
then again and again, given up on at another turn each time: at ``TURNS`` of
them, spread over the scenario. ``-m bench`` runs the same with all of them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import selectors
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest

from multirsh.errors import HostError
from multirsh.model import ClosedBy, Host, HostKeyPolicy
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import Tally
from multirsh.transports.base import Stream
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.options import SshOptions
from multirsh.transports.passwords import PasswordSource
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.transport import SshConnector, SshTransport
from tests.conftest import StartHooked
from tests.fleets import hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.hooked import Conduct, answers
from tests.servers.keys import make_key
from tests.servers.leaks import stray_tasks
from tests.servers.namespace import Namespace
from tests.transports.ssh.test_wire import RELAY

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOST = "127.0.0.1"
TURNS = 12
"""A scenario has some dozens, and a cancelled login costs as much as another."""

NO_TURN = 10**6
"""Beyond the end of any scenario."""

CLOSE_S = 5.0
"""Nobody here needs it: every server closes when it is told to."""


class CountingSelector(selectors.DefaultSelector):
    """Calls ``at_turn`` at the start of the loop's turn of that number; each turn, something has happened."""

    def __init__(self) -> None:
        super().__init__()
        self._left: int | None = None
        self._then: Callable[[], object] = lambda: None
        self.turns = 0
        """How many there were since ``at_turn``."""

    def at_turn(self, turn: int, then: Callable[[], object]) -> None:
        """Call ``then`` ``turn`` turns from now."""
        self._left, self._then, self.turns = turn, then, 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Count, then wait as asked; not at all in the turn that was waited for."""
        self.turns += 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                self._then()
                timeout = 0
        return super().select(timeout)


@dataclass
class Deaf:
    """A sink that forgets."""

    def write(self, stream: Stream, data: bytes) -> None:
        """Forget."""


@dataclass
class Trial:
    """One connection, made and given up on.

    Attributes:
        gave_up: Whether it had not ended by itself before.
        turns: How many turns of the loop it had until then.
        complaints: What the loop's exception handler was told.
    """

    gave_up: bool = True
    turns: int = 0
    complaints: list[Mapping[str, Any]] = field(default_factory=list)


def give_up_at(turn: int, host: Host, ssh: SshOptions) -> Trial:
    """Reach ``host`` and run a command, in a loop of its own; cancel at ``turn``, and look around."""
    selector, trial = CountingSelector(), Trial()

    async def visit(connection: SshConnection) -> None:
        await connection.open(LoginDeadline())
        await connection.run("any", Deaf())

    async def go() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: trial.complaints.append(context))
        tally = Tally()
        dialler = Dialler(ports=PortAllocator(), tally=tally, close_timeout=CLOSE_S)
        transport = SshTransport(ssh, lambda _message: None)
        await transport.prepare([host])
        connector = transport.connector(dialler)
        connection = connector.connection(host)
        visiting = loop.create_task(visit(connection))
        selector.at_turn(turn, visiting.cancel)
        await asyncio.wait([visiting])
        trial.turns = selector.turns
        trial.gave_up = visiting.cancelled()
        if not trial.gave_up and (error := visiting.exception()) is not None:
            assert isinstance(error, HostError)
        connection.close()
        assert await connection.closed() in {ClosedBy.REMOTE, ClosedBy.RESET, None}
        await jump_hosts_are_free(connector)
        await connector.release()
        await dialler.drained()
        await transport.close()
        assert not tally.statistics().held
        assert not await stray_tasks()

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        runner.run(go())
    return trial


class Sweep(Protocol):
    """What the ``sweep`` fixture is."""

    def __call__(self, host: Host, ssh: SshOptions, look: Callable[[], None]) -> int:
        """Give up on a scenario again and again, and ``look`` each time; how many turns it has."""


async def jump_hosts_are_free(connector: SshConnector) -> None:
    """Wait until no channel is open on a jump host's connection any more."""
    shared = [known.connection for known in connector._jump_hosts.values()]
    links = [connection._link for connection in shared if connection is not None]
    async with asyncio.timeout(CLOSE_S):
        while any(link is not None and link._channels for link in links):  # noqa: ASYNC110 - asyncssh tells nobody
            await asyncio.sleep(0.005)


@pytest.fixture(params=[TURNS, pytest.param(NO_TURN, marks=pytest.mark.bench)], ids=["some", "all"])
def sweep(request: pytest.FixtureRequest) -> Iterator[Sweep]:
    """The scenario's turns at which it is given up on: some, or all."""
    gc.freeze()  # what the tests before have left is not to be looked through each time
    yield partial(swept, at_most=request.param)
    gc.unfreeze()


def swept(host: Host, ssh: SshOptions, look: Callable[[], None], *, at_most: int) -> int:
    """Run the scenario to its end, and then give up on it, ``at_most`` times; how many turns it has."""

    def trial(turn: int) -> Trial:
        tried = give_up_at(turn, host, ssh)
        gc.collect()  # a future whose error nobody looked at complains when it goes
        assert not tried.complaints, f"given up on at turn {turn}"
        look()
        return tried

    whole = trial(NO_TURN)
    assert not whole.gave_up
    for turn in spread(whole.turns, at_most):
        trial(turn)
    return whole.turns


def spread(turns: int, count: int) -> list[int]:
    """``count`` of so many turns: one at random from each of as many equal parts, the first from the start.

    In CI the same ones each time, as with hypothesis; else others each time.
    """
    count = min(count, turns)
    chance = random.Random(0 if "CI" in os.environ else None)
    edges = [part * turns // count for part in range(count + 1)]
    return [chance.randrange(first, after) for first, after in pairwise(edges)]


def test_a_plain_host(sweep: Sweep, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path) -> None:
    server = hooked(Conduct(session=answers(b"done")))
    ssh = ssh_options(known(server, [HOST], tmp_path))
    (host,) = hosts_on(server, [HOST])
    assert sweep(host, ssh, lambda: nothing_is_left(in_namespace, server.port)) > 10


def test_a_host_that_sshd_is(
    sweep: Sweep, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    ssh = ssh_options(known(sshd, [HOST], tmp_path))
    (host,) = hosts_on(sshd, [HOST])
    assert sweep(host, ssh, lambda: nothing_is_left(in_module_namespace, sshd.port)) > 10


def test_a_host_whose_key_is_new_and_is_being_written_down(
    sweep: Sweep, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = hooked(Conduct(session=answers(b"done")))
    file = tmp_path / "known_hosts"
    ssh = ssh_options(file, host_keys=HostKeyPolicy.ACCEPT_NEW)
    (host,) = hosts_on(server, [HOST])

    def look() -> None:
        nothing_is_left(in_namespace, server.port)
        if file.exists():
            assert file.read_text() in {"", server.known_hosts([HOST])}, "whole, or not at all"
            file.unlink()

    assert sweep(host, ssh, look) > 10


def test_a_host_with_a_password(
    sweep: Sweep, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = hooked(Conduct(session=answers(b"done")))
    secret = tmp_path / "password"
    secret.write_text(server.password)
    secret.chmod(0o600)
    ssh = replace(
        ssh_options(known(server, [HOST], tmp_path), "PubkeyAuthentication=no"),
        password=PasswordSource(file=secret),
    )
    (host,) = hosts_on(server, [HOST])
    assert sweep(host, ssh, lambda: nothing_is_left(in_namespace, server.port)) > 10


def test_a_host_that_refuses_the_login(
    sweep: Sweep, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = hooked(Conduct())
    ssh = ssh_options(known(server, [HOST], tmp_path))
    (host,) = hosts_on(server, [HOST], identity=str(make_key(tmp_path / "stranger")))
    assert sweep(host, ssh, lambda: nothing_is_left(in_namespace, server.port)) > 10


def test_a_host_whose_key_is_refused(
    sweep: Sweep, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
) -> None:
    server = hooked(Conduct())
    (host,) = hosts_on(server, [HOST])
    ssh = ssh_options(tmp_path / "none")
    assert sweep(host, ssh, lambda: nothing_is_left(in_namespace, server.port)) > 5


def test_a_host_behind_a_jump_host(
    sweep: Sweep, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path
) -> None:
    jump = "127.9.9.9"
    ssh = ssh_options(known(sshd, [HOST, jump], tmp_path), f"IdentityFile={sshd.client_key}")
    (host,) = hosts_on(sshd, [HOST], jump=f"{sshd.user}@{jump}:{sshd.port}")

    def look() -> None:
        ours = [row for row in in_module_namespace.client_side([sshd.port]) if row.peer.address == jump]
        assert not ours

    assert sweep(host, ssh, look) > 20


def test_a_host_behind_a_proxy_command(
    sweep: Sweep,
    sshd: Daemon,
    in_module_namespace: Namespace,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    ssh = ssh_options(known(sshd, [HOST], tmp_path), f"ProxyCommand={sys.executable} -S {relay} %h %p")
    (host,) = hosts_on(sshd, [HOST])
    assert sweep(host, ssh, lambda: None) > 10
    assert not caplog.records, "asyncio has nothing to say about the program"


def nothing_is_left(namespace: Namespace, port: int) -> None:
    assert not namespace.client_side([port])
