"""The entry point of the library: a fleet of hosts, ready to run commands on.

::

    async with Fleet(inventory.hosts) as fleet:
        async for result in fleet.run("uptime"):
            print(result.host.name, result.status, result.text())
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from multirsh.arguments import check_call, check_fields, field_hints
from multirsh.commands import prepare
from multirsh.commands.command import Command
from multirsh.commands.sudo.options import Sudo
from multirsh.engine.attempt import Work, no_password
from multirsh.engine.options import DEFAULT_OPTIONS, RunOptions, updated
from multirsh.engine.pool import ConnectionPool, PooledConnection, transport_of
from multirsh.engine.resources import PROCESS
from multirsh.engine.results import Results
from multirsh.engine.run import NO_HOOKS, FleetResources, Run, RunHooks, RunWork
from multirsh.engine.spool import Given
from multirsh.errors import UsageError
from multirsh.inventory import fold
from multirsh.model import (
    NO_SETTINGS,
    Assignment,
    ClosedBy,
    Host,
    HostRoute,
    RouteSettings,
    Settings,
)
from multirsh.ports.allocator import PortAllocator
from multirsh.ports.tally import PortStatistics
from multirsh.transports.base import Routing, Stdin, Transport, Warn
from multirsh.transports.options import ExecOptions, RshOptions, SshOptions, TransportOptions, load
from multirsh.transports.passwords import Password, PasswordSource
from multirsh.transports.tcp import own_address
from multirsh.transports.threads import in_daemon_thread

if TYPE_CHECKING:
    from multirsh.commands.sudo.runner import PasswordQueue, SudoRunner
    from multirsh.files.jobs import CopyJob, FilePath
    from multirsh.files.options import CopyOptions


def check_terminals(transports: Mapping[str, Transport], hosts: Sequence[Host], option: str | None) -> None:
    """Check that every host can have a pseudo-terminal.

    Args:
        transports: The transports by name.
        hosts: The hosts of the run.
        option: The option that needs a terminal; ``None`` if none does.

    Raises:
        UsageError: A host's transport has no terminals.
    """
    if option is None:
        return
    for host in hosts:
        name = transport_of(host)
        if not transports[name].has_terminals:
            raise UsageError(
                f"{host.name}: there are no terminals by {name}",
                hint=f"leave out {option}, or such hosts with -x",
            )


def check_privacy(transports: Mapping[str, Transport], hosts: Sequence[Host]) -> None:
    """Check that a password can be sent to every host.

    Raises:
        UsageError: A host's transport would send it in clear text.
    """
    for host in hosts:
        name = transport_of(host)
        if not transports[name].is_private:
            raise UsageError(
                f"{host.name}: {name} would send sudo's password in clear text",
                hint="give no password, for hosts whose sudo asks for none (NOPASSWD), or leave such hosts"
                " out with -x",
            )


def check_hosts(hosts: Sequence[Host]) -> None:
    """Check the types of the hosts' fields; settings that several hosts share are checked once.

    Raises:
        TypeError: A field has another type.
    """
    seen: set[int] = set()
    for host in hosts:
        if id(host.settings) not in seen:
            seen.add(id(host.settings))
            check_fields(host)
            check_fields(host.settings)


def once_each(hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Check that no host is given twice, and return the hosts.

    Raises:
        UsageError: A host is.
    """
    counts = Counter(host.name for host in hosts)
    twice = {name for name, count in counts.items() if count > 1}
    if twice:
        raise UsageError(f"given more than once: {fold(twice)}", hint="a host runs a command once")
    return tuple(hosts)


logger = logging.getLogger("multirsh")


