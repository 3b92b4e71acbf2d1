"""The agent and passwords go to the hosts of the run alone, whatever a jump host or a server tries."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from multirsh.engine.fleet import Fleet
from multirsh.engine.options import Timeouts
from multirsh.events import HostFinished, Output
from multirsh.model import ErrorKind, HostKeyPolicy, Status
from multirsh.transports.options import SshOptions
from multirsh.transports.passwords import PasswordSource
from tests.conftest import StartHooked
from tests.fleets import endings, hosts_on, known, ssh_options
from tests.servers.hooked import (
    CHANNELS,
    OPENED,
    REQUESTS,
    Conduct,
    Connection,
    HookedServer,
    Link,
    Process,
    answers,
    keys_of_agent,
    opens_what_it_can,
)
from tests.servers.keys import make_key, public

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks", "in_namespace")]

HOST: Final = "127.1.2.3"
JUMP: Final = "127.9.9.9"
AGENT: Final = "auth-agent@openssh.com"
EVERYWHERE: Final = "0.0.0.0"


async def tells_of_agent(process: Process, _link: Link) -> None:
    """Print what the client's agent answers."""
    process.stdout.write(json.dumps(await keys_of_agent(process.get_extra_info("connection"))).encode())
    process.exit(0)


async def tells_what_it_can_open(process: Process, _link: Link) -> None:
    """Print what the client lets a server open."""
    process.stdout.write(json.dumps(await opens_what_it_can(process.get_extra_info("connection"))).encode())
    process.exit(0)


@dataclass
class Told:
    """One run.

    Attributes:
        ending: Of its only host.
        said: What the host printed, as JSON says it.
        warnings: What people are warned of.
    """

    ending: HostFinished
    said: object
    warnings: Sequence[str]


async def told_of_run(
    host: HookedServer,
    ssh: SshOptions,
    *,
    jump: str | None = None,
    login_s: float | None = None,
) -> Told:
    """Run on one host, which ``host`` is."""
    warnings: list[str] = []
    fleet = Fleet(
        hosts_on(host, [HOST], jump=jump),
        timeouts=Timeouts(connect=login_s, close=5),
        ssh=ssh,
        warn=warnings.append,
    )
    async with fleet:
        events = [event async for event in fleet.run("any").events()]
    printed = b"".join(event.data for event in events if isinstance(event, Output))
    return Told(endings(events)[HOST], json.loads(printed) if printed else None, warnings)


def behind(jump: HookedServer, host: HookedServer, folder: Path, *overrides: str) -> SshOptions:
    """Options for a run on ``host`` through ``jump``, whose keys are both known."""
    file = known(host, [HOST], folder)
    known(jump, [JUMP], folder)
    config = folder / "config"
    config.write_text(f"Host {JUMP}\n    IdentityFile {jump.client_key}\n")
    return replace(ssh_options(file, *overrides), config_file=str(config))


def with_agent(ssh: SshOptions, agent: Path, folder: Path) -> SshOptions:
    """With two keys in the agent, and ``-A``."""
    for name in ("first", "second"):
        key = make_key(folder / name)
        subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(agent)})
    overrides = [override for override in ssh.overrides if override != "IdentityAgent=none"]
    return replace(ssh, forward_agent=True, overrides=(*overrides, f"IdentityAgent={agent}"))


async def forwards(_connection: Connection) -> None:
    """Do what a jump host is for, and nothing else."""


@dataclass
class Intruder:
    """A jump host that tries something before it forwards a connection."""

    tries: Callable[[Connection], object]
    found: list[object] = field(default_factory=list)

    async def __call__(self, connection: Connection) -> None:
        attempt = self.tries(connection)
        assert asyncio.iscoroutine(attempt)
        self.found.append(await attempt)


