"""The frozen values that every package uses: hosts, how they are reached, how they ended, and why.

A ``Host`` holds what a hosts file or ``-w`` says. The options of the command line take precedence over it,
and ssh_config and the transport's own defaults come after it; a ``HostRoute`` is the result of all of them.

Nothing here uses an event loop, a socket, a clock or a file.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from multirsh.arguments import check_fields
from multirsh.names import check_host, check_jump, check_name, check_port, check_user

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Scalar: TypeAlias = str | int | float | bool | None
"""What a host's variable may be."""

NO_VARS: Final[Mapping[str, Scalar]] = MappingProxyType({})


class TransportName(enum.StrEnum):
    """The ways to reach a host that are multirsh's own (``-R``); others may be installed beside them."""

    SSH = "ssh"
    RSH = "rsh"
    EXEC = "exec"
    LOCAL = "local"


class HostKeyPolicy(enum.StrEnum):
    """What is done with a host key that is not in any known_hosts file.

    A key that *contradicts* the files is refused under the first two.
    """

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"
    OFF = "off"


class SourcePort(enum.StrEnum):
    """Which local ports a host's connection may leave from."""

    EPHEMERAL = "ephemeral"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to connect to a host; ``None`` says "not said here".

    Hosts that were given the same settings share one object, so a fleet of
    100,000 costs one ``Settings`` for each distinct combination, and a
    transport can key its prepared options by it.

    Attributes:
        user: Login name on the remote.
        port: TCP port, 1-65535.
        identity: Path of a private key, as written (``~`` not expanded).
        jump: Hosts to hop through, in ssh's ``[user@]host[:port][,...]``; ``"none"`` for no jump.
        transport: Which transport reaches the host: a ``TransportName``, or the name of an installed one.
        source_port: Which local ports to leave from.
        host_keys: Policy for unknown host keys.

    Raises:
        UsageError: The user, the port or a jump host cannot be one (``multirsh.names``).
        TypeError: One of them is of another type.
    """

    user: str | None = None
    port: int | None = None
    identity: str | None = None
    jump: str | None = None
    transport: str | None = None
    source_port: SourcePort | None = None
    host_keys: HostKeyPolicy | None = None

    def __post_init__(self) -> None:
        try:
            if self.user is not None:
                check_user(self.user, "the user")
            if self.port is not None:
                check_port(self.port, "the port")
            if self.jump is not None:
                check_jump(self.jump)
        except (TypeError, AttributeError):
            check_fields(self)  # which says what is of the wrong type
            raise

    def or_else(self, fallback: Settings) -> Settings:
        """Fill what is not said here from ``fallback``; what is said stays."""
        return Settings(
            user=fallback.user if self.user is None else self.user,
            port=fallback.port if self.port is None else self.port,
            identity=fallback.identity if self.identity is None else self.identity,
            jump=fallback.jump if self.jump is None else self.jump,
            transport=fallback.transport if self.transport is None else self.transport,
            source_port=fallback.source_port if self.source_port is None else self.source_port,
            host_keys=fallback.host_keys if self.host_keys is None else self.host_keys,
        )


NO_SETTINGS: Final = Settings()


@dataclass(frozen=True, slots=True)
class Host:
    """One machine to run on.

    Attributes:
        name: What people call it: in output, in events, in selections. Unique in a run.
        address: Where to connect: a name or an IP literal (no brackets, no port); ``None`` means ``name``.
        settings: How to connect; shared between hosts.
        vars: The user's variables; shared between hosts, never changed.

    Raises:
        UsageError: The name or the address cannot be a host's (``multirsh.names``).
        TypeError: One of them is of another type.
    """

    name: str
    address: str | None = None
    settings: Settings = NO_SETTINGS
    vars: Mapping[str, Scalar] = field(default_factory=lambda: NO_VARS, hash=False, compare=False)

    def __post_init__(self) -> None:
        try:
            check_name(self.name, "the name of a host")
            if self.address is not None:
                check_host(self.address, f"the address of {self.name}")
        except (TypeError, AttributeError):
            check_fields(self)  # which says what is of the wrong type
            raise

    @property
    def target(self) -> str:
        """The name or address to connect to."""
        return self.name if self.address is None else self.address


class Assignment(NamedTuple):
    """One host's part of a run.

    Attributes:
        host: Whose.
        place: Its index among the run's hosts, from 0.
        run: The run's id.
    """

    host: Host
    place: int
    run: str


class Status(enum.StrEnum):
    """How a host ended; one for each host, exactly once."""

    OK = "ok"
    FAILED = "failed"
    SIGNALLED = "signalled"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    AUTH = "auth"
    HOSTKEY = "hostkey"
    LOST = "lost"
    LOCAL = "local"
    CANCELLED = "cancelled"
    NOT_RUN = "not_run"


class Phase(enum.StrEnum):
    """Where a host was when something happened to it."""

    RESOLVE = "resolve"
    """Looking up its name."""
    PORT = "port"
    """Waiting for a local port that is free."""
    CONNECT = "connect"
    """TCP's three-way handshake."""
    HANDSHAKE = "handshake"
    """Version, key exchange and host key (RFC 4253); with rsh, the connection for stderr."""
    AUTH = "auth"
    """Authentication (RFC 4252)."""
    SESSION = "session"
    """Opening the channel and asking for the command (RFC 4254)."""
    SUDO = "sudo"
    """sudo decides whether the command may run."""
    RUN = "run"
    """The command runs."""


