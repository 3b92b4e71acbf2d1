"""The ssh transport of a fleet, and the connections of one run, including its shared jump hosts.

What is the same for many hosts is read once. Each jump host has one connection,
opened by the first host that needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from multirsh.errors import HostError, UsageError
from multirsh.model import (
    NO_SETTINGS,
    ErrorKind,
    Failure,
    Host,
    HostRoute,
    Phase,
    RouteSettings,
    Settings,
    SourcePort,
    Status,
    TransportName,
    digest,
)
from multirsh.transports.base import Destination, Warn, congestion_of
from multirsh.transports.dialling import Dialler
from multirsh.transports.login_deadline import LoginDeadline
from multirsh.transports.messages import one_line
from multirsh.transports.options import SshOptions
from multirsh.transports.ssh.config import (
    Directive,
    Hop,
    IdentitySource,
    Place,
    SshConfig,
    SshSettings,
    SshTarget,
    read_config,
    read_jump,
    read_options,
)
from multirsh.transports.ssh.config.directives import values_of
from multirsh.transports.ssh.connection import SshConnection
from multirsh.transports.ssh.credentials import KeyChoice, KeyRing
from multirsh.transports.ssh.known_hosts import KnownHosts
from multirsh.transports.ssh.login import (
    AskedPassword,
    Chain,
    GivenPassword,
    LoginPassword,
    Plan,
    Prepared,
    base_options,
)
from multirsh.transports.threads import in_daemon_thread


class Planner(Protocol):
    """Plans how hosts are reached; the transport implements it."""

    def plan(self, host: Host) -> Plan:
        """Return how to reach ``host``."""

    def plan_jump(self, chain: Chain) -> Plan:
        """Return how to reach the last host of ``chain``, a jump host."""

    def warn(self, message: str) -> None:
        """Show a warning to the user."""


MOST_DROPS = 8
"""How many times in a row a jump host may drop the connection before it counts as unreachable. The governor
gives up on it earlier; hosts that come later must not all try it once more."""


class _JumpConnection:
    """The state of one jump host in a run.

    Attributes:
        connection: Its connection, once it has been opened.
        failure: Why the last attempt to open it failed.
        is_given_up: Whether that failure holds for the rest of the run.
        drops: How many times in a row the jump host has dropped the connection.
        failures: How many attempts have failed.
    """

    __slots__ = ("_lock", "_opening", "connection", "drops", "failure", "failures", "is_given_up")

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._opening: LoginDeadline | None = None
        self.connection: SshConnection | None = None
        self.failure: tuple[Status, Failure | None] | None = None
        self.is_given_up = False
        self.drops = self.failures = 0

    @property
    def is_open(self) -> bool:
        """Whether hosts can go through it."""
        return self.connection is not None and self.connection.is_open

    @contextlib.asynccontextmanager
    async def turn(self, login_deadline: LoginDeadline) -> AsyncGenerator[None, None]:
        """Admit one host at a time; the others' deadlines are paused while it waits for a local port."""
        with login_deadline.beside(self._opening):
            await self._lock.acquire()
        self._opening = login_deadline
        try:
            yield
        finally:
            self._opening = None
            self._lock.release()

    def entered(self, connection: SshConnection) -> None:
        """Record a successful login."""
        self.connection = connection
        self.drops = 0

    def failed(self, status: Status, failure: Failure | None) -> None:
        """Record a failed attempt."""
        self.failure = (status, failure)
        self.failures += 1
        self.drops = self.drops + 1 if congestion_of(status, failure) else MOST_DROPS
        self.is_given_up = self.drops >= MOST_DROPS


