"""What a command left running is ended: real servers, and a look at every process afterwards."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from multirsh.errors import HostError
from multirsh.lab import Lab, LabOptions
from multirsh.model import ClosedBy, Fate, Host, Phase
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import Tally
from multirsh.transports.base import Stdin, Stream
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.options import SshOptions
from multirsh.transports.ssh import end_command
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.transport import SshTransport
from tests.conftest import StartHooked, StartServer
from tests.fleets import SshServer, hosts_on, known, ssh_options
from tests.servers.daemon import Daemon
from tests.servers.dropbear import start_dropbear
from tests.servers.hooked import Conduct, Link, Process, answers, never_ends
from tests.servers.namespace import Namespace
from tests.servers.processes import every_process, kill, naming
from tests.servers.requirement import program
from tests.servers.sshd import start_sshd
from tests.transports.ssh.test_end_command import LOGIN_SHELLS, called_sh
from tests.waiting import HANG_GUARD_S

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

HOST = "127.0.0.1"
SUDOERS = "nobody ALL=(ALL) NOPASSWD: ALL\n"

_SECONDS = itertools.count(random.SystemRandom().randrange(10**8, 9 * 10**8))


@dataclass
class Notebook:
    """A sink that keeps everything."""

    heard: dict[str, bytes] = field(default_factory=lambda: {"stdout": b"", "stderr": b""})
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def write(self, stream: Stream, data: bytes) -> None:
        self.heard[stream] += data
        self.more.set()


@dataclass
class Typed:
    """Standard input that somebody types: its first line, and then no more for now; or an error."""

    error: OSError | None = None

    async def read(self, offset: int) -> bytes:
        if offset == 0:
            return b"line\n"
        if self.error is not None:
            raise self.error
        await asyncio.Event().wait()
        return b""

    async def size(self) -> int:
        raise NotImplementedError

    def at(self, offset: int) -> bytes:
        raise NotImplementedError


@dataclass
class Running:
    """A command that runs on a host.

    Attributes:
        connection: Its connection.
        notebook: What it wrote.
        nap: A number of seconds that nobody else sleeps: it stands for NAP in the command.
        closed_by: Who closed, after the block.
        task: ``connection.run``.
    """

    connection: SshConnection
    notebook: Notebook
    nap: str
    task: asyncio.Task[object]
    closed_by: ClosedBy | None = None

    async def end(self, kill_after: float = 5) -> Fate:
        """Give up on it, and end it."""
        self.task.cancel()
        await asyncio.wait([self.task])
        return await self.connection.end_command(kill_after=kill_after)

    def left(self) -> set[int]:
        """What is left of it."""
        return naming(self.nap)


@asynccontextmanager
async def running(
    server: SshServer,
    command: str,
    folder: Path,
    *,
    user: str = "root",
    sleepers: int = 1,
    stdin: Stdin | None = None,
) -> AsyncIterator[Running]:
    """Run ``command`` on ``server``, as ``running_on`` does."""
    ssh = ssh_options(known(server, [HOST], folder))
    (host,) = hosts_on(server, [HOST], user=user)
    async with running_on(host, ssh, command, sleepers=sleepers, stdin=stdin) as run:
        yield run


@asynccontextmanager
async def running_on(
    host: Host, ssh: SshOptions, command: str, *, sleepers: int = 1, stdin: Stdin | None = None
) -> AsyncIterator[Running]:
    """Run ``command``, and go on once ``sleepers`` processes of it sleep NAP seconds; close at the end."""
    nap, notebook = str(next(_SECONDS)), Notebook()
    transport = SshTransport(ssh, lambda _message: None)
    await transport.prepare([host])
    dialler = Dialler(ports=PortAllocator(), tally=Tally(), close_timeout=2)
    connection = transport.connector(dialler).connection(host)
    await connection.open(LoginDeadline())
    task: asyncio.Task[object] = asyncio.get_running_loop().create_task(
        connection.run(command.replace("NAP", nap), notebook, stdin)
    )
    run = Running(connection, notebook, nap, task)
    try:
        await until(lambda: connection.phase is Phase.RUN and len(asleep(nap)) == sleepers)
        yield run
    finally:
        task.cancel()
        await asyncio.wait([task])
        connection.close()
        run.closed_by = await connection.closed()
        await transport.close()
        kill(naming(nap))


async def until(holds: Callable[[], bool], *, within: float = 10) -> None:
    """Wait until ``holds``."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - processes tell nobody
            await asyncio.sleep(0.01)


