"""What the hosts of one lab have in common, and their counters."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncssh

from multirsh.ports.sockets import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatistics:
    """A snapshot of the counters of a lab.

    Attributes:
        connections_open: The open TCP connections.
        connections_total: All connections so far.
        commands_running: The running commands.
        commands_total: All commands so far.
    """

    connections_open: int
    connections_total: int
    commands_running: int
    commands_total: int


@dataclass(slots=True)
class Census:
    """Counts the connections and commands of a lab.

    Attributes:
        connections: The open connections.
        is_closing: Whether new connections are refused.
    """

    connections: set[asyncssh.SSHServerConnection] = field(default_factory=set)
    connections_total: int = 0
    commands_running: int = 0
    commands_total: int = 0
    is_closing: bool = False

    def statistics(self) -> LabStatistics:
        """Return a snapshot."""
        return LabStatistics(
            connections_open=len(self.connections),
            connections_total=self.connections_total,
            commands_running=self.commands_running,
            commands_total=self.commands_total,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What every host of the lab uses.

    Attributes:
        user: The login name that is accepted.
        account: The name of the user that commands run as.
        client_key: The public key that is accepted, in SSH's wire format.
        endpoints: The addresses of the lab's hosts, to which alone connections are forwarded.
        environ: The environment of the lab, from which that of commands is made.
        shell: The path of the shell that runs commands.
        folder: The working directory of commands.
        grace: Seconds from TERM to KILL for a command whose client has gone away.
        tasks: The task group of all commands.
        census: The counters of the lab.
    """

    user: str
    account: str
    client_key: bytes
    endpoints: frozenset[Endpoint]
    environ: Mapping[str, str]
    shell: str
    folder: str
    grace: float
    tasks: asyncio.TaskGroup
    census: Census