class SshConnector:
    """A ``Connector`` (``transports.base``).

    A jump host that could not be entered counts as failed for the rest of the
    run: a thousand hosts behind a dead bastion fail at once instead of each
    waiting for its timeout. One that dropped the connection because it was busy
    is tried again for the next host, and one that was entered and died is entered
    again.

    Attributes:
        dialler: Makes TCP connections.
    """

    def __init__(self, planner: Planner, dialler: Dialler) -> None:
        """Begin a run.

        Args:
            planner: Plans how a host is reached.
            dialler: Makes TCP connections.
        """
        self.dialler = dialler
        self._planner = planner
        self._jump_hosts: dict[Chain, _JumpConnection] = {}

    def destination(self, host: Host) -> Destination | None:
        """The destination of the local socket; ``None`` behind a jump host or with a proxy command."""
        try:
            plan = self._planner.plan(host)
        except Exception:  # noqa: BLE001 - reported when the connection is opened
            return None
        return (
            None
            if plan.jump or plan.proxy_command is not None
            else Destination(plan.address, plan.port, plan.family)
        )

    def hop(self, host: Host) -> Hashable | None:
        """Where the next login on the way to ``host`` is; ``None`` if unknown, as with a proxy command."""
        try:
            plan = self._planner.plan(host)
            while plan.jump and self._is_to_be_entered(plan.jump):
                plan = self._planner.plan_jump(plan.jump)
        except Exception:  # noqa: BLE001 - reported when the connection is opened
            return None
        return None if plan.proxy_command is not None else (plan.jump, plan.address, plan.port)

    def _is_to_be_entered(self, chain: Chain) -> bool:
        known = self._jump_hosts.get(chain)
        return known is None or not (known.is_open or known.is_given_up)

    def warn(self, message: str) -> None:
        """Pass a warning about a server to the user."""
        self._planner.warn(message)

    def connection(self, host: Host) -> SshConnection:
        """Make a connection to ``host``; it is not opened yet."""
        return SshConnection(self, host, plan=lambda: self._planner.plan(host))

    async def through(self, chain: Chain, login_deadline: LoginDeadline) -> SshConnection:
        """Return the shared connection to the last host of ``chain``.

        The first caller opens it, within its own connect timeout; the others wait for it within theirs, and
        fail with it.

        Raises:
            HostError: It could not be opened.
        """
        jump_host = self._jump_hosts.setdefault(chain, _JumpConnection())
        failures_before = jump_host.failures
        async with jump_host.turn(login_deadline):
            if jump_host.connection is not None and jump_host.connection.is_open:
                return jump_host.connection
            has_failed = jump_host.failures > failures_before
            if jump_host.failure is not None and (jump_host.is_given_up or has_failed):
                # A fresh exception: it would otherwise keep the frames of every caller that raised it.
                raise HostError(chain[-1].host, *jump_host.failure)
            connection = SshConnection(self, host_of(chain), plan=lambda: self._planner.plan_jump(chain))
            try:
                await connection.open(login_deadline)
            except BaseException as error:
                jump_host.failed(*_reason(error, connection.phase))
                connection.close()
                raise
            jump_host.entered(connection)
            return connection

    async def release(self) -> None:
        """Close the connections to jump hosts, those reached through others first."""
        for depth in sorted({len(chain) for chain in self._jump_hosts}, reverse=True):
            level = [
                known.connection
                for chain, known in self._jump_hosts.items()
                if len(chain) == depth and known.connection is not None
            ]
            for connection in level:
                connection.close()
            for connection in level:  # concurrently, so that unresponsive ones cost one close timeout in all
                await connection.closed()


def _reason(error: BaseException, phase: Phase) -> tuple[Status, Failure | None]:
    """Return the status and failure of a jump host, for the hosts that need it later."""
    if isinstance(error, HostError):
        return error.status, error.failure
    # The host that opened it was given up on, probably by timeout, all of which the jump host used up.
    return Status.TIMEOUT, Failure(ErrorKind.TIMEOUT, phase, "not logged in in time")


def host_of(chain: Chain) -> Host:
    """Return the chain's last hop as a host that is reached through the hops before it."""
    *before, last = chain
    # If no hops come before it, ssh_config may name some, as when ssh nests them.
    jump = ",".join(map(str, before)) or None
    return Host(name=last.host, settings=Settings(user=last.user, port=last.port, jump=jump))


DEEPEST_JUMP = 8
"""Maximum depth of nested jump hosts: beyond it, ssh_config names a jump host as its own."""