@dataclass
class Person:
    """A person at a terminal, who gives the same answer to every question; an error is no answer."""

    answer: str | Exception = HookedServer.password
    prompts: list[str] = field(default_factory=list)

    def __call__(self, prompt: str) -> str:
        self.prompts.append(prompt)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class TestTheAgent:
    """It is for the hosts of the run, and for those only where it was asked for."""

    async def test_a_jump_host_that_asks_for_it_gets_nothing_and_is_reported(
        self, hooked: StartHooked, agent: Path, tmp_path: Path
    ) -> None:
        intruder = Intruder(keys_of_agent)
        jump = hooked(Conduct(before_forwarding=intruder), address=EVERYWHERE)
        host = hooked(Conduct(session=tells_of_agent), address=EVERYWHERE)
        ssh = with_agent(behind(jump, host, tmp_path), agent, tmp_path)
        told = await told_of_run(host, ssh, jump=f"{jump.user}@{JUMP}:{jump.port}")
        assert told.ending.status is Status.OK
        assert intruder.found == ["not offered"]
        assert told.said == 2, "the host itself may use both keys"
        (warning,) = told.warnings
        assert warning.startswith(f"{JUMP}: the server tried to use the ssh agent")

    async def test_a_host_gets_nothing_where_it_was_not_asked_for(
        self, hooked: StartHooked, agent: Path, tmp_path: Path
    ) -> None:
        host = hooked(Conduct(session=tells_of_agent), address=EVERYWHERE)
        ssh = with_agent(ssh_options(known(host, [HOST], tmp_path), "ForwardAgent=yes"), agent, tmp_path)
        told = await told_of_run(host, replace(ssh, forward_agent=False))
        assert told.said == "not offered"
        assert [warning for warning in told.warnings if "tried to use the ssh agent" in warning]

    async def test_a_host_whose_key_contradicts_known_hosts_gets_nothing(
        self, hooked: StartHooked, agent: Path, tmp_path: Path
    ) -> None:
        """As in ssh, where checking is off: a man-in-the-middle is possible."""
        host = hooked(Conduct(session=tells_of_agent), address=EVERYWHERE)
        file = tmp_path / "known_hosts"
        file.write_text(f"[{HOST}]:{host.port} {public(make_key(tmp_path / 'other'))}\n")
        ssh = with_agent(ssh_options(file, host_keys=HostKeyPolicy.OFF), agent, tmp_path)
        told = await told_of_run(host, ssh)
        assert told.ending.status is Status.OK
        assert told.said == "not offered"
        withheld, attempt = told.warnings
        assert withheld == (f"{HOST}: the ssh agent is not forwarded: its host key contradicts {file}:1")
        assert "tried to use the ssh agent" in attempt

    async def test_nothing_else_that_a_server_may_open_is_opened(
        self, hooked: StartHooked, agent: Path, tmp_path: Path
    ) -> None:
        intruder = Intruder(opens_what_it_can)
        jump = hooked(Conduct(before_forwarding=intruder), address=EVERYWHERE)
        host = hooked(Conduct(session=tells_what_it_can_open), address=EVERYWHERE)
        ssh = with_agent(behind(jump, host, tmp_path), agent, tmp_path)
        told = await told_of_run(host, ssh, jump=f"{jump.user}@{JUMP}:{jump.port}")
        (on_the_way,), at_the_end = intruder.found, told.said
        assert isinstance(on_the_way, dict)
        assert isinstance(at_the_end, dict)
        assert on_the_way.keys() == at_the_end.keys() == CHANNELS.keys() | REQUESTS.keys()
        assert {kind for kind, answer in on_the_way.items() if answer == OPENED} == set()
        assert {kind for kind, answer in at_the_end.items() if answer == OPENED} == {AGENT}


