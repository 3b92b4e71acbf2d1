"""The library's door: a fleet of hosts, ready to run commands on.

::

    async with Fleet(inventory.hosts) as fleet:
        async for result in fleet.run("uptime"):
            print(result.host.name, result.status, result.text())
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

from multirsh.arguments import check_call, check_keywords
from multirsh.commands import prepare
from multirsh.commands.command import Command
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.attempt import Work, no_password
from multirsh.engine.checks import check_hosts, check_privacy, check_terminals, once_each, transport_of
from multirsh.engine.descriptors import PROCESS
from multirsh.engine.keep import Keep, KeptConnection
from multirsh.engine.limits import Limits, Timeouts
from multirsh.engine.plan import Ask, Gate, RunPlan
from multirsh.engine.record import NO_RECORD, Record
from multirsh.engine.results import Results
from multirsh.engine.retry import NO_RETRIES, RetryPolicy
from multirsh.engine.rolling import RollingPlan
from multirsh.engine.run import Means, Run
from multirsh.engine.spool import Given
from multirsh.errors import UsageError
from multirsh.exit_code import ExitRule
from multirsh.inventory import fold
from multirsh.model import NO_SETTINGS, Assignment, ClosedBy, Host, HostRoute, RouteSettings, Settings
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import PortStatistics
from multirsh.transports.base import Routing, Stdin, Transport, Warn
from multirsh.transports.exec.options import ExecOptions
from multirsh.transports.passwords import Password, PasswordSource
from multirsh.transports.registry import TransportOptions, load
from multirsh.transports.rsh.options import RshOptions
from multirsh.transports.ssh.options import SshOptions
from multirsh.transports.tcp import own_address
from multirsh.transports.threads import in_daemon_thread

if TYPE_CHECKING:
    from multirsh.commands.sudo.runner import PasswordQueue, SudoRunner
    from multirsh.files.jobs import CopyJob, FilePath
    from multirsh.files.options import CopyOptions

logger = logging.getLogger("multirsh")


class Course(TypedDict, total=False):
    """What course a run takes, as ``Fleet.run`` explains each."""

    sudo: Sudo | None
    hosts: Sequence[Host] | None
    exit_rule: ExitRule | None
    retry: RetryPolicy
    rolling: RollingPlan | None
    gate: Gate | None
    ask: Ask | None
    fail_fast: bool
    barrier: bool
    journal: Record


class Fleet:
    """Hosts, and the means to reach them.

    Entering reads keys, known hosts and ssh's configuration, once; leaving
    stops the runs that go on and closes what is open, the remote ends first.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        *,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        ssh: SshOptions | None = None,
        rsh: RshOptions | None = None,
        exec_options: ExecOptions | None = None,
        settings: Settings = NO_SETTINGS,
        sudo_password: PasswordSource | None = None,
        bind_address: str | None = None,
        keep: bool = False,
        warn: Warn | None = None,
        transports: Mapping[str, Transport] | None = None,
    ) -> None:
        """Gather the means; nothing is read or connected yet.

        Args:
            hosts: Each name once.
            limits: How much at once.
            timeouts: For how long.
            ssh: What ssh's options say for all hosts.
            rsh: What rsh's options say for all hosts.
            exec_options: What exec's options say for all hosts.
            settings: What goes before every host's own settings, for transports that have no options: local,
                and those of other distributions.
            sudo_password: Where the password comes from that sudo is answered; where there is none, sudo
                may not ask. Where it is the login's, give the same object. A person is asked as ``ssh`` says.
            bind_address: The local address that all connections leave from; ``None`` for each route's own.
            keep: Whether connections stay open from one run to the next, so that only the first one logs in;
                leaving the fleet closes them. Of transports that can: ssh.
            warn: Takes warnings, one line for people each; by default they are logged.
            transports: To be used for these names instead of multirsh's own; the fleet closes them.

        Raises:
            UsageError: A host twice; a bind address that is none, or not of this machine.
        """
        check_call(Fleet.__init__, locals())
        self._hosts = once_each(hosts)
        check_hosts(self._hosts)
        self._limits = limits or Limits()
        self._timeouts = timeouts or Timeouts()
        self._options = TransportOptions(
            ssh=ssh or SshOptions(),
            rsh=rsh or RshOptions(),
            exec=exec_options or ExecOptions(),
            settings=settings,
        )
        self._bind_address = None if bind_address is None else own_address(bind_address)
        self._warn = warn or logger.warning
        self._keeps = keep
        self._sudo_source = sudo_password or PasswordSource()
        self._sudo_password: Password | None = None
        self._password_queue: PasswordQueue | None = None
        self._given = dict(transports or {})
        self._means: Means | None = None
        self._runs: list[Run] = []
        self._opened = AsyncExitStack()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The fleet's hosts, in the order they are started."""
        return self._hosts

    async def __aenter__(self) -> Self:
        """Read what is needed once for all hosts.

        Raises:
            CredentialError: A key, a password or a known_hosts file that cannot be used at all.
            UsageError: A transport that is not there.
        """
        async with AsyncExitStack() as opened:
            transports: dict[str, Transport] = {}
            for name, hosts in self._bytransport().items():
                transport = self._given.get(name) or load(
                    name, self._options, warn=self._warn, wanted_by=hosts[0].name
                )
                opened.push_async_callback(transport.close)
                await transport.prepare(hosts)
                transports[name] = transport
            if not self._sudo_source.is_none:
                self._sudo_password = await in_daemon_thread(
                    lambda: self._sudo_source.read(self._options.ssh.ask, prompt="sudo password: "),
                    name="multirsh-sudo-password",
                    or_here=True,
                )
            self._opened = opened.pop_all()
        self._means = Means(
            transports=transports,
            limits=self._limits,
            timeouts=self._timeouts,
            ports=PortAllocator(budget=self._limits.ports),
            descriptors=PROCESS,
            warn=self._warn,
            bind_address=self._bind_address,
            keep=self._make_keep(transports.values()) if self._keeps else None,
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop what goes on and wait until everything is closed, within the close timeout."""
        means, self._means = self._means, None
        async with self._opened, AsyncExitStack() as kept:
            if means is not None and means.keep is not None:
                kept.push_async_callback(means.keep.aclose)
            for run in self._runs:
                await run.aclose()
            self._runs.clear()

    def run(
        self,
        command: str | Command,
        *,
        stdin: bytes | Stdin | None = None,
        sudo: Sudo | None = None,
        hosts: Sequence[Host] | None = None,
        exit_rule: ExitRule | None = None,
        retry: RetryPolicy = NO_RETRIES,
        rolling: RollingPlan | None = None,
        gate: Gate | None = None,
        ask: Ask | None = None,
        fail_fast: bool = False,
        barrier: bool = False,
        journal: Record = NO_RECORD,
    ) -> Run:
        """Run ``command`` on every host, through its login shell.

        Args:
            command: What ssh would be given, or that with what is to be around it.
            stdin: Its standard input, in full to every host; ``None`` is at end of file.
            sudo: As whom it runs, if not as who logs in.
            hosts: Only these of the fleet's; ``None`` for all.
            exit_rule: What the exit code in ``RunFinished`` is made of.
            retry: How often a host that could not be connected to is tried again.
            rolling: In which batches, and when to start no more.
            gate: Decides after each batch whether the next may start.
            ask: Asks a person the same.
            fail_fast: Whether the first failure stops the run, those in flight included.
            barrier: Whether the command is released at once, when all hosts are logged in or have failed.
            journal: Keeps the run's events, such as a ``multirsh.journal.Recorder`` of its own.

        Returns:
            The run; it starts when it is read.

        Raises:
            UsageError: There is nothing to run; a host twice, or one that is not of the fleet; a barrier for
                hosts that come in batches; sudo's password by a transport that sends it in clear. Reading the
                run raises it, too, for a barrier of more hosts than there are descriptors for.
            RuntimeError: Outside ``async with``.
        """
        check_call(Fleet.run, locals())
        means = self._entered()
        asked = Command(command) if isinstance(command, str) else command
        chosen = self._hosts if hosts is None else self._ours(hosts)
        needs_tty = sudo is not None and sudo.needs_tty
        check_terminals(means.transports, chosen, "--tty" if asked.tty else "--become" if needs_tty else None)
        runner = None if sudo is None else self._sudo_runner(sudo, chosen)
        prepare.check(asked, chosen, wrap=None if runner is None else runner.sample)
        given = Given(stdin) if isinstance(stdin, bytes) else stdin
        course = Course(
            sudo=sudo,
            hosts=hosts,
            exit_rule=exit_rule,
            retry=retry,
            rolling=rolling,
            gate=gate,
            ask=ask,
            fail_fast=fail_fast,
            barrier=barrier,
            journal=journal,
        )
        return self._begin(
            asked.title, prepare.work(asked, given, runner=runner or prepare.DIRECT), chosen, course
        )

    def push(
        self,
        sources: Sequence[FilePath],
        destination: FilePath,
        options: CopyOptions | None = None,
        **course: Unpack[Course],
    ) -> Run:
        """Copy files of this machine to every host.

        Args:
            sources: Files and folders here.
            destination: On the hosts, from the home folder if it is not absolute: a folder that is there is
                copied into; else it is what the one source is to be called.
            options: How.
            course: As of ``run``.

        Returns:
            The run; it tells of files by ``Copied`` events.

        Raises:
            UsageError: As ``run``; something here cannot be read, or a host's transport carries no files.
            RuntimeError: Outside ``async with``.
        """
        from multirsh.files.jobs import PushJob  # noqa: PLC0415 - 20 modules that few runs need

        return self.copy(PushJob(sources, destination, options), **course)

    def pull(
        self,
        sources: Sequence[FilePath],
        destination: FilePath,
        options: CopyOptions | None = None,
        **course: Unpack[Course],
    ) -> Run:
        """Copy files of every host to this machine, those of a host into ``destination/HOST``.

        Args:
            sources: Paths and patterns on the hosts, from the home folder if they are not absolute.
            destination: A folder here; it is made if it is not there.
            options: How.
            course: As of ``run``.

        Returns:
            The run; it tells of files by ``Copied`` events.

        Raises:
            UsageError: As ``run``; the folder cannot be written to, or a host's transport carries no files.
            RuntimeError: Outside ``async with``.
        """
        from multirsh.files.jobs import PullJob  # noqa: PLC0415 - as of push

        return self.copy(PullJob(sources, destination, options), **course)

    def copy(self, job: CopyJob, **course: Unpack[Course]) -> Run:
        """Do a push or a pull that was made before.

        Raises:
            UsageError: As ``run``; a host's transport carries no files.
            RuntimeError: Outside ``async with``.
        """
        from multirsh.files.access import RunAs  # noqa: PLC0415 - as of push

        check_keywords(Course, course)
        means = self._entered()
        hosts = course.get("hosts")
        chosen = self._hosts if hosts is None else self._ours(hosts)
        unable = [host for host in chosen if not means.transports[transport_of(host)].converses]
        if unable:
            names = ", ".join(sorted({self._shown(transport_of(host)) for host in unable}))
            raise UsageError(
                f"no files can be copied by {names}: {fold(host.name for host in unable)}",
                hint="leave such hosts out with -x, or reach them by ssh",
            )
        for words in job.warnings:
            self._warn(words)
        sudo = course.get("sudo")
        if sudo is not None and sudo.needs_tty:
            raise UsageError(
                f"no files can be copied by {sudo.by}, which needs a terminal", hint="use --sudo"
            )
        run_as = RunAs() if sudo is None else RunAs(self._sudo_runner(sudo, chosen), user=sudo.user)
        return self._begin(job.title, lambda assignment: job.copying(assignment.host, run_as), chosen, course)

    def routes(self, hosts: Sequence[Host] | None = None) -> Mapping[str, HostRoute]:
        """Where hosts are and how they are entered, with all options and ssh_config considered.

        It takes some microseconds a host, and belongs in a thread where there are many; no run may go on
        meanwhile.

        Args:
            hosts: Whose; ``None`` for all.

        Raises:
            RuntimeError: Outside ``async with``.
        """
        transports = self._entered().transports
        found: dict[str, HostRoute] = {}
        ways: dict[
            int, tuple[RouteSettings, RouteSettings]
        ] = {}  # by a way's id, which it keeps while it is in here
        for host in self._hosts if hosts is None else hosts:
            name = transport_of(host)
            transport = transports[name]
            if isinstance(transport, Routing):
                route = transport.route(host)
            else:
                said = self._options.settings.or_else(host.settings)
                route = HostRoute(host.target, host.target, RouteSettings(settings=said))
            if id(route.way) not in ways:
                settings = replace(route.way.settings, transport=name, host_keys=None)
                ways[id(route.way)] = (route.way, replace(route.way, settings=settings))
            found[host.name] = HostRoute(route.target, route.address, ways[id(route.way)][1])
        return found

    def connections(self) -> tuple[KeptConnection, ...]:
        """The connections that are open between runs, as far as is known; none without ``keep``.

        Raises:
            RuntimeError: Outside ``async with``.
        """
        keep = self._entered().keep
        return () if keep is None else keep.connections()

    def statistics(self) -> PortStatistics | None:
        """What all connections have done to the local ports so far; ``None`` without ``keep``.

        Raises:
            RuntimeError: Outside ``async with``.
        """
        keep = self._entered().keep
        return None if keep is None else keep.statistics()

    async def release(self, hosts: Sequence[Host] | None = None) -> Mapping[str, ClosedBy | None]:
        """Close connections that are open between runs; the next run logs in again.

        Args:
            hosts: Whose; ``None`` for all.

        Returns:
            Who closed each of them first, by host; ``None`` where there was no socket of our own.

        Raises:
            RuntimeError: Outside ``async with``.
        """
        check_call(Fleet.release, locals())
        keep = self._entered().keep
        return {} if keep is None else await keep.release(self._hosts if hosts is None else hosts)

    def _make_keep(self, transports: Iterable[Transport]) -> Keep:
        """Make room for connections that stay; leaving the fleet gives it back, once they are closed."""
        per_host = max((transport.descriptors_per_host for transport in transports), default=1)
        most = PROCESS.set_aside(len(self._hosts), per_host=per_host)
        self._opened.callback(PROCESS.take_back, most, per_host=per_host)
        return Keep(most=most, warn=self._warn)

    def _sudo_runner(self, sudo: Sudo, hosts: Sequence[Host]) -> SudoRunner:
        """Return what runs commands as another user; a fleet has one queue for the password."""
        from multirsh.commands.sudo.runner import PasswordQueue, SudoRunner  # noqa: PLC0415 - for sudo alone

        if self._sudo_password is not None:
            check_privacy(self._entered().transports, hosts)
        if self._password_queue is None:
            self._password_queue = PasswordQueue(self._warn)
        return SudoRunner(sudo, self._sudo_password, self._password_queue)

    def _begin(
        self, title: str, work_for: Callable[[Assignment], Work], hosts: Sequence[Host], course: Course
    ) -> Run:
        gate, ask, sudo = course.get("gate"), course.get("ask"), course.get("sudo")
        rolling = course.get("rolling") or RollingPlan()
        plan = RunPlan(
            command=title,
            work_for=work_for,
            exit_rule=course.get("exit_rule") or ExitRule(),
            retry=course.get("retry", NO_RETRIES),
            rolling=replace(rolling, has_gate=gate is not None, asks=ask is not None),
            gate=gate,
            ask=ask,
            fail_fast=course.get("fail_fast", False),
            barrier=course.get("barrier", False),
            record=course.get("journal", NO_RECORD),
            # Of doas and su it is no answer to the sudo that ends commands: su's is another user's.
            sudo_password=self._proven_password if sudo is not None and not sudo.needs_tty else no_password,
        )
        run = Run(self._entered(), hosts, plan)
        self._runs = [known for known in self._runs if not known.is_over]
        self._runs.append(run)
        return run

    def _proven_password(self) -> Password | None:
        """Return sudo's password if a host has accepted it and refusals have not stopped its use."""
        queue = self._password_queue
        return self._sudo_password if queue is not None and queue.is_proven else None

    def _entered(self) -> Means:
        if self._means is None:
            raise RuntimeError("a fleet works inside 'async with'")
        return self._means

    def _ours(self, hosts: Sequence[Host]) -> tuple[Host, ...]:
        strangers = {host.name for host in hosts} - {host.name for host in self._hosts}
        if strangers:
            raise UsageError(f"not of this fleet: {fold(strangers)}", hint="make the fleet of all its hosts")
        return once_each(hosts)

    def _shown(self, transport: str) -> str:
        """A transport's name; the class of one that the caller has put in its place."""
        given = self._given.get(transport)
        return str(transport) if given is None else type(given).__name__

    def _bytransport(self) -> Mapping[str, list[Host]]:
        found: dict[str, list[Host]] = {}
        for host in self._hosts:
            found.setdefault(transport_of(host), []).append(host)
        return found


def run(
    hosts: Sequence[Host],
    command: str | Command,
    *,
    limits: Limits | None = None,
    timeouts: Timeouts | None = None,
    ssh: SshOptions | None = None,
    rsh: RshOptions | None = None,
) -> Results:
    """Run ``command`` on ``hosts`` and wait for all of them: for scripts that have no event loop.

    Raises:
        RuntimeError: Called inside an event loop: use ``Fleet`` there.
        UsageError: As ``Fleet``.
        CredentialError: As ``Fleet``.
    """
    check_call(run, locals())
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise RuntimeError("multirsh.run() makes its own event loop; inside one, use 'async with Fleet(...)'")

    async def together() -> Results:
        async with Fleet(hosts, limits=limits, timeouts=timeouts, ssh=ssh, rsh=rsh) as fleet:
            return await fleet.run(command).gather()

    return asyncio.run(together())