NOT_FOR_JUMP_HOSTS = (
    "the password that was given is for the hosts and not for the jump host: "
    "give the jump host a key, or run at a terminal to be asked for its password"
)

_HOSTS_OWN = frozenset({"hostkeyalias", "hostname", "port", "proxycommand", "proxyjump", "user"})


class _JumpHost(NamedTuple):
    """One jump host on the way.

    Attributes:
        name: The name that ssh_config is evaluated for.
        address: The address to connect to.
        settings: The result of ssh_config.
    """

    name: str
    address: str
    settings: SshSettings


class SshTransport:
    """A ``Transport`` (``transports.base``) by asyncssh."""

    def __init__(self, options: SshOptions, warn: Warn) -> None:
        """Store the options; nothing is read yet.

        Args:
            options: Options that apply to all hosts.
            warn: Shows a warning to the user.
        """
        self._options = options
        self.warn = warn
        self._config: SshConfig | None = None
        self._jump_config: SshConfig | None = None
        self._said = NO_SETTINGS
        self._is_host_name_said = False
        self._ways: dict[tuple[int, SourcePort | None], RouteSettings] = {}
        self._on_the_way: dict[Chain, tuple[_JumpHost, ...]] = {}
        self._keys = KeyRing()
        self._password: GivenPassword | None = None
        self._jump_passwords: dict[tuple[str, str, int], AskedPassword] = {}
        self._known_hosts: dict[tuple[object, ...], KnownHosts] = {}
        self._prepared: dict[SshSettings, Prepared] = {}

    @property
    def descriptors_per_host(self) -> int:
        """The socket, or the local end of a ProxyCommand's; and the agent's, for a remote that may use it."""
        return 2 if self._options.forward_agent else 1

    @property
    def converses(self) -> bool:
        """A channel carries both directions at once."""
        return True

    @property
    def is_private(self) -> bool:
        """SSH is encrypted."""
        return True

    @property
    def has_terminals(self) -> bool:
        """SSH has terminals (RFC 4254, section 6.2)."""
        return True

    async def prepare(self, hosts: Sequence[Host]) -> None:
        """Read ssh_config, keys, known hosts and the password, for ``hosts`` and their jump hosts.

        Raises:
            UsageError: A line of ssh_config or an option is invalid.
            CredentialError: A key, the password or a known_hosts file cannot be used.
        """
        options = self._options
        self._config = await in_daemon_thread(
            lambda: read_config(file=options.config_file, options=options.overrides),
            name="multirsh-ssh-config",
            or_here=True,
        )
        said = list(read_options(options.overrides, ignored=[]))
        self._said = _settings_of(said)
        self._is_host_name_said = any(directive.keyword == "hostname" for directive in said)
        on_the_way = _for_jump_hosts(options.overrides)
        self._jump_config = self._config
        if on_the_way != options.overrides:
            self._jump_config = await in_daemon_thread(
                lambda: read_config(file=options.config_file, options=on_the_way),
                name="multirsh-ssh-config",
                or_here=True,
            )
        settings: dict[SshSettings, None] = {}
        # In a thread: Match exec runs the user's commands.
        await in_daemon_thread(
            lambda: self._collect_all(hosts, settings), name="multirsh-ssh-config", or_here=True
        )
        password = await in_daemon_thread(
            lambda: options.password.read(options.ask), name="multirsh-password", or_here=True
        )
        self._password = None if password is None else GivenPassword(password)
        is_batch = any(found.batch_mode for found in settings)
        self._keys = KeyRing(ask=None if is_batch else options.ask)
        await self._keys.load(map(KeyChoice.of, settings), open_usual=self._password is None)
        for found in settings:
            self._prepared[found] = self._prepare(found)
        for warning in (*self._config.warnings, *self._keys.warnings, *self._known_hosts_warnings()):
            self.warn(warning)

    def connector(self, dialler: Dialler) -> SshConnector:
        """Begin a run."""
        return SshConnector(self, dialler)

    async def close(self) -> None:
        """Close the connections to agents."""
        await self._keys.close()

    def plan(self, host: Host) -> Plan:
        """Return how to reach ``host``: with the hosts' password, and the agent if it is forwarded."""
        said = self._settings(host)
        target = self._target(host, said)
        settings = target.settings
        return Plan(
            address=target.hostname,
            policy=said.host_keys or settings.strict_host_key_checking,
            prepared=self._prepared[settings],
            login_password=self._password,
            forwarded_agent=settings.identity_agent if self._options.forward_agent else None,
        )

    def plan_jump(self, chain: Chain) -> Plan:
        """Return how to reach the last host of ``chain``, a jump host.

        The command does not run on a jump host, so it gets neither the hosts' password nor the agent.
        """
        target = self._jump_target(chain)
        settings = target.settings
        password = self._jump_password(chain[-1].host, target)
        return Plan(
            address=target.hostname,
            policy=self._options.settings.host_keys or settings.strict_host_key_checking,
            prepared=self._prepared[settings],
            login_password=password,
            if_denied=NOT_FOR_JUMP_HOSTS if password is None and self._password is not None else "",
        )

    def _jump_password(self, name: str, target: SshTarget) -> LoginPassword | None:
        """Return the password of a jump host's user, with a prompt that names both and appears when needed.

        Only a run that has a password for its hosts has one: otherwise the terminal may be unattended.
        """
        settings, ask = target.settings, self._options.ask
        if ask is None or self._password is None or settings.batch_mode:
            return None
        key = (settings.user, target.hostname, settings.port)
        if key not in self._jump_passwords:
            prompt = one_line(f"{settings.user}@{name}'s password:")
            self._jump_passwords[key] = AskedPassword(ask, f"{prompt} ")
        return self._jump_passwords[key]

    def route(self, host: Host) -> HostRoute:
        """Return the address of ``host`` and how it is entered."""
        settings = self._settings(host)
        target = self._target(host, settings)
        key = (id(target.settings), settings.source_port)  # equal settings are one object
        way = self._ways.get(key)
        if way is None:
            way = self._ways[key] = self._way(target.settings, settings)
        return HostRoute(host.target, target.hostname, way)

    def _way(self, found: SshSettings, said: Settings) -> RouteSettings:
        hops = self._hops(found.proxy_jump)
        program = hops[0].settings.proxy_command if hops else found.proxy_command
        jump = ",".join(str(Hop(hop.settings.user, hop.name, hop.settings.port)) for hop in hops)
        return RouteSettings(
            settings=Settings(
                user=found.user,
                port=found.port,
                identity=_absolute_identity(found),
                # An empty list is recorded too, unless a ProxyCommand takes its place.
                jump=jump or ("none" if program is None else None),
                transport=TransportName.SSH.value,
                source_port=said.source_port,
            ),
            hops=tuple((hop.name, hop.address) for hop in hops),
            program=None if program is None else digest(program),
        )

    def _hops(self, chain: Chain) -> tuple[_JumpHost, ...]:
        """Return the jump hosts of ``chain``, nearest first, preceded by those that lead to its first."""
        if chain and chain not in self._on_the_way:
            found = [self._jump_target(chain[: place + 1]) for place in range(len(chain))]
            self._on_the_way[chain] = (
                *self._hops(found[0].settings.proxy_jump),
                *(
                    _JumpHost(hop.host, target.hostname, target.settings)
                    for hop, target in zip(chain, found, strict=True)
                ),
            )
        return self._on_the_way.get(chain, ())

    def _settings(self, host: Host) -> Settings:
        return self._options.settings.or_else(self._said).or_else(host.settings)

    def _jump_target(self, chain: Chain) -> SshTarget:
        """Evaluate ssh_config for a jump host; as in ssh, ``-l``, ``-p``, ``-i`` and ``-J`` do not apply."""
        host = host_of(chain)
        return _target(self._jump_config, host, host.settings, self._options.addresses)

    def _target(self, host: Host, settings: Settings) -> SshTarget:
        addresses = {} if self._is_host_name_said else self._options.addresses
        return _target(self._config, host, settings, addresses)

    def _collect_all(self, hosts: Iterable[Host], found: dict[SshSettings, None]) -> None:
        for host in hosts:
            self._collect(host, found)

    def _collect(self, host: Host, found: dict[SshSettings, None]) -> None:
        """Add the settings of ``host``, and those of every jump host on the way to it.

        Raises:
            UsageError: A host is its own jump host.
        """
        settings = self._target(host, self._settings(host)).settings
        if settings not in found:
            self._collect_jumps(settings.proxy_jump, found)
            found[settings] = None

    def _collect_jumps(self, chain: Chain, found: dict[SshSettings, None], *, depth: int = 1) -> None:
        if not chain:
            return
        if depth > DEEPEST_JUMP:
            raise UsageError(
                f"{chain[-1].host} is reached through itself",
                hint="give the jump host a Host block of its own with 'ProxyJump none' in ssh_config",
            )
        settings = self._jump_target(chain).settings
        self._collect_jumps(settings.proxy_jump, found, depth=depth + 1)
        found[settings] = None

    def _prepare(self, settings: SshSettings) -> Prepared:
        files = (
            settings.user_known_hosts_files,
            settings.global_known_hosts_files,
            settings.revoked_host_keys,
        )
        if files not in self._known_hosts:
            self._known_hosts[files] = KnownHosts.read(files[0], files[1], revoked_file=files[2])
        choice = KeyChoice.of(settings)
        try:
            base = base_options(settings)
        except ValueError as error:
            raise UsageError(f"ssh_config: {error}") from error
        return Prepared(
            settings=settings,
            known_hosts=self._known_hosts[files],
            key_pairs=lambda: self._keys.pairs(choice),
            base=base,
        )

    def _known_hosts_warnings(self) -> Iterator[str]:
        for known_hosts in self._known_hosts.values():
            yield from known_hosts.warnings