class TestPasswords:
    """A password belongs to the user and host that it was asked for."""

    @pytest.fixture
    def jump(self, hooked: StartHooked) -> HookedServer:
        return hooked(Conduct(takes_keys=False, before_forwarding=forwards), address=EVERYWHERE)

    @pytest.fixture
    def host(self, hooked: StartHooked) -> HookedServer:
        return hooked(Conduct(takes_keys=False, session=answers(b"1")), address=EVERYWHERE)

    @pytest.fixture
    def through(self, jump: HookedServer) -> str:
        return f"ops@{JUMP}:{jump.port}"

    @pytest.fixture
    def of_hosts(self, tmp_path: Path) -> PasswordSource:
        """The hosts' password, as ``--password-file`` gives it: the jump host would take it."""
        file = tmp_path / "password"
        file.write_text(HookedServer.password)
        file.chmod(0o600)
        return PasswordSource(file=file)

    async def test_a_jump_host_is_not_offered_that_of_the_hosts(
        self, jump: HookedServer, host: HookedServer, through: str, of_hosts: PasswordSource, tmp_path: Path
    ) -> None:
        ssh = replace(behind(jump, host, tmp_path), password=of_hosts)
        told = await told_of_run(host, ssh, jump=through)
        assert jump.passwords == []
        assert told.ending.status is Status.UNREACHABLE
        error = told.ending.error
        assert error is not None
        assert error.of_jump is not None
        assert (error.kind, error.of_jump.kind) == (ErrorKind.JUMP, ErrorKind.DENIED)
        assert "or run at a terminal to be asked for its password" in error.message

    async def test_a_person_is_asked_for_that_of_the_jump_host_by_name(
        self, jump: HookedServer, host: HookedServer, through: str, of_hosts: PasswordSource, tmp_path: Path
    ) -> None:
        ask = Person()
        ssh = replace(behind(jump, host, tmp_path), password=of_hosts, ask=ask)
        told = await told_of_run(host, ssh, jump=through)
        assert told.ending.status is Status.OK
        assert ask.prompts == [f"ops@{JUMP}'s password: "]
        assert jump.passwords == [("ops", HookedServer.password)]
        assert host.passwords == [(host.user, HookedServer.password)]

    async def test_the_answer_is_for_the_jump_host_alone(
        self, jump: HookedServer, host: HookedServer, through: str, tmp_path: Path
    ) -> None:
        own = PasswordSource(call=lambda: "of the hosts")
        ssh = replace(behind(jump, host, tmp_path), password=own, ask=Person())
        told = await told_of_run(host, ssh, jump=through)
        assert told.ending.status is Status.AUTH
        assert jump.passwords == [("ops", HookedServer.password)]
        assert set(host.passwords) == {(host.user, "of the hosts")}

    async def test_without_a_password_for_the_hosts_nobody_is_asked(
        self, jump: HookedServer, host: HookedServer, through: str, tmp_path: Path
    ) -> None:
        """There is a terminal in many places where nobody sits."""
        ask = Person()
        told = await told_of_run(host, replace(behind(jump, host, tmp_path), ask=ask), jump=through)
        assert told.ending.status is Status.UNREACHABLE
        assert ask.prompts == []

    async def test_a_refused_answer_is_asked_for_again_as_often_as_by_ssh(
        self, jump: HookedServer, host: HookedServer, through: str, of_hosts: PasswordSource, tmp_path: Path
    ) -> None:
        ask = Person("wrong")
        ssh = replace(behind(jump, host, tmp_path), password=of_hosts, ask=ask)
        told = await told_of_run(host, ssh, jump=through)
        assert told.ending.status is Status.UNREACHABLE
        assert len(ask.prompts) == 3
        assert jump.passwords == [("ops", "wrong")] * 3

    @pytest.mark.parametrize("error", [EOFError(), OSError("the terminal is gone")])
    async def test_no_answer_is_no_password(
        self,
        error: Exception,
        jump: HookedServer,
        host: HookedServer,
        through: str,
        of_hosts: PasswordSource,
        tmp_path: Path,
    ) -> None:
        ask = Person(error)
        ssh = replace(behind(jump, host, tmp_path), password=of_hosts, ask=ask)
        told = await told_of_run(host, ssh, jump=through)
        assert told.ending.status is Status.UNREACHABLE
        assert jump.passwords == []

    async def test_in_batch_mode_nobody_is_asked(
        self, jump: HookedServer, host: HookedServer, through: str, of_hosts: PasswordSource, tmp_path: Path
    ) -> None:
        ask = Person()
        ssh = replace(behind(jump, host, tmp_path, "BatchMode=yes"), password=of_hosts, ask=ask)
        told = await told_of_run(host, ssh, jump=through)
        assert told.ending.status is Status.UNREACHABLE
        assert ask.prompts == []

    async def test_deadlines_stand_still_while_a_person_types(
        self, jump: HookedServer, host: HookedServer, through: str, of_hosts: PasswordSource, tmp_path: Path
    ) -> None:
        login_s = 1.0
        loop = asyncio.get_running_loop()
        typed = threading.Event()

        def ask(_prompt: str) -> str:
            loop.call_soon_threadsafe(loop.call_later, 2 * login_s, typed.set)
            typed.wait()
            return HookedServer.password

        ssh = replace(behind(jump, host, tmp_path), password=of_hosts, ask=ask)
        told = await told_of_run(host, ssh, jump=through, login_s=login_s)
        assert told.ending.status is Status.OK


async def test_an_alias_is_for_the_hosts_and_not_for_the_jump_host(
    hooked: StartHooked, tmp_path: Path
) -> None:
    """As in ssh: else any machine that has the key of a host of the run could stand in for the jump host."""
    jump = hooked(Conduct(before_forwarding=forwards), address=EVERYWHERE)
    host = hooked(Conduct(session=answers(b"1")), address=EVERYWHERE)
    ssh = behind(jump, host, tmp_path, "HostKeyAlias=db")
    file = tmp_path / "known_hosts"
    file.write_text(f"db {host.host_key}\n{jump.known_hosts([JUMP])}")
    told = await told_of_run(host, ssh, jump=f"{jump.user}@{JUMP}:{jump.port}")
    assert told.ending.status is Status.OK
    file.write_text(f"db {host.host_key}\ndb {jump.host_key}\n")
    told = await told_of_run(host, ssh, jump=f"{jump.user}@{JUMP}:{jump.port}")
    assert told.ending.error is not None
    assert told.ending.error.of_jump is not None
    assert told.ending.error.of_jump.kind is ErrorKind.HOSTKEY_UNKNOWN
