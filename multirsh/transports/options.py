"""The options of each transport for all hosts of a fleet, and the loading of a transport by its name.

Each transport is imported when it is first needed: asyncssh alone takes
longer to import than a small command takes to run. Other than the built-in
names, names come from the entry points of other distributions
(``model.installed_transports``).
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from multirsh.arguments import check_fields
from multirsh.errors import UsageError, did_you_mean
from multirsh.model import NO_SETTINGS, TRANSPORTS, Settings, TransportName, installed_transports
from multirsh.transports.passwords import Ask, PasswordSource

if TYPE_CHECKING:
    from multirsh.transports.base import Transport, TransportFactory, Warn


@dataclass(frozen=True, slots=True, kw_only=True)
class SshOptions:
    """The options of ssh for all hosts of a fleet.

    Attributes:
        settings: The settings that take precedence over every host's own: ``-l``, ``-p``, ``-i``, ``-J``,
            ``--host-keys``.
        config_file: The file to read in place of the user's and the system's (``-F``); ``none`` for no file,
            as in ssh.
        overrides: Items ``Keyword=value`` that take precedence over any file (``-o``).
        password: The source of the hosts' login password, which is never offered to jump hosts.
        ask: Prompts the user for a secret; ``None`` without a terminal. It is called in a thread, before the
            first connection, and for a jump host's password during a run that has a login password.
        forward_agent: Forward this user's agent to the hosts, but not to jump hosts (``-A``). It is off by
            default, whatever ssh_config says: root on the remote host can use a forwarded agent.
        addresses: The addresses of hosts and jump hosts, by the name that is looked up in ssh_config; they
            take precedence over ``HostName``, so that a rerun reaches the same hosts.
    """

    settings: Settings = NO_SETTINGS
    config_file: str | None = None
    overrides: tuple[str, ...] = ()
    password: PasswordSource = field(default_factory=PasswordSource)
    ask: Ask | None = None
    forward_agent: bool = False
    addresses: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)


class RshStderr(enum.StrEnum):
    """How the stderr of a command is received (``--rsh-stderr``)."""

    SEPARATE = "separate"
    """On a second connection, which the remote opens to this machine, from and to a reserved port."""
    MERGED = "merged"
    """As part of stdout: one connection, and no way to send signals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RshOptions:
    """The options of rsh for all hosts of a fleet.

    Attributes:
        settings: The settings that take precedence over every host's own: ``-l``, ``-p``, ``-J``.
        stderr: How stderr is received.
    """

    settings: Settings = NO_SETTINGS
    stderr: RshStderr = RshStderr.SEPARATE

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """The options of exec for all hosts of a fleet.

    Attributes:
        template: The program that reaches a host, and its arguments (``--exec``), as ``exec.template`` reads
            it; ``None`` where none is given.
        settings: The settings that take precedence over every host's own: ``-l``, ``-p``, ``-J``.
    """

    template: str | None = None
    settings: Settings = NO_SETTINGS

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """The options of all transports of a fleet.

    Attributes:
        ssh: The options of ssh.
        rsh: The options of rsh; ``None`` for the defaults, with ``settings``.
        exec: The options of exec; ``None`` for the defaults, with ``settings``.
        settings: The settings that take precedence over every host's own, for transports without options of
            their own.
    """

    ssh: SshOptions = field(default_factory=SshOptions)
    rsh: RshOptions | None = None
    exec: ExecOptions | None = None
    settings: Settings = NO_SETTINGS


def load(name: str, options: TransportOptions, *, warn: Warn, wanted_by: str) -> Transport:
    """Make the transport called ``name``.

    Args:
        name: The name, as in a hosts file or after ``-R``.
        options: The options for all hosts.
        warn: Shows warnings to the user.
        wanted_by: A host that uses the transport, for the error message.

    Raises:
        UsageError: There is no such transport, it cannot be loaded, or its options cannot be used.
    """
    if name == TransportName.SSH:
        from multirsh.transports.ssh.transport import SshTransport  # noqa: PLC0415 - see the module's docstring

        return SshTransport(options.ssh, warn)
    if name == TransportName.RSH:
        from multirsh.transports.rsh.transport import RshTransport  # noqa: PLC0415 - as above

        return RshTransport(options.rsh or RshOptions(settings=options.settings), warn)
    if name == TransportName.EXEC:
        from multirsh.transports.exec.transport import ExecTransport  # noqa: PLC0415 - as above

        return ExecTransport(options.exec or ExecOptions(settings=options.settings))
    if name == TransportName.LOCAL:
        from multirsh.transports.local.transport import LocalTransport  # noqa: PLC0415 - as above

        return LocalTransport(options.settings, warn)
    return _factory(name, wanted_by)(settings=options.settings, warn=warn)


def known_names() -> tuple[str, ...]:
    """Return the names of all transports, the built-in ones first."""
    ours = [name.value for name in TransportName]
    return (*ours, *sorted(installed_transports().keys() - set(ours)))


def _factory(name: str, wanted_by: str) -> TransportFactory:
    points = installed_transports().get(name, ())
    if not points:
        known = known_names()
        raise UsageError(
            f"{wanted_by}: there is no transport {name!r}",
            hint=did_you_mean(name, known) or f"it is one of {', '.join(known)}",
        )
    if len(points) > 1:
        owners = " and ".join(sorted(point.dist.name if point.dist else point.value for point in points))
        raise UsageError(f"{wanted_by}: the transport {name!r} is in {owners}", hint="uninstall one of them")
    (point,) = points
    try:
        factory: TransportFactory = point.load()
    except Exception as error:
        raise UsageError(
            f"{wanted_by}: the transport {name!r} ({point.value}) cannot be loaded:"
            f" {type(error).__name__}: {error}",
            hint=f"it is another distribution's, by its entry point in {TRANSPORTS}",
        ) from error
    return factory
