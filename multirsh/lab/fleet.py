"""A running lab: ``async with Lab(LabOptions(hosts=10)) as lab``.

Its resources are opened in this order, and closed in the reverse order whatever happens:

::

    private folder ─▶ log level ─▶ commands' tasks ─▶ listeners ─▶ connections
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import pwd
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Self

import asyncssh

from multirsh.errors import UsageError
from multirsh.lab.gate import Gate
from multirsh.lab.plan import (
    MAX_HOSTS,
    MAX_PORT,
    Addressing,
    LabPlan,
    choose_addressing,
    plan_roster,
)
from multirsh.lab.service import Census, LabStatistics, Service
from multirsh.lab.shell import choose_shell
from multirsh.lab.sockets import (
    BACKLOG,
    endpoint_of,
    has_loopback_range,
    is_executable,
    open_listeners,
    reserve_descriptors,
)
from multirsh.lab.texts import hosts_yaml, known_hosts, ssh_config
from multirsh.ports.sockets import Endpoint

KEY_ALGORITHM: Final = "ssh-ed25519"

LOGIN_SECONDS: Final = 30
"""Seconds that a client may take to log in; the 120 of sshd are meant for networks."""

KEEPALIVE_SECONDS: Final = 30
"""Seconds of silence after which a client is sent a keepalive; three unanswered ones drop it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """The options of a lab.

    Attributes:
        hosts: The number of hosts.
        port: The port of all hosts, or the first of their ports if each has its own; 0 for any free port;
            ``None`` for 7722, or any free port if that is taken.
        user: The login name that is accepted; ``None`` for the current user's. Commands run as the current
            user in any case.
        addressing: Whether the hosts differ by address or by port; ``None`` for addresses if the machine
            supports them.
        kill_after: Seconds from TERM to KILL for a command whose connection was lost.
        parent: The directory in which the lab's private one is created; ``None`` for the default temporary
            directory.

    Raises:
        UsageError: A number is out of range.
    """

    hosts: int = 10
    port: int | None = None
    user: str | None = None
    addressing: Addressing | None = None
    kill_after: float = 2.0
    parent: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= MAX_HOSTS:
            raise UsageError(f"a lab has 1 to {MAX_HOSTS} hosts, not {self.hosts}")
        if self.port is not None and not 0 <= self.port <= MAX_PORT:
            raise UsageError(f"a port is a number from 0 to {MAX_PORT}, not {self.port}")


class Lab:
    """A fleet of SSH servers on loopback, which run during the ``async with`` block.

    The attributes are set inside the block only; the files are removed at its end.

    Attributes:
        folder: A private directory, mode 0700, with the files below.
        hosts_file: The hosts file of the fleet, for multirsh.
        ssh_config: The configuration file of the fleet, for ssh: ``ssh -F FILE web01``.
        known_hosts: The host keys.
        client_key: The private key that is accepted, without a passphrase.
        names: The names of the hosts, in order.
        user: The login name that is accepted.
    """

    folder: Path
    hosts_file: Path
    ssh_config: Path
    known_hosts: Path
    client_key: Path
    names: tuple[str, ...]
    user: str

    def __init__(self, options: LabOptions | None = None) -> None:
        self.options = LabOptions() if options is None else options
        self._stack = contextlib.AsyncExitStack()
        self._census = Census()
        self._endpoints: Mapping[str, Endpoint] = MappingProxyType({})

    async def __aenter__(self) -> Self:
        """Start the fleet.

        Raises:
            UsageError: The port is taken, or the process may not open enough files for so many hosts.
            OSError: The sockets or files cannot be created for another reason.
        """
        async with contextlib.AsyncExitStack() as opened:
            await self._open(opened)
            self._stack = opened.pop_all()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the connections, commands and listeners, and remove the files."""
        await self._stack.__aexit__(exc_type, exc_value, traceback)

    def address_of(self, name: str) -> Endpoint:
        """Return the address and port of a host.

        Raises:
            KeyError: The lab has no host of that name.
        """
        return self._endpoints[name]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command-line options with which multirsh uses this fleet and nothing else."""
        return ("-F", str(self.ssh_config), "-f", str(self.hosts_file))

    @property
    def connections(self) -> int:
        """The number of open TCP connections."""
        return len(self._census.connections)

    def statistics(self) -> LabStatistics:
        """Return the counts of the lab so far."""
        return self._census.statistics()

    async def _open(self, opened: contextlib.AsyncExitStack) -> None:
        options = self.options
        reserve_descriptors(options.hosts)
        roster = plan_roster(options.hosts)
        addressing = choose_addressing(forced=options.addressing, has_range=has_loopback_range())
        account = _current_user()
        self.user = account if options.user is None else options.user

        self.folder = opened.enter_context(_private_folder(options.parent))
        opened.enter_context(_quiet_asyncssh())
        listeners = open_listeners(options.hosts, addressing=addressing, port=options.port)
        for listener in listeners:
            opened.callback(listener.close)
        plan = LabPlan(roster=roster, endpoints=tuple(map(endpoint_of, listeners)))
        self.names = roster.names
        self._endpoints = MappingProxyType(dict(plan.pairs()))
        client_key = asyncssh.generate_private_key(KEY_ALGORITHM)
        host_keys = {name: asyncssh.generate_private_key(KEY_ALGORITHM) for name in roster.names}
        self._write_files(plan, client_key=client_key, host_keys=host_keys)

        service = Service(
            user=self.user,
            account=account,
            client_key=client_key.public_data,
            endpoints=frozenset(plan.endpoints),
            environ=dict(os.environ),
            shell=choose_shell(os.environ, is_executable=is_executable),
            folder=_start_folder(),
            grace=options.kill_after,
            tasks=await opened.enter_async_context(_owned_tasks()),
            census=self._census,
        )
        doors = [
            (name, listener, host_keys[name]) for name, listener in zip(self.names, listeners, strict=True)
        ]
        await opened.enter_async_context(_open_doors(doors, service=service))

    def _write_files(
        self,
        plan: LabPlan,
        *,
        client_key: asyncssh.SSHKey,
        host_keys: Mapping[str, asyncssh.SSHKey],
    ) -> None:
        """Write the files that clients need; the hosts' private keys stay in memory."""
        self.client_key = self.folder / "client_key"
        self.known_hosts = self.folder / "known_hosts"
        self.ssh_config = self.folder / "ssh_config"
        self.hosts_file = self.folder / "hosts.yaml"
        # Created with its mode, so that others can never read the key.
        self.client_key.touch(mode=0o600, exist_ok=False)
        self.client_key.write_bytes(client_key.export_private_key())
        public_keys = {
            name: key.export_public_key().decode("ascii").strip() for name, key in host_keys.items()
        }
        self.known_hosts.write_text(known_hosts(plan, keys=public_keys))
        self.ssh_config.write_text(
            ssh_config(plan, user=self.user, identity=self.client_key, known_hosts=self.known_hosts)
        )
        self.hosts_file.write_text(hosts_yaml(plan, user=self.user, identity=self.client_key))