def asleep(nap: str) -> set[int]:
    """The processes that sleep ``nap`` seconds, and are no shell that is to start one."""
    found = set()
    for pid in naming(nap):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", nap.encode()]:
            found.add(pid)
    return found


@pytest.fixture(scope="module")
def sudoers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sudoers file of the servers here: the guest, whom sudo calls nobody, may do everything."""
    program("sudo", package="sudo")
    file = tmp_path_factory.mktemp("sudo") / "sudoers"
    rule(file, SUDOERS)
    file.chmod(0o440)
    return file


def rule(sudoers: Path, text: str) -> None:
    """Let sudo hold to ``text`` from now on; in place, since the servers see the file itself."""
    sudoers.write_text(text)


@pytest.fixture(scope="module")
def servers(module_namespace: Namespace, sudoers: Path) -> Iterator[dict[str, Daemon]]:
    """One sshd and one dropbear, with sudo."""
    replaced = {"/etc/sudoers": sudoers}
    with ExitStack() as stack:
        yield {
            "sshd": stack.enter_context(start_sshd(namespace=module_namespace, replaced=replaced)),
            "dropbear": stack.enter_context(start_dropbear(namespace=module_namespace, replaced=replaced)),
        }


LOGINS = [(kind, user) for kind in ("sshd", "dropbear") for user in ("guest", "root")]

every_login = pytest.mark.parametrize(("kind", "user"), LOGINS, ids=["-".join(login) for login in LOGINS])


class TestWhatIsEnded:
    """Nothing is left, and it is known."""

    @every_login
    @pytest.mark.parametrize(
        ("command", "sleepers"),
        [
            pytest.param("sleep NAP; echo went on", 1, id="plain"),
            pytest.param("exec sleep NAP", 1, id="no shell"),
            pytest.param("sleep NAP | cat | cat", 1, id="pipeline"),
            pytest.param("sh -c 'sleep NAP & sleep NAP & wait'; echo went on", 2, id="children"),
            pytest.param("(sleep NAP &); sleep NAP", 2, id="orphan"),
            pytest.param("nohup sleep NAP >/dev/null 2>&1 & exec sleep NAP", 2, id="nohup"),
            pytest.param("setsid sleep NAP & wait", 1, id="session of its own"),
            pytest.param("exec env -i sleep NAP", 1, id="no environment"),
            pytest.param(
                "i=0; while [ $i -lt 300 ]; do sleep NAP & i=$((i+1)); done; wait", 300, id="300 processes"
            ),
        ],
    )
    async def test_whatever_it_is(
        self,
        command: str,
        sleepers: int,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        server = servers[kind]
        async with running(server, command, tmp_path, user=user, sleepers=sleepers) as run:
            assert await run.end() is Fate.DEAD
            assert not run.left()
            assert run.notebook.heard == {"stdout": b"", "stderr": b""}
        assert run.closed_by is ClosedBy.REMOTE
        assert not in_module_namespace.client_side([server.port])

    @every_login
    @pytest.mark.parametrize("which", [asleep, naming], ids=["a child", "all"])
    async def test_what_is_stopped(
        self,
        which: Callable[[str], set[int]],
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        async with running(servers[kind], "sleep NAP; echo went on", tmp_path, user=user) as run:
            for pid in which(run.nap):
                os.kill(pid, signal.SIGSTOP)
            assert await run.end() is Fate.DEAD
            assert not run.left()

    @every_login
    async def test_what_ignores_term_is_killed_when_its_time_is_over(
        self,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        command = "trap '' TERM; while :; do sleep NAP; done"
        async with running(servers[kind], command, tmp_path, user=user) as run:
            begun = time.monotonic()
            assert await run.end(kill_after=0.7) is Fate.DEAD
            assert 0.7 < time.monotonic() - begun < HANG_GUARD_S
            assert not run.left()

    @every_login
    async def test_term_comes_once_and_last_words_are_heard(
        self,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        command = "trap 'echo told' TERM; sleep NAP & for i in 1 2 3 4; do wait; done; sleep 0.3; echo ended"
        async with running(servers[kind], command, tmp_path, user=user) as run:
            assert await run.end() is Fate.DEAD
            assert run.notebook.heard["stdout"] == b"told\nended\n"

    @pytest.mark.parametrize("user", ["guest", "root"])
    async def test_what_holds_the_output_of_a_shell_that_has_ended(
        self, user: str, servers: dict[str, Daemon], in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """dropbear closes the channel in spite of it: there the command has ended by itself."""
        command = "sleep NAP & echo begun"
        async with running(servers["sshd"], command, tmp_path, user=user) as run:
            await until(lambda: len(run.left()) == 1)
            assert await run.end() is Fate.DEAD
            assert not run.left()

    async def test_what_floods_a_reader_that_is_held_back(
        self, servers: dict[str, Daemon], in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        command = "sleep NAP & exec yes"
        async with running(servers["sshd"], command, tmp_path) as run:
            await run.notebook.more.wait()
            run.connection.pause_output()
            assert await run.end() is Fate.DEAD
            assert not run.left()

    @every_login
    async def test_what_waits_for_input(
        self,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        command = "sleep NAP & cat"
        async with running(servers[kind], command, tmp_path, user=user, stdin=Typed()) as run:
            await run.notebook.more.wait()
            assert await run.end() is Fate.DEAD
            assert not run.left()

    async def test_what_we_could_give_no_input(
        self, servers: dict[str, Daemon], in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """It waits for input that will not come, or for something else: it does not end for that."""
        stdin = Typed(OSError(5, "gone"))
        async with running(servers["sshd"], "exec sleep NAP", tmp_path, stdin=stdin) as run:
            assert await run.end() is Fate.DEAD
            assert not run.left()

    @pytest.mark.parametrize("kind", ["sshd", "dropbear"])
    @pytest.mark.parametrize("defaults", ["!use_pty", "use_pty"])
    @pytest.mark.parametrize(
        ("command", "sleepers"),
        [
            pytest.param("sudo sleep NAP; echo went on", 1, id="plain"),
            pytest.param("exec sudo sleep NAP", 1, id="no shell"),
            pytest.param("sudo sh -c 'sleep NAP & sleep NAP'", 2, id="children"),
            pytest.param("sudo sh -c '(sleep NAP &); sleep NAP'", 2, id="orphan"),
            pytest.param("sudo -u backup sleep NAP | cat", 1, id="another user"),
            pytest.param(
                "sudo sh -c 'trap : TERM; (trap \"\" TERM; sleep NAP) & sleep NAP; wait'",
                2,
                id="ignores TERM",
            ),
        ],
    )
    async def test_what_sudo_started(
        self,
        command: str,
        sleepers: int,
        defaults: str,
        kind: str,
        servers: dict[str, Daemon],
        sudoers: Path,
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        rule(sudoers, f"Defaults {defaults}\n{SUDOERS}")
        async with running(servers[kind], command, tmp_path, user="guest", sleepers=sleepers) as run:
            assert await run.end(kill_after=0.5) is Fate.DEAD
            assert not run.left()


class TestWhatIsNot:
    """What cannot be ended, or must not be, is told as what it is."""

    @every_login
    @pytest.mark.parametrize(
        "command",
        [
            "(setsid sleep NAP >/dev/null 2>&1 &); sleep NAP",
            "setsid sh -c 'sleep NAP >/dev/null 2>&1 & exit' & sleep NAP",
        ],
        ids=["setsid", "twice forked"],
    )
    async def test_what_has_gone_its_own_way_is_alive(
        self,
        command: str,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        async with running(servers[kind], command, tmp_path, user=user, sleepers=2) as run:
            await until(lambda: any(every_process()[pid].parent == 1 for pid in asleep(run.nap)))
            assert await run.end() is Fate.ALIVE
            (one,) = run.left()
            assert one in asleep(run.nap)

    async def test_what_sudo_will_not_end_is_alive(
        self, servers: dict[str, Daemon], sudoers: Path, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """sudo passes TERM on, but nobody can pass KILL on."""
        rule(sudoers, f"nobody ALL=(ALL) NOPASSWD: {shutil.which('env')}\n")
        command = "sudo env sh -c 'trap \"\" TERM; sleep NAP; :'"
        async with running(servers["sshd"], command, tmp_path, user="guest") as run:
            assert await run.end(kill_after=0.2) is Fate.ALIVE
            assert asleep(run.nap)

    async def test_what_sudo_left_behind_holding_the_output_is_unknown(
        self, servers: dict[str, Daemon], sudoers: Path, in_module_namespace: Namespace, tmp_path: Path
    ) -> None:
        """It has no parent and no environment to be known by; but the channel has not closed."""
        rule(sudoers, SUDOERS)
        command = "sudo sh -c 'sleep NAP & exit'"
        async with running(servers["sshd"], command, tmp_path, user="guest") as run:
            await until(lambda: run.left() == asleep(run.nap))
            assert await run.end() is Fate.UNKNOWN

    @every_login
    async def test_other_connections_of_the_same_user_go_on(
        self,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
    ) -> None:
        async with (
            running(servers[kind], "sleep NAP & sleep NAP", tmp_path, user=user, sleepers=2) as other,
            running(servers[kind], "sleep NAP", tmp_path, user=user) as run,
        ):
            before = other.left()
            assert await run.end() is Fate.DEAD
            assert other.left() == before

    async def test_other_hosts_of_a_server_that_serves_all_from_one_process_go_on(
        self, in_namespace: Namespace
    ) -> None:
        """There the processes are told apart by what their environments say of their connections."""
        async with Lab(LabOptions(hosts=2, port=0)) as lab:
            ssh = SshOptions(config_file=str(lab.ssh_config))
            async with (
                running_on(Host("web01"), ssh, "sleep NAP; :") as other,
                running_on(Host("web02"), ssh, "sh -c 'sleep NAP & sleep NAP' | cat", sleepers=2) as run,
            ):
                before = other.left()
                assert await run.end() is Fate.DEAD
                assert not run.left()
                assert other.left() == before


class TestForcedCommands:
    """They would be run once more by whatever a second channel asks for."""

    async def test_one_of_the_key_is_known_and_left_alone(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here()
        keys = server.accounts.home("root") / ".ssh" / "authorized_keys"
        count = server.directory / "count"
        keys.write_text(f'command="echo >>{count}; exec sleep 87654321" {keys.read_text()}')
        async with running(server, "any", tmp_path, sleepers=0) as run:
            await until(count.exists)
            begun = time.monotonic()
            assert await run.end() is Fate.UNKNOWN
            assert time.monotonic() - begun < end_command.READY_S, "nothing was sent that it could answer"
        assert count.read_text() == "\n", "run once"

    @pytest.mark.parametrize("user", ["guest", "root"])
    async def test_one_of_the_server_is_unknown_in_bounded_time(
        self,
        user: str,
        sshd_here: StartServer,
        in_namespace: Namespace,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(end_command, "READY_S", 0.5)
        server = sshd_here(options={"ForceCommand": "cd; echo >>count; exec sleep 86400"})
        count = server.accounts.home(user) / "count"
        async with running(server, "any", tmp_path, user=user, sleepers=0) as run:
            await until(count.exists)
            begun = time.monotonic()
            assert await run.end(kill_after=0.5) is Fate.UNKNOWN
            assert time.monotonic() - begun < HANG_GUARD_S
        assert run.closed_by is ClosedBy.REMOTE
        assert count.read_text() == "\n\n", "sshd tells nobody, so it was run once more"


class TestWhereThereIsNoScript:
    """Signals by request are what remains, and nobody says what came of them."""

    async def test_a_server_that_gives_one_session(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here(options={"MaxSessions": "1"})
        async with running(server, "sleep NAP; echo went on", tmp_path, user="guest") as run:
            assert await run.end() is Fate.UNKNOWN
            assert not run.left()
            assert run.notebook.heard["stdout"] == b""

    async def test_a_restricted_shell(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here(shell=program("rbash", package="bash"))
        async with running(server, "trap '' TERM; sleep NAP; :", tmp_path, user="guest") as run:
            assert await run.end(kill_after=0.2) is Fate.UNKNOWN
            assert not run.left()

    async def test_a_device_that_has_no_shell(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        async def device(process: Process, link: Link) -> None:
            if process.command == "any":
                await never_ends(process, link)
            await answers(b"% Invalid input\n", status=1)(process, link)

        server = hooked(Conduct(session=device))
        async with running(server, "any", tmp_path, sleepers=0) as run:
            assert await run.end(kill_after=0.2) is Fate.UNKNOWN

    async def test_a_remote_that_answers_nothing(
        self,
        sshd_here: StartServer,
        in_namespace: Namespace,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(end_command, "READY_S", 0.3)
        server = sshd_here()
        async with running(server, "sleep NAP", tmp_path) as run:
            (serving,) = (pid for pid in server.processes() if every_process()[pid].parent == server.pid)
            os.kill(serving, signal.SIGSTOP)
            begun = time.monotonic()
            assert await run.end(kill_after=60) is Fate.UNKNOWN
            assert time.monotonic() - begun < 60
        assert run.closed_by is ClosedBy.RESET

    async def test_a_connection_that_has_died(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here()
        async with running(server, "sleep NAP", tmp_path) as run:
            (serving,) = (pid for pid in server.processes() if every_process()[pid].parent == server.pid)
            os.kill(serving, signal.SIGKILL)
            with pytest.raises(HostError):
                await run.task
            assert await run.connection.end_command(kill_after=60) is Fate.UNKNOWN

    async def test_one_that_dies_meanwhile(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here()
        async with running(server, "trap 'echo told' TERM; while :; do sleep NAP; done", tmp_path) as run:
            (serving,) = (pid for pid in server.processes() if every_process()[pid].parent == server.pid)
            async with asyncio.TaskGroup() as group:
                ending = group.create_task(run.end(kill_after=2))
                await run.notebook.more.wait()
                os.kill(serving, signal.SIGKILL)
            assert ending.result() is Fate.UNKNOWN
            await until(lambda: not run.left())  # the script needs nobody to hear it


def passable(folder: Path) -> Path:
    """Let the unprivileged user through to ``folder``, which pytest makes for nobody else."""
    for parent in (folder, *folder.parents):
        if not parent.stat().st_mode & 1:
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


class TestShells:
    """Whatever reads the line, and whatever /bin/sh is."""

    @pytest.mark.parametrize("shell", LOGIN_SHELLS)
    async def test_login_shells(
        self, shell: str, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        path = called_sh(shell, passable(tmp_path)) if shell == "busybox" else program(shell, package=shell)
        server = sshd_here(shell=path)
        command = "sleep NAP | cat" if shell == "fish" else "sh -c 'sleep NAP & sleep NAP' | cat"
        sleepers = 1 if shell == "fish" else 2
        async with running(server, command, tmp_path, user="guest", sleepers=sleepers) as run:
            assert await run.end() is Fate.DEAD
            assert not run.left()

    @pytest.mark.parametrize(
        "shell", [shell for shell in LOGIN_SHELLS if shell not in {"dash", "tcsh", "csh", "fish"}]
    )
    async def test_other_programs_than_dash_as_sh(
        self, shell: str, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here(replaced={"/bin/sh": program(shell, package=shell)})
        command = "trap '' TERM; env sleep NAP | cat; env sleep NAP"  # to ksh, sleep is a word of its own
        async with running(server, command, tmp_path, user="guest") as run:
            assert await run.end(kill_after=0.3) is Fate.DEAD
            assert not run.left()

    @pytest.mark.parametrize("user", ["guest", "root"])
    async def test_busybox_for_everything(
        self, user: str, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        busybox = program("busybox", package="busybox")
        tools = ("/bin/sh", "/bin/cat", "/bin/grep", "/usr/bin/awk", "/bin/ls", "/usr/bin/tr")
        server = sshd_here(replaced=dict.fromkeys(tools, busybox))
        command = "(setsid sleep NAP >/dev/null 2>&1 &); sleep NAP | cat"
        async with running(server, command, tmp_path, user=user, sleepers=2) as run:
            assert await run.end() is Fate.ALIVE
            assert len(run.left()) == 1
        async with running(server, "sleep NAP & echo begun", tmp_path, user=user) as run:
            await until(lambda: len(run.left()) == 1)
            assert await run.end() is Fate.DEAD
            assert not run.left()

    async def test_start_up_files_that_talk(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here(shell=program("bash", package="bash"))
        (server.accounts.home("guest") / ".bashrc").write_text("echo Welcome; echo Mind the gap >&2\n")
        async with running(server, "sleep NAP; :", tmp_path, user="guest") as run:
            await until(lambda: run.notebook.heard["stdout"] == b"Welcome\n")  # so it was read
            assert await run.end() is Fate.DEAD
            assert not run.left()

    @every_login
    async def test_without_proc_it_is_ended_and_unknown(
        self,
        kind: str,
        user: str,
        servers: dict[str, Daemon],
        in_module_namespace: Namespace,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """ps(1) tells of parents and groups, but not of those who have left both."""
        elsewhere = end_command.script().replace(b"/proc/", b"/nowhere/")
        monkeypatch.setattr(end_command, "script", lambda: elsewhere)
        command = "sh -c 'sleep NAP & sleep NAP' | cat; sleep NAP"
        async with running(servers[kind], command, tmp_path, user=user, sleepers=2) as run:
            assert await run.end() is Fate.UNKNOWN
            assert not run.left()


class TestWhatItCosts:
    """A command that ends by itself has one channel, as before."""

    @staticmethod
    async def sessions(server: Daemon, count: int) -> int:
        """How many channels had a command, once the log has ``count`` of them."""
        await asyncio.to_thread(server.log.wait_for, "Starting session: command", times=count)
        return server.log.count("Starting session: command")

    async def test_a_command_that_has_ended_is_dead_without_a_look(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here()
        async with running(server, "sleep NAP & wait; exit", tmp_path) as run:
            kill(asleep(run.nap))
            await run.task
            assert await run.connection.end_command(kill_after=5) is Fate.DEAD
            assert await self.sessions(server, 1) == 1

    async def test_a_command_that_was_never_asked_for_is_dead(
        self, hooked: StartHooked, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = hooked(Conduct(session=never_ends))
        ssh = ssh_options(known(server, [HOST], tmp_path))
        (host,) = hosts_on(server, [HOST])
        transport = SshTransport(ssh, lambda _message: None)
        await transport.prepare([host])
        dialler = Dialler(ports=PortAllocator(), tally=Tally(), close_timeout=2)
        connection = transport.connector(dialler).connection(host)
        assert await connection.end_command(kill_after=5) is Fate.DEAD
        await connection.open(LoginDeadline())
        assert await connection.end_command(kill_after=5) is Fate.DEAD
        connection.close()
        assert await connection.closed() is ClosedBy.REMOTE
        await transport.close()

    async def test_ending_is_one_more_channel(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here()
        async with running(server, "sleep NAP", tmp_path) as run:
            assert await self.sessions(server, 1) == 1
            assert await run.end() is Fate.DEAD
            assert await self.sessions(server, 2) == 2

    async def test_giving_up_on_the_ending_too_closes_in_order(
        self, sshd_here: StartServer, in_namespace: Namespace, tmp_path: Path
    ) -> None:
        server = sshd_here()
        async with running(server, "trap '' TERM; sleep NAP; sleep NAP", tmp_path) as run:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await run.end(kill_after=1)
        assert run.closed_by is ClosedBy.REMOTE
        assert not in_namespace.client_side([server.port])
