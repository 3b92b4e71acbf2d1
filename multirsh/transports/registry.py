"""Which transport answers to which name; each is imported when it is first needed.

asyncssh alone takes longer to import than a small command takes to run, so
what a run does not use is not loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from multirsh.errors import UsageError
from multirsh.model import Host, TransportName
from multirsh.transports.base import Transport, Warn
from multirsh.transports.rsh.options import RshOptions
from multirsh.transports.ssh.options import SshOptions

AVAILABLE: Final = (TransportName.SSH, TransportName.RSH)
"""Those that this version has."""


def load(
    name: TransportName, *, ssh: SshOptions, rsh: RshOptions, warn: Warn, hosts: Sequence[Host]
) -> Transport:
    """Make the transport called ``name``.

    Args:
        name: As in a hosts file or after ``-R``.
        ssh: What ssh's options say for all hosts.
        rsh: What rsh's options say for all hosts.
        warn: Takes warnings for people.
        hosts: Those that want it, for the message if it cannot be had.

    Raises:
        UsageError: This version has no such transport.
    """
    if name is TransportName.SSH:
        from multirsh.transports.ssh.transport import SshTransport  # noqa: PLC0415 - see the module's docstring

        return SshTransport(ssh, warn)
    if name is TransportName.RSH:
        from multirsh.transports.rsh.transport import RshTransport  # noqa: PLC0415 - as above

        return RshTransport(rsh, warn)
    wanting = hosts[0].name if len(hosts) == 1 else f"{hosts[0].name} and {len(hosts) - 1} more"
    raise UsageError(
        f"{wanting}: the transport {name.value!r} is not in this version", hint="leave such hosts out with -x"
    )
