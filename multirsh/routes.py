"""Where a host is and how it is entered, once all that says so has been considered: values.

A ``Host`` says what a hosts file or ``-w`` says. The options of the command
line come before that, and ssh_config and the transport's own defaults after it.
A ``Route`` is what comes of all of them: what a later run needs in order to
reach the same host in the same way, whatever the files say by then.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from multirsh.model import Host, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What the routes of many hosts have in common.

    Attributes:
        settings: With the user, the port, the transport and the jump hosts filled in, as far as the transport
            knows them; the policy for host keys is never in it.
        hops: For each host of ``settings.jump``, nearest to us first: what ssh_config is asked about, and
            what is connected to.
        program: SHA-256 of the command that carries the connection (ProxyCommand, ``--exec``), which may hold
            a secret itself; ``None`` where there is none.
    """

    settings: Settings
    hops: tuple[tuple[str, str], ...] = ()
    program: str | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One host's.

    Attributes:
        target: What ssh_config is asked about: the host's address, else its name.
        address: What is connected to, with ``HostName`` of ssh_config considered.
        way: How.
    """

    target: str
    address: str
    way: Way

    def host(self, name: str) -> Host:
        """The host called ``name`` that is reached so.

        Raises:
            UsageError: Something of it is no name, or no setting, of a host.
        """
        return Host(name, address=None if self.target == name else self.target, settings=self.way.settings)


def digest(program: str) -> str:
    """What is kept of a command that carries a connection."""
    return hashlib.sha256(program.encode(errors="surrogateescape")).hexdigest()