class Fleet:
    """Hosts, and what is needed to reach them.

    Entering the fleet reads keys, known hosts and ssh's configuration, once.
    Leaving it stops the runs that go on and closes all connections; the remote
    ends close first.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        options: RunOptions | None = None,
        *,
        ssh: SshOptions | None = None,
        rsh: RshOptions | None = None,
        exec_options: ExecOptions | None = None,
        settings: Settings = NO_SETTINGS,
        sudo_password: PasswordSource | None = None,
        bind_address: str | None = None,
        keep: bool = False,
        warn: Warn | None = None,
        transports: Mapping[str, Transport] | None = None,
        **changes: Any,
    ) -> None:
        """Take the hosts and the options; nothing is read or connected yet.

        Args:
            hosts: Each name once.
            options: The options of its runs, unless a run has options of its own.
            ssh: The options of ssh, for all hosts.
            rsh: The options of rsh, for all hosts.
            exec_options: The options of exec, for all hosts.
            settings: The settings that take precedence over every host's own, for transports without options
                of their own (local, and those of other distributions), and for rsh and exec if theirs are
                not given.
            sudo_password: The source of the password that sudo is given; without one, sudo may not ask for
                any. If it is the login password, give the same object. The user is asked as ``ssh`` says.
            bind_address: The local address that all connections leave from; ``None`` for each route's own.
            keep: Whether connections stay open from one run to the next, so that only the first run logs in;
                leaving the fleet closes them. Only ssh can do this.
            warn: Called with each warning, a line for people; by default, warnings are logged.
            transports: Transports that replace multirsh's own of these names; the fleet closes them.
            changes: Fields of ``RunOptions`` that replace those of ``options``: ``limits=Limits(fanout=8)``.

        Raises:
            UsageError: A host is named twice; the bind address is invalid, or not of this machine.
        """
        check_call(Fleet.__init__, locals())
        self._hosts = once_each(hosts)
        check_hosts(self._hosts)
        self._run_options, _ = _combined(options or DEFAULT_OPTIONS, NO_HOOKS, changes)
        self._options = TransportOptions(
            ssh=ssh or SshOptions(),
            rsh=rsh,
            exec=exec_options,
            settings=settings,
        )
        self._bind_address = None if bind_address is None else own_address(bind_address)
        self._warn = warn or logger.warning
        self._keeps = keep
        self._sudo_source = sudo_password or PasswordSource()
        self._sudo_password: Password | None = None
        self._password_queue: PasswordQueue | None = None
        self._given = dict(transports or {})
        self._resources: FleetResources | None = None
        self._runs: list[Run] = []
        self._opened = AsyncExitStack()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The fleet's hosts, in the order they are started."""
        return self._hosts

    async def __aenter__(self) -> Self:
        """Read what is needed once for all hosts.

        Raises:
            CredentialError: A key, a password or a known_hosts file cannot be used.
            UsageError: A transport is not installed.
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
        self._resources = FleetResources(
            transports=transports,
            ports=PortAllocator(budget=self._run_options.limits.ports),
            descriptors=PROCESS,
            warn=self._warn,
            bind_address=self._bind_address,
            pool=self._make_pool(transports.values()) if self._keeps else None,
        )
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop the runs that go on and wait until everything is closed, within the close timeout."""
        resources, self._resources = self._resources, None
        async with self._opened, AsyncExitStack() as kept:
            if resources is not None and resources.pool is not None:
                kept.push_async_callback(resources.pool.aclose)
            for run in self._runs:
                await run.aclose()
            self._runs.clear()

    def run(
        self,
        command: str | Command,
        options: RunOptions | None = None,
        *,
        stdin: bytes | Stdin | None = None,
        hosts: Sequence[Host] | None = None,
        hooks: RunHooks = NO_HOOKS,
        **changes: Any,
    ) -> Run:
        """Run ``command`` on every host, in its login shell.

        Args:
            command: The text that ssh would be given, or a ``Command`` with its environment, directory
                and the like.
            options: The options of this run; ``None`` for the fleet's.
            stdin: Its standard input, sent in full to every host; ``None`` for an input that is at its end.
            hosts: The hosts of the fleet to run it on; ``None`` for all of them.
            hooks: The gate, the prompt and the journal of this run.
            changes: Fields of ``RunOptions`` and ``RunHooks`` that replace those of ``options`` and
                ``hooks``: ``fail_fast=True``.

        Returns:
            The run; it starts when it is read.

        Raises:
            UsageError: The command is empty; a host is named twice, or is not of the fleet; a barrier has
                batches; a transport would send sudo's password in clear. Reading the run raises it, too, if
                there are fewer descriptors than hosts of a barrier.
            RuntimeError: It is called outside ``async with``.
        """
        check_call(Fleet.run, locals())
        options, hooks = _combined(options or self._run_options, hooks, changes)
        resources = self._entered()
        asked = Command(command) if isinstance(command, str) else command
        chosen = self._hosts if hosts is None else self._ours(hosts)
        sudo = options.sudo
        needs_tty = sudo is not None and sudo.needs_tty
        check_terminals(
            resources.transports, chosen, "--tty" if asked.tty else "--become" if needs_tty else None
        )
        runner = None if sudo is None else self._sudo_runner(sudo, chosen)
        prepare.check(asked, chosen, wrap=None if runner is None else runner.sample)
        given = Given(stdin) if isinstance(stdin, bytes) else stdin
        work_for = prepare.work(asked, given, runner=runner or prepare.DIRECT)
        return self._begin(asked.title, work_for, chosen, options, hooks)

    def push(
        self,
        sources: Sequence[FilePath],
        destination: FilePath,
        copy_options: CopyOptions | None = None,
        **keywords: Any,
    ) -> Run:
        """Copy files of this machine to every host.

        Args:
            sources: Files and directories of this machine.
            destination: A path on the hosts, relative to the home directory unless it is absolute. If it is a
                directory, the sources are copied into it; otherwise it is the new name of the only source.
            copy_options: How files are copied.
            keywords: The other keywords of ``copy``.

        Returns:
            The run; its ``Copied`` events report each file.

        Raises:
            UsageError: As ``run``; or a source cannot be read, or a host's transport cannot copy files.
            RuntimeError: It is called outside ``async with``.
        """
        from multirsh.files.jobs import PushJob  # noqa: PLC0415 - 20 modules that few runs need

        return self.copy(PushJob(sources, destination, copy_options), **keywords)

    def pull(
        self,
        sources: Sequence[FilePath],
        destination: FilePath,
        copy_options: CopyOptions | None = None,
        **keywords: Any,
    ) -> Run:
        """Copy files of every host to this machine, those of a host into ``destination/HOST``.

        Args:
            sources: Paths and patterns on the hosts, relative to the home directory unless they are absolute.
            destination: A directory of this machine; it is created if it does not exist.
            copy_options: How files are copied.
            keywords: The other keywords of ``copy``.

        Returns:
            The run; its ``Copied`` events report each file.

        Raises:
            UsageError: As ``run``; or the directory cannot be written to, or a host's transport cannot copy
                files.
            RuntimeError: It is called outside ``async with``.
        """
        from multirsh.files.jobs import PullJob  # noqa: PLC0415 - as of push

        return self.copy(PullJob(sources, destination, copy_options), **keywords)

    def copy(
        self,
        job: CopyJob,
        options: RunOptions | None = None,
        *,
        hosts: Sequence[Host] | None = None,
        hooks: RunHooks = NO_HOOKS,
        **changes: Any,
    ) -> Run:
        """Do a ``PushJob`` or a ``PullJob``; the keywords are those of ``run``.

        Raises:
            UsageError: As ``run``; or a host's transport cannot copy files.
            RuntimeError: It is called outside ``async with``.
        """
        from multirsh.files.access import RunAs  # noqa: PLC0415 - as of push

        check_call(Fleet.run, {"options": options, "hosts": hosts, "hooks": hooks})
        options, hooks = _combined(options or self._run_options, hooks, changes)
        resources = self._entered()
        chosen = self._hosts if hosts is None else self._ours(hosts)
        unable = [host for host in chosen if not resources.transports[transport_of(host)].converses]
        if unable:
            names = ", ".join(sorted({self._shown(transport_of(host)) for host in unable}))
            raise UsageError(
                f"no files can be copied by {names}: {fold(host.name for host in unable)}",
                hint="leave such hosts out with -x, or reach them by ssh",
            )
        for words in job.warnings:
            self._warn(words)
        sudo = options.sudo
        if sudo is not None and sudo.needs_tty:
            raise UsageError(
                f"no files can be copied by {sudo.by}, which needs a terminal", hint="use --sudo"
            )
        run_as = RunAs() if sudo is None else RunAs(self._sudo_runner(sudo, chosen), user=sudo.user)
        return self._begin(
            job.title, lambda assignment: job.copying(assignment.host, run_as), chosen, options, hooks
        )

    def routes(self, hosts: Sequence[Host] | None = None) -> Mapping[str, HostRoute]:
        """Return where hosts are and how they are logged in to, considering all options and ssh_config.

        It takes some microseconds for each host, and should be called in a thread if there are many; no run
        may go on meanwhile.

        Args:
            hosts: The hosts; ``None`` for all.

        Raises:
            RuntimeError: It is called outside ``async with``.
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

    def connections(self) -> tuple[PooledConnection, ...]:
        """Return the connections that are open between runs, as far as is known; none without ``keep``.

        Raises:
            RuntimeError: It is called outside ``async with``.
        """
        pool = self._entered().pool
        return () if pool is None else pool.connections()

    def statistics(self) -> PortStatistics | None:
        """Return the use of local ports by all connections so far; ``None`` without ``keep``.

        Raises:
            RuntimeError: It is called outside ``async with``.
        """
        pool = self._entered().pool
        return None if pool is None else pool.statistics()

    async def release(self, hosts: Sequence[Host] | None = None) -> Mapping[str, ClosedBy | None]:
        """Close connections that are open between runs; the next run logs in again.

        Args:
            hosts: The hosts whose connections are closed; ``None`` for all.

        Returns:
            The end that closed each connection first, by host; ``None`` if there was no socket of multirsh's
            own.

        Raises:
            RuntimeError: It is called outside ``async with``.
        """
        check_call(Fleet.release, locals())
        pool = self._entered().pool
        return {} if pool is None else await pool.release(self._hosts if hosts is None else hosts)

    def _make_pool(self, transports: Iterable[Transport]) -> ConnectionPool:
        """Make the pool, and claim descriptors for it until the fleet is left and the pool is closed."""
        per_host = max((transport.descriptors_per_host for transport in transports), default=1)
        most = PROCESS.set_aside(len(self._hosts), per_host=per_host)
        self._opened.callback(PROCESS.take_back, most, per_host=per_host)
        return ConnectionPool(most=most, warn=self._warn)

    def _sudo_runner(self, sudo: Sudo, hosts: Sequence[Host]) -> SudoRunner:
        """Return what runs commands as another user; a fleet has one queue for the password."""
        from multirsh.commands.sudo.runner import PasswordQueue, SudoRunner  # noqa: PLC0415 - for sudo alone

        if self._sudo_password is not None:
            check_privacy(self._entered().transports, hosts)
        if self._password_queue is None:
            self._password_queue = PasswordQueue(self._warn)
        return SudoRunner(sudo, self._sudo_password, self._password_queue)

    def _begin(
        self,
        title: str,
        work_for: Callable[[Assignment], Work],
        hosts: Sequence[Host],
        options: RunOptions,
        hooks: RunHooks,
    ) -> Run:
        if options.limits.ports != self._run_options.limits.ports:
            raise UsageError(
                "all runs of a fleet share one budget of local ports", hint="give it to the fleet"
            )
        work = RunWork(
            title=title,
            work_for=work_for,
            # The password of doas or su cannot end commands by sudo: that of su is another user's.
            sudo_password=no_password
            if options.sudo is None or options.sudo.needs_tty
            else self._proven_password,
        )
        run = Run(self._entered(), hosts, work, options, hooks)
        self._runs = [known for known in self._runs if not known.is_over]
        self._runs.append(run)
        return run

    def _proven_password(self) -> Password | None:
        """Return sudo's password if a host has accepted it and refusals have not stopped its use."""
        queue = self._password_queue
        return self._sudo_password if queue is not None and queue.is_proven else None

    def _entered(self) -> FleetResources:
        if self._resources is None:
            raise RuntimeError("a fleet works inside 'async with'")
        return self._resources

    def _ours(self, hosts: Sequence[Host]) -> tuple[Host, ...]:
        strangers = {host.name for host in hosts} - {host.name for host in self._hosts}
        if strangers:
            raise UsageError(f"not of this fleet: {fold(strangers)}", hint="make the fleet of all its hosts")
        return once_each(hosts)

    def _shown(self, transport: str) -> str:
        """Return a transport's name, or the class of the caller's own transport of that name."""
        given = self._given.get(transport)
        return str(transport) if given is None else type(given).__name__

    def _bytransport(self) -> Mapping[str, list[Host]]:
        found: dict[str, list[Host]] = {}
        for host in self._hosts:
            found.setdefault(transport_of(host), []).append(host)
        return found