@contextlib.contextmanager
def _private_folder(parent: Path | None) -> Iterator[Path]:
    """Create a directory that only this user can read, and remove it at the end whatever happens."""
    folder = Path(tempfile.mkdtemp(prefix="multirsh-lab-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet_asyncssh() -> Iterator[None]:
    """Keep asyncssh's messages about every connection out of the log, unless the program has set a level."""
    logger = logging.getLogger("asyncssh")
    if logger.level != logging.NOTSET:
        yield
        return
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(logging.NOTSET)


@contextlib.asynccontextmanager
async def _owned_tasks() -> AsyncIterator[asyncio.TaskGroup]:
    """Make a task group that waits for its tasks even if the block raises an error.

    A plain TaskGroup would cancel all tasks then, and wrap the error in a group.
    """
    failure: BaseException | None = None
    async with asyncio.TaskGroup() as tasks:
        try:
            yield tasks
        except BaseException as error:  # noqa: BLE001 - raised again below
            failure = error
    if failure is not None:
        raise failure


@contextlib.asynccontextmanager
async def _open_doors(
    doors: Sequence[tuple[str, socket.socket, asyncssh.SSHKey]], *, service: Service
) -> AsyncIterator[None]:
    """Accept clients during the block, and disconnect them all at its end.

    Listeners are closed before connections, so that no new connection is
    accepted. Connections are waited for before listeners, because since Python
    3.12 a listener is not closed while one of its connections is open.
    """
    acceptors: list[asyncssh.SSHAcceptor] = []
    try:
        for name, listener, host_key in doors:
            acceptors.append(await _open_door(name, listener=listener, host_key=host_key, service=service))
        yield
    finally:
        service.census.is_closing = True
        for acceptor in acceptors:
            acceptor.close()
        leaving = tuple(service.census.connections)
        for connection in leaving:
            connection.disconnect(asyncssh.DISC_BY_APPLICATION, "the lab is closing")
        for connection in leaving:
            await connection.wait_closed()
        for acceptor in acceptors:
            await acceptor.wait_closed()


async def _open_door(
    name: str, *, listener: socket.socket, host_key: asyncssh.SSHKey, service: Service
) -> asyncssh.SSHAcceptor:
    """Serve one host.

    The options turn features of asyncssh off: ``gss_host=None`` the lookup of
    this machine's name, ``encoding=None`` decoding, ``line_editor`` and
    ``allow_pty`` terminals.
    """
    return await asyncssh.listen(
        sock=listener,
        backlog=BACKLOG,
        server_factory=functools.partial(Gate, host=name, service=service),
        server_host_keys=[host_key],
        config=None,
        encoding=None,
        allow_pty=False,
        line_editor=False,
        agent_forwarding=False,
        x11_forwarding=False,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        gss_kex=False,
        gss_auth=False,
        login_timeout=LOGIN_SECONDS,
        keepalive_interval=KEEPALIVE_SECONDS,
    )


def _current_user() -> str:
    """Return the current user's name from the password database, regardless of the environment."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # in a container, a user ID may have no name
        return str(os.getuid())


def _start_folder() -> str:
    """Return the working directory of commands: the home directory, or ``/`` if there is none, as in sshd."""
    home = Path(os.environ.get("HOME", "/"))
    return str(home) if home.is_dir() and os.access(home, os.X_OK) else "/"
