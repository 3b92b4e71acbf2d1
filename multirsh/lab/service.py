"""What all hosts of one lab share, and what they count together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

import asyncssh

from multirsh.ports.sockets import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class LabStatistics:
    """A snapshot of what a lab has seen.

    Attributes:
        connections_open: TCP connections that are open now.
        connections_total: Those, and all that were.
        commands_running: Commands that run now.
        commands_total: Those, and all that ran.
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
        """Count everything, now."""
        return LabStatistics(
            connections_open=len(self.connections),
            connections_total=self.connections_total,
            commands_running=self.commands_running,
            commands_total=self.commands_total,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a host of the lab works with.

    Attributes:
        user: The one login name that gets in.
        account: Name of the user that commands run as.
        client_key: The public half, in SSH's wire format, of the one key that gets in.
        endpoints: Where the lab's hosts listen: the only places that connections are forwarded to.
        environ: The lab's own environment, from which commands get theirs.
        shell: Path of the shell that runs commands.
        folder: Where commands start.
        grace: Seconds from TERM to KILL for a command whose client is gone.
        tasks: Owner of every command's task.
        census: The counts of the lab.
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
