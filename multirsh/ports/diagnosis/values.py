"""What both reports are made of: programs, groups of sockets that are alike, and on whose side they stand."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

RESERVED: Final = range(512, 1024)
"""The ports that rsh, NFS and their kin connect from, to show that root did it (rcmd(3), rresvport(3))."""

DYNAMIC_START: Final = 49152
"""From here on nobody's services are registered (RFC 6335, section 6); most systems connect from there."""

ENDING: Final = frozenset({TcpState.FIN_WAIT1, TcpState.FIN_WAIT2, TcpState.CLOSING, TcpState.LAST_ACK})
"""States after our own FIN, in which a socket is an orphan if no process has it open."""

ORDER: Final = (
    TcpState.LISTEN,
    TcpState.ESTABLISHED,
    TcpState.SYN_SENT,
    TcpState.SYN_RECV,
    TcpState.NEW_SYN_RECV,
    TcpState.CLOSE_WAIT,
    TcpState.FIN_WAIT1,
    TcpState.FIN_WAIT2,
    TcpState.CLOSING,
    TcpState.LAST_ACK,
    TcpState.TIME_WAIT,
    TcpState.CLOSE,
)
"""States in the order of a connection's life."""


class Holder(NamedTuple):
    """A process that has a socket open.

    Attributes:
        pid: Its id.
        name: The program's name, as the kernel has it (comm, 15 bytes at the most): never its arguments,
            which may hold secrets. It may hold any character.
    """

    pid: int
    name: str


HoldersByInode = Mapping[int, Sequence[Holder]]
"""A socket's inode → who has it open, as far as we may know."""


class Side(enum.StrEnum):
    """Which part this machine plays in a connection."""

    CLIENT = "client"
    """It connected: the local port was chosen for the connection, and counts towards its destination."""
    SERVER = "server"
    """It was connected to: the local port is the service's, and any number of connections share it."""


class Peer(NamedTuple):
    """The other end of one socket of a group, and when the kernel lets go of it by itself.

    Attributes:
        endpoint: The other end.
        seconds_left: As in ``TcpSocket``.
    """

    endpoint: Endpoint
    seconds_left: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketGroup:
    """Sockets that have one end in common and are alike.

    Attributes:
        state: Of all of them.
        end: The end that they have in common.
        count: How many.
        side: Which part this machine plays.
        holders: Who has them open, as far as known.
        uids: Whose they are; empty where no process holds them.
        has_process: Whether any process has them open. Of connections that are open, those that have none
            wait in their listener's queue.
        peers: Their other ends, those that stay longest first; no more than was asked for.
        first_ends_s: Seconds until the kernel lets go of the first; ``None`` where no timer says so.
        last_ends_s: Seconds until it lets go of the last.
    """

    state: TcpState
    end: Endpoint
    count: int
    side: Side
    holders: tuple[Holder, ...]
    uids: frozenset[int]
    has_process: bool
    peers: tuple[Peer, ...]
    first_ends_s: float | None
    last_ends_s: float | None

    @property
    def is_orphaned(self) -> bool:
        """Whether the program is done with them and only the kernel still ends them; not TIME_WAIT."""
        return not self.has_process and self.state in ENDING


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationUse:
    """Where this machine connects to.

    Attributes:
        remote: The far end.
        states: How many connections in which state, from all our addresses.
        source: Our address that has fewest ports left.
        used: Ephemeral ports that ``source`` uses towards it.
        left: How many more it could have.
        reuses: Whether tcp_tw_reuse lets it take over those in TIME_WAIT, so that they are among ``left``.
    """

    remote: Endpoint
    states: Mapping[TcpState, int]
    source: str
    used: int
    left: int
    reuses: bool


def listening_ports(table: Iterable[TcpSocket]) -> frozenset[int]:
    """The local ports on which anything listens."""
    return frozenset(row.local.port for row in table if row.state is TcpState.LISTEN)


