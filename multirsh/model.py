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
"""The values that a host's variable can have."""

NO_VARS: Final[Mapping[str, Scalar]] = MappingProxyType({})


class TransportName(enum.StrEnum):
    """The transports that are part of multirsh (``-R``); others may be installed."""

    SSH = "ssh"
    RSH = "rsh"
    EXEC = "exec"
    LOCAL = "local"


class HostKeyPolicy(enum.StrEnum):
    """What to do with a host key that is in no known_hosts file.

    The first two refuse a key that *contradicts* the files.
    """

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"
    OFF = "off"


class SourcePort(enum.StrEnum):
    """Which local ports a host's connection may use."""

    EPHEMERAL = "ephemeral"
    RESERVED = "reserved"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to connect to a host; ``None`` for what is not set.

    Hosts with the same settings share one object, so a fleet of 100,000 hosts
    needs one ``Settings`` for each distinct combination, and a transport can
    key its prepared options by it.

    Attributes:
        user: Login name on the remote.
        port: TCP port, 1-65535.
        identity: Path of a private key, as written (``~`` not expanded).
        jump: Hosts to hop through, in ssh's ``[user@]host[:port][,...]``; ``"none"`` for no jump.
        transport: Which transport reaches the host: a ``TransportName``, or the name of an installed one.
        source_port: Which local ports the connection may use.
        host_keys: Policy for unknown host keys.

    Raises:
        UsageError: The user, the port or a jump host is invalid (``multirsh.names``).
        TypeError: A value is of another type.
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
            check_fields(self)  # its error names the value
            raise

    def or_else(self, fallback: Settings) -> Settings:
        """Return these settings, with what is not set taken from ``fallback``."""
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
        name: The name in output, in events and in selections; unique in a run.
        address: The name or IP literal to connect to, without brackets and port; ``None`` means ``name``.
        settings: How to connect; shared between hosts.
        vars: The user's variables; shared between hosts, and never changed.

    Raises:
        UsageError: The name or the address is invalid (``multirsh.names``).
        TypeError: A value is of another type.
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
            check_fields(self)  # its error names the value
            raise

    @property
    def target(self) -> str:
        """The name or address to connect to."""
        return self.name if self.address is None else self.address


class Assignment(NamedTuple):
    """One host's part of a run.

    Attributes:
        host: The host.
        place: Its index among the run's hosts, from 0.
        run: The id of the run.
    """

    host: Host
    place: int
    run: str


class Status(enum.StrEnum):
    """How a host ended; each host has exactly one."""

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
    """The phases of a host's attempt, in order."""

    RESOLVE = "resolve"
    """Looking up its name."""
    PORT = "port"
    """Waiting for a free local port."""
    CONNECT = "connect"
    """TCP's three-way handshake."""
    HANDSHAKE = "handshake"
    """Version, key exchange and host key (RFC 4253); with rsh, the connection for stderr."""
    AUTH = "auth"
    """Authentication (RFC 4252)."""
    SESSION = "session"
    """Opening the channel and asking for the command (RFC 4254)."""
    SUDO = "sudo"
    """sudo, doas or su decides whether the command may run."""
    RUN = "run"
    """The command runs."""


class ClosedBy(enum.StrEnum):
    """Which end's FIN came first, as the socket observed it."""

    REMOTE = "remote"
    """The remote closed first: TIME_WAIT, if any, is at its end."""
    LOCAL = "local"
    """multirsh closed first: the local port is in TIME_WAIT for a minute."""
    RESET = "reset"
    """One end sent RST, and neither end keeps any state."""


class ErrorKind(enum.StrEnum):
    """What went wrong, for programs: more precise than a status, and stable."""

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
    """Whether a remote command that was abandoned has really ended."""

    DEAD = "dead"
    """None of its processes is left, as far as the remote shows them."""
    ALIVE = "alive"
    """A process of it is still there: it has left the process group, or could not be ended."""
    UNKNOWN = "unknown"
    """It is not known."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a host is neither ``ok`` nor ``failed``.

    Attributes:
        kind: What went wrong, for programs.
        phase: The phase that the host was in.
        message: One line for the user, without host names, secrets and control bytes.
        fate: Whether an abandoned command has really ended; ``None`` if no command was abandoned.
        of_jump: If ``kind`` is ``jump``, the failure of the jump host, if it is known.
    """

    kind: ErrorKind
    phase: Phase
    message: str
    fate: Fate | None = None
    of_jump: Failure | None = None


@dataclass(frozen=True, slots=True)
class Exited:
    """The remote command exited.

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
"""How the command ended, by the remote."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long each phase of a host took, in seconds; ``None`` for phases that were not reached.

    Attributes:
        connect: From the start of the attempt to an open TCP connection, including the name look-up.
        auth: From there to the completed login, including the key exchange.
        run: From there to the end of the command.
        close: From there to the remote's FIN, or the reset.
        total: From the start of the attempt to the result, without ``close``.
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
"""The group of entry points for transports; each object is a ``base.TransportFactory``."""


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