def _target(
    config: SshConfig | None, host: Host, settings: Settings, addresses: Mapping[str, str]
) -> SshTarget:
    """Evaluate ssh_config for ``host``; ``settings`` and ``addresses`` take precedence."""
    if config is None:
        raise RuntimeError("prepare() comes first")
    ask = partial(
        config.target,
        host.target,
        user=settings.user,
        port=settings.port,
        identities=() if settings.identity is None else (settings.identity,),
        jump=None if settings.jump is None else read_jump(settings.jump, Place(f"jump of {host.name}")),
    )
    found = ask()
    address = addresses.get(host.target, found.hostname)
    # Override only what differs: hosts to which the same lines apply share their settings.
    return found if address == found.hostname else ask(address=address)


def _absolute_identity(settings: SshSettings) -> str | None:
    """Return the absolute path of the key that was named by an option or for the host, for a later run."""
    first = next(iter(settings.identity_files), None)
    if first is None or first.source is not IdentitySource.OPTION:
        return None
    return os.path.abspath(first.path)  # noqa: PTH100 - symbolic links are kept


def _for_jump_hosts(options: Sequence[str]) -> tuple[str, ...]:
    """Select the ``-o`` options that apply to jump hosts, too: all but those that set host, user or route.

    ssh passes none of them on (ssh(1), -J); but one known_hosts file, or one key, usually serves a whole run.
    """
    ignored: list[str] = []
    return tuple(
        option
        for option in options
        if not any(directive.keyword in _HOSTS_OWN for directive in read_options([option], ignored=ignored))
    )


def _settings_of(options: Iterable[Directive]) -> Settings:
    """Extract the ``-o`` options that a hosts file can set, too: the command line takes precedence."""
    said: dict[str, Any] = {}
    for directive in options:
        for name, value in values_of(directive):
            said.setdefault(name, value)
    user, identity, jump = said.get("user"), said.get("identityfile"), said.get("proxyjump")
    if identity is not None and identity.text.lower() == "none":
        identity = None  # no key from ssh_config; the hosts file may still name one
    return Settings(
        user=None if user is None else user.name,
        port=said.get("port"),
        identity=None if identity is None else identity.text,
        jump=None if jump is None else ",".join(map(str, jump.hops)) or "none",
        host_keys=said.get("stricthostkeychecking"),
    )
