"""Which transport answers to which name; each is imported when it is first needed.

asyncssh alone takes longer to import than a small command takes to run, so
what a run does not use is not loaded. Names that are none of our own are
those of other distributions' entry points (``model.installed_transports``).
"""

from __future__ import annotations

from multirsh.errors import UsageError, did_you_mean
from multirsh.model import TRANSPORTS, TransportName, installed_transports
from multirsh.transports.base import Transport, TransportFactory, Warn
from multirsh.transports.options import ExecOptions, RshOptions, TransportOptions


def load(name: str, options: TransportOptions, *, warn: Warn, wanted_by: str) -> Transport:
    """Make the transport called ``name``.

    Args:
        name: As in a hosts file or after ``-R``.
        options: What is said for all hosts.
        warn: Takes warnings for people.
        wanted_by: A host that wants it, for the message if it cannot be had.

    Raises:
        UsageError: There is no such transport, it cannot be loaded, or what is said cannot be meant.
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
    """All transports that there are, ours first."""
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
