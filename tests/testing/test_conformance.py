"""Every transport passes the same tests: ssh on three servers, rsh in both ways, exec, local, the fake."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from multirsh.lab import Lab, LabOptions
from multirsh.model import Exited, Host, Settings, Signalled
from multirsh.testing import Behaviour, FakeTransport, commands, refused
from multirsh.testing.conformance import Capabilities, Reached, TransportConformance
from multirsh.transports.exec.transport import ExecTransport
from multirsh.transports.local.transport import LocalTransport
from multirsh.transports.options import ExecOptions, RshOptions, RshStderr, SshOptions
from multirsh.transports.rsh.transport import RshTransport
from multirsh.transports.ssh.transport import SshTransport
from tests.fleets import SshServer, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.namespace import Namespace
from tests.servers.rshd import GUEST, RshServer

HERE = "127.0.0.1"
NOBODY_LISTENS = 1


def quiet(_line: str) -> None:
    pass


class OnSshServer(TransportConformance):
    server: SshServer
    folder: Path

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        transport = SshTransport(ssh_options(known(self.server, [HERE], self.folder)), quiet)
        (host,) = hosts_on(self.server, [HERE])
        (refusing,) = hosts_on(self.server, ["127.0.0.2"], port=NOBODY_LISTENS)
        yield Reached(transport, host, refusing)


@pytest.mark.root
class TestSshd(OnSshServer):
    @pytest.fixture(autouse=True)
    def _server(self, sshd: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> None:
        self.server, self.folder = sshd, tmp_path


@pytest.mark.root
class TestDropbear(OnSshServer):
    capabilities = Capabilities(longest_command=9_000)  # its MAX_CMD_LEN

    @pytest.fixture(autouse=True)
    def _server(self, dropbear: Daemon, in_module_namespace: Namespace, tmp_path: Path) -> None:
        self.server, self.folder = dropbear, tmp_path


class TestLab(TransportConformance):
    capabilities = Capabilities(takes_any_bytes=False)  # asyncssh's server wants text

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        async with Lab(LabOptions(hosts=1, port=0)) as lab:
            ssh = SshOptions(config_file=str(lab.ssh_config))
            yield Reached(SshTransport(ssh, quiet), Host(lab.names[0]))


class OnRshd(TransportConformance):
    stderr: ClassVar[RshStderr]

    @pytest.fixture(autouse=True)
    def _server(self, rshd: RshServer, in_module_namespace: Namespace) -> None: ...

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        transport = RshTransport(RshOptions(stderr=self.stderr), quiet)
        refusing = Host("127.0.0.2", settings=Settings(port=NOBODY_LISTENS))
        yield Reached(transport, Host(HERE, settings=Settings(user=GUEST)), refusing)


@pytest.mark.root
class TestRsh(OnRshd):
    stderr = RshStderr.SEPARATE
    capabilities = Capabilities(
        reports_signals=False, ends_commands=False, reports_fate=False, streams_input=False
    )


@pytest.mark.root
class TestRshMerged(OnRshd):
    stderr = RshStderr.MERGED
    capabilities = Capabilities(
        separate_stderr=False,
        reports_signals=False,
        ends_commands=False,
        reports_fate=False,
        streams_input=False,
    )


class TestLocal(TransportConformance):
    capabilities = Capabilities(has_socket=False)

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        yield Reached(LocalTransport(Settings(), quiet), Host("here"))


class ByProgram(TransportConformance):
    capabilities = Capabilities(has_socket=False, reports_fate=False)
    template: str

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        yield Reached(ExecTransport(ExecOptions(template=self.template)), Host("here"))


class TestExec(ByProgram):
    template = "sh -c %c"


class TestExecOfAnAbsentProgram(ByProgram):
    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        transport = ExecTransport(ExecOptions(template="/%h/sh -c %c"))
        yield Reached(transport, Host("here", address="bin"), Host("elsewhere", address="nowhere"))


@pytest.mark.root
class TestNsenter(ByProgram):
    @pytest.fixture(autouse=True)
    def _namespace(self, module_namespace: Namespace) -> None:
        self.template = f"{shlex.join(module_namespace.argv(['sh', '-c']))} %c"


@pytest.mark.root
class TestChroot(ByProgram):
    template = "chroot / sh -c %c"


def scripted_host() -> Behaviour:
    """A fake that knows what the suite will ask for, since it has no shell to run it."""
    begun = b"begun\n"
    never = asyncio.Event()
    asked = {
        **{command: Behaviour(outcome=Exited(status)) for command, status in commands.EXITS.items()},
        **{command: Behaviour(stdout=output) for command, output in commands.ODD.items()},
        **{f"echo {n}; exit {n}": Behaviour(stdout=b"%d\n" % n, outcome=Exited(n)) for n in range(8)},
        commands.KILLED: Behaviour(outcome=Signalled("KILL")),
        commands.EVERY_BYTE: Behaviour(stdout=bytes(range(256))),
        commands.BOTH_STREAMS: Behaviour(stdout=b"out", stderr=b"err"),
        commands.MEGABYTE_ON_EACH: Behaviour(
            stdout=commands.MEGABYTE_OUTPUT, stderr=commands.MEGABYTE_OUTPUT
        ),
        f"echo begun; {commands.FLOOD}": Behaviour(stdout=begun + bytes(commands.FLOOD_BYTES)),
        commands.ENDS_WHILE_HELD_BACK: Behaviour(stdout=begun + bytes(commands.WAITING_BYTES)),
        commands.ECHO: Behaviour(echoes=True),
        commands.READS_NOTHING: Behaviour(outcome=Exited(4)),
        commands.READS_FIVE: Behaviour(stdout=b"12345", outcome=Exited(4)),
        commands.LONG + "x" * (100_000 - len(commands.LONG)): Behaviour(
            stdout=b"x" * (100_000 - len(commands.LONG))
        ),
        commands.NO_TEXT: Behaviour(stdout=commands.NO_TEXT_OUTPUT),
        commands.FAMILY: Behaviour(stdout=b"begun 1 2\n", ends_after=never),
        commands.LAST_WORDS: Behaviour(stdout=begun + b"bye\n", ends_after=never),
        commands.BEGINS: Behaviour(stdout=begun, ends_after=never),
        commands.RESISTS: Behaviour(stdout=begun, ends_after=never),
    }
    return Behaviour(commands=asked, closed_by=None)


class TestFake(TransportConformance):
    capabilities = Capabilities(has_socket=False, streams_input=False)

    @asynccontextmanager
    async def reached(self) -> AsyncIterator[Reached]:
        transport = FakeTransport({"gone": Behaviour(fails=refused("gone"))}, default=scripted_host())
        yield Reached(transport, Host("there"), Host("gone"))