def _combined(
    options: RunOptions, hooks: RunHooks, changes: Mapping[str, object]
) -> tuple[RunOptions, RunHooks]:
    """Return the options and the hooks with ``changes``, each of which is a field of one of the two.

    Raises:
        TypeError: One is no such field, or has another type.
    """
    for name in changes:
        if name not in field_hints(RunOptions) and name not in field_hints(RunHooks):
            raise TypeError(f"there is no parameter {name!r}")
    return updated(options, changes), updated(hooks, changes)


def run(
    hosts: Sequence[Host],
    command: str | Command,
    options: RunOptions | None = None,
    *,
    ssh: SshOptions | None = None,
    rsh: RshOptions | None = None,
    **changes: Any,
) -> Results:
    """Run ``command`` on ``hosts`` and wait for all of them: for scripts that have no event loop.

    Args:
        hosts: Each name once.
        command: As of ``Fleet.run``.
        options: The options of the run.
        ssh: The options of ssh, for all hosts.
        rsh: The options of rsh, for all hosts.
        changes: As of ``Fleet``.

    Raises:
        RuntimeError: It is called inside an event loop: use ``Fleet`` there.
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
        async with Fleet(hosts, options, ssh=ssh, rsh=rsh, **changes) as fleet:
            return await fleet.run(command).gather()

    return asyncio.run(together())