def service_ports(table: Sequence[TcpSocket], kernel: KernelPorts) -> frozenset[int]:
    """The local ports at which this machine is connected to.

    Those on which anything listens; and those from which several connections lead to one far address, each to
    a port of the kind that is chosen for a connection: a server's, whose listener is gone.
    """
    far_ports: dict[tuple[int, str], int] = {}
    found = set(listening_ports(table))
    for row in table:
        if _is_chosen(row.remote.port, kernel):
            first = far_ports.setdefault((row.local.port, row.remote.address), row.remote.port)
            if first != row.remote.port:
                found.add(row.local.port)
    return frozenset(found)


def _is_chosen(port: int, kernel: KernelPorts) -> bool:
    return port in kernel.ephemeral or port >= DYNAMIC_START


def bound_ports(table: Iterable[TcpSocket]) -> frozenset[int]:
    """The local ports that a program has bound by hand, to listen or for whatever it wants next."""
    return frozenset(row.local.port for row in table if row.state in {TcpState.LISTEN, TcpState.CLOSE})


def side_of(socket: TcpSocket, services: Collection[int], kernel: KernelPorts) -> Side:
    """Tell which part this machine plays, by ``service_ports`` and else by the numbers of both ports."""
    local, remote = socket.local.port, socket.remote.port
    if socket.state in {TcpState.LISTEN, TcpState.CLOSE} or local in services:
        return Side.SERVER
    if local in kernel.ephemeral:
        return Side.CLIENT
    return Side.SERVER if _is_chosen(remote, kernel) or local < RESERVED.start else Side.CLIENT


def grouped(
    sockets: Iterable[TcpSocket],
    *,
    services: Collection[int],
    kernel: KernelPorts,
    holders: HoldersByInode,
    most_peers: int = 0,
    by_far_end: bool = False,
) -> tuple[SocketGroup, ...]:
    """Put sockets together that are alike, in the order of a connection's life.

    Args:
        sockets: Any rows.
        services: As ``service_ports`` has them.
        kernel: The settings.
        holders: Who has which socket open.
        most_peers: How many other ends a group may list.
        by_far_end: Whether it is the far end that a group has in common, and not this machine's.
    """
    alike: dict[tuple[object, ...], list[TcpSocket]] = {}
    for row in sockets:
        end = row.remote if by_far_end else row.local
        key = (row.state, end, row.inode == 0, _pids(row, holders), side_of(row, services, kernel))
        alike.setdefault(key, []).append(row)
    groups = [
        _group(rows, side_of(rows[0], services, kernel), holders, most_peers, by_far_end=by_far_end)
        for rows in alike.values()
    ]
    return tuple(sorted(groups, key=_place))


def _pids(row: TcpSocket, holders: HoldersByInode) -> frozenset[int]:
    return frozenset(holder.pid for holder in holders.get(row.inode, ()))


def _group(
    rows: Sequence[TcpSocket], side: Side, holders: HoldersByInode, most_peers: int, *, by_far_end: bool
) -> SocketGroup:
    first = rows[0]
    ends = [row.seconds_left for row in rows if row.seconds_left is not None]
    peers = [Peer(row.local if by_far_end else row.remote, row.seconds_left) for row in rows]
    peers.sort(key=lambda peer: (-(peer.seconds_left or 0.0), peer.endpoint))
    return SocketGroup(
        state=first.state,
        end=first.remote if by_far_end else first.local,
        count=len(rows),
        side=side,
        holders=tuple(sorted({*holders.get(first.inode, ())})),
        uids=frozenset(row.uid for row in rows if row.inode),
        has_process=first.inode != 0,
        peers=tuple(peer for peer in peers if peer.endpoint.port)[:most_peers],
        first_ends_s=min(ends, default=None),
        last_ends_s=max(ends, default=None),
    )


def _place(group: SocketGroup) -> tuple[int, bool, Endpoint, int]:
    return (ORDER.index(group.state), not group.has_process, group.end, -group.count)