class ClosedBy(enum.StrEnum):
    """Which end's FIN came first, as the socket saw it."""

    REMOTE = "remote"
    """The remote's: TIME_WAIT, if any, is theirs."""
    LOCAL = "local"
    """Ours: the port is in TIME_WAIT here for a minute."""
    RESET = "reset"
    """Nobody's: one end sent RST, and no state is left at either."""


class ErrorKind(enum.StrEnum):
    """What went wrong, for programs; finer than a status, and stable."""

    NAME = "name"
    REFUSED = "refused"
    NO_ROUTE = "no_route"
    TIMEOUT = "timeout"
    RESET = "reset"
    CLOSED = "closed"
    BUSY = "busy"
    PROTOCOL = "protocol"
    KEY_EXCHANGE = "key_exchange"
    HOSTKEY_UNKNOWN = "hostkey_unknown"
    HOSTKEY_CHANGED = "hostkey_changed"
    HOSTKEY_REVOKED = "hostkey_revoked"
    HOSTKEY_INVALID = "hostkey_invalid"
    DENIED = "denied"
    UNTRIED = "untried"
    JUMP = "jump"
    SESSION_REFUSED = "session_refused"
    NO_EXIT_STATUS = "no_exit_status"
    KEEPALIVE = "keepalive"
    PORTS = "ports"
    PRIVILEGE = "privilege"
    ADDRESS = "address"
    FILES = "files"
    MEMORY = "memory"
    STDIN = "stdin"
    COPY = "copy"
    DISK = "disk"
    PROGRAM = "program"
    STOPPED = "stopped"
    INTERNAL = "internal"


class Fate(enum.StrEnum):
    """What has become of a remote command that was given up on: whether it has really ended."""

    DEAD = "dead"
    """Nothing that it started is left, as far as the remote shows its processes."""
    ALIVE = "alive"
    """Something that it started is still there: it has gone its own way, or could not be ended."""
    UNKNOWN = "unknown"
    """It cannot be told."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host has no ``ok`` or ``failed``.

    Attributes:
        kind: For programs.
        phase: Where the host was.
        message: One line for people; no host name in it, no secret, no control bytes.
        fate: What has become of a command that was given up on; ``None`` where there was none.
        of_jump: Where ``kind`` is ``jump`` because a jump host could not be entered: why it could not.
    """

    kind: ErrorKind
    phase: Phase
    message: str
    fate: Fate | None = None
    of_jump: Failure | None = None


@dataclass(frozen=True, slots=True)
class Exited:
    """The remote command ended by itself.

    Attributes:
        status: 0-255.
    """

    status: int


@dataclass(frozen=True, slots=True)
class Signalled:
    """The remote command was ended by a signal.

    Attributes:
        signal: Name without ``SIG`` (RFC 4254 section 6.10), such as ``TERM``.
    """

    signal: str


Outcome: TypeAlias = Exited | Signalled
"""What the remote said of its command."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where a host's time went, in seconds; ``None`` for what was not reached.

    Attributes:
        connect: From the start of the attempt to an open TCP connection, name look-up included.
        auth: From there to logged in, key exchange included.
        run: From there to the command's end.
        close: From there to the remote's FIN, or the reset.
        total: From the start of the attempt to the result; ``close`` not included.
    """

    connect: float | None = None
    auth: float | None = None
    run: float | None = None
    close: float | None = None
    total: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """What the routes of many hosts have in common.

    Attributes:
        settings: With the user, the port, the transport and the jump hosts filled in, as far as the transport
            knows them; the policy for host keys is never in it.
        hops: For each host of ``settings.jump``, nearest to this machine first: the name looked up in
            ssh_config, and the address.
        program: SHA-256 of the command that carries the connection (ProxyCommand, ``--exec``), which may hold
            a secret itself; ``None`` where there is none.
    """

    settings: Settings
    hops: tuple[tuple[str, str], ...] = ()
    program: str | None = None


@dataclass(frozen=True, slots=True)
class HostRoute:
    """How one host is reached, with the command line, ssh_config and the transport's defaults considered.

    The journal records it, so that a later run reaches the same host in the same way, whatever the files say
    by then.

    Attributes:
        target: The name that is looked up in ssh_config: the host's address, else its name.
        address: The name or address to connect to, with ``HostName`` of ssh_config considered.
        way: How it is reached.
    """

    target: str
    address: str
    way: RouteSettings

    def host(self, name: str) -> Host:
        """Return the host ``name`` that is reached by this route.

        Raises:
            UsageError: A name or a setting of the route is not valid for a host.
        """
        return Host(name, address=None if self.target == name else self.target, settings=self.way.settings)


def digest(program: str) -> str:
    """Return the SHA-256 of a command that carries a connection, in hexadecimal."""
    return hashlib.sha256(program.encode(errors="surrogateescape")).hexdigest()


TRANSPORTS: Final = "multirsh.transports"
"""The group of entry points whose names are transports, and whose objects are ``base.TransportFactory``."""


@cache
def installed_transports() -> Mapping[str, tuple[EntryPoint, ...]]:
    """Find the transports that other distributions install, by name. They are not loaded.

    It reads the metadata of every distribution, so call it only for a name that is not in ``TransportName``.

    Returns:
        For each name, the entry points that bear it. There should be one.

    Source: the entry points specification (packaging.python.org), importlib.metadata.
    """
    from importlib.metadata import entry_points  # noqa: PLC0415 - it takes long, and is seldom needed

    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=TRANSPORTS):
        found[point.name] = (*found.get(point.name, ()), point)
    return found
