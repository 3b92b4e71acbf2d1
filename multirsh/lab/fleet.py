"""A lab from its first key to its last process: ``async with Lab(LabOptions(hosts=10)) as lab``.

What is opened is closed in the reverse order, whatever happens in between:

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
    make_room,
    open_listeners,
)
from multirsh.lab.texts import hosts_yaml, known_hosts, ssh_config
from multirsh.ports.sockets import Endpoint

KEY_ALGORITHM: Final = "ssh-ed25519"

LOGIN_SECONDS: Final = 30
"""How long a client may take to log in; sshd's 120 is for networks, and this is none."""

KEEPALIVE_SECONDS: Final = 30
"""Quiet time after which a client is asked whether it still lives; after three questions it is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabOptions:
    """How a lab is to be.

    Attributes:
        hosts: How many.
        port: Where they listen, or the first of their ports where ports tell them apart; 0 for any free;
            ``None`` for 7722, or any free where that is taken.
        user: The login name that gets in; ``None`` for the current user's. Commands run as the current
            user either way.
        addressing: How hosts are told apart; ``None`` for what this machine can do.
        kill_after: Seconds from TERM to KILL for a command whose connection went away.
        parent: The folder in which the private one is made; ``None`` for the usual temporary one.

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
    """A fleet of SSH servers on loopback, running while the ``async with`` block does.

    Everything below is there inside the block only; the files are gone after it.

    Attributes:
        folder: A private folder, mode 0700, with the files that follow.
        hosts_file: The fleet as multirsh reads it.
        ssh_config: The fleet as ssh reads it: ``ssh -F FILE web01``.
        known_hosts: The hosts' keys.
        client_key: The private key that gets in, without a passphrase.
        names: The hosts' names, in order.
        user: The login name that gets in.
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
            UsageError: The port, or room for so many hosts, cannot be had.
            OSError: The machine refuses for another reason.
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
        """End it: connections, commands, listeners, files."""
        await self._stack.__aexit__(exc_type, exc_value, traceback)

    def address_of(self, name: str) -> Endpoint:
        """Where a host listens.

        Raises:
            KeyError: The lab has no host of that name.
        """
        return self._endpoints[name]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The options with which multirsh, in any terminal, sees this fleet and nothing else."""
        return ("-F", str(self.ssh_config), "-f", str(self.hosts_file))

    @property
    def connections(self) -> int:
        """TCP connections that are open now."""
        return len(self._census.connections)

    def statistics(self) -> LabStatistics:
        """What the lab has seen so far."""
        return self._census.statistics()

    async def _open(self, opened: contextlib.AsyncExitStack) -> None:
        options = self.options
        make_room(options.hosts)
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
        """Write down what clients need; the hosts' private keys stay in memory."""
        self.client_key = self.folder / "client_key"
        self.known_hosts = self.folder / "known_hosts"
        self.ssh_config = self.folder / "ssh_config"
        self.hosts_file = self.folder / "hosts.yaml"
        # Made with its mode, for a key that others can read even for a moment is refused by ssh.
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
    """A folder for this user's eyes, removed at the end whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="multirsh-lab-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _quiet_asyncssh() -> Iterator[None]:
    """Keep asyncssh's notes on every connection out of the log, unless the program wants them."""
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
    """A task group that waits for its tasks, and leaves an error of the block's own as it is.

    A plain TaskGroup would cancel them all at once and wrap the error in a group.
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
    """Let clients in while the block runs; then send everyone home.

    Listeners close before connections do, so that nobody comes in behind; and
    connections before listeners are waited for, since Python 3.12 a listener
    is not closed while one of its connections is open.
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

    Each option that is set keeps asyncssh from something: ``gss_host=None``
    from looking this machine's name up, ``encoding=None`` from decoding,
    ``line_editor`` and ``allow_pty`` from playing a terminal.
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
    """The current user's name by the password database, whatever the environment says."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's number without a name
        return str(os.getuid())


def _start_folder() -> str:
    """Where commands start: the home folder, or ``/`` where there is none, as in sshd."""
    home = Path(os.environ.get("HOME", "/"))
    return str(home) if home.is_dir() and os.access(home, os.X_OK) else "/"
