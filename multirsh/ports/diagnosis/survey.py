"""What this machine's local ports are doing, and how much room there is.

Pure: the kernel's table, its settings, and who holds what go in; a report of
values comes out.

Source: RFC 9293 section 3.6 (who closes first keeps TIME_WAIT); Linux
net/ipv4/inet_hashtables.c (``__inet_hash_connect``: an ephemeral port is
unique to its 4-tuple, and one that anybody has bound is passed over).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from multirsh.ports.diagnosis import advice
from multirsh.ports.diagnosis.advice import Finding
from multirsh.ports.diagnosis.values import (
    ENDING,
    ORDER,
    RESERVED,
    DestinationUse,
    Holder,
    HoldersByInode,
    Side,
    SocketGroup,
    bound_ports,
    grouped,
    listening_ports,
    service_ports,
    side_of,
)
from multirsh.ports.ledger import TIME_WAIT_SECONDS
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

_ON_LOOPBACK: Final = 2
"""tcp_tw_reuse's default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ephemeral:
    """The ports that the kernel chooses from for connections.

    Attributes:
        range: First to last.
        kept: How many of them ip_local_reserved_ports keeps out.
        listening: Those on which something listens, kept ones aside.
        usable: How many there are for each destination anew: those that are neither kept nor bound, since
            the kernel passes over what anybody has bound, to whatever address.
        in_use: Different local ports of the range that connections have, to any destination.
    """

    range: range
    kept: int
    listening: tuple[int, ...]
    usable: int
    in_use: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeWait:
    """Connections that this machine closed first.

    Attributes:
        client: Those that it opened: each keeps a port from one destination.
        server: Those that were opened to it: they keep none from anybody.
        limit: tcp_max_tw_buckets.
        first_ends_s: Seconds until the first is over; ``None`` where there is none, or none is told.
        last_ends_s: Seconds until the last is.
    """

    client: int
    server: int
    limit: int
    first_ends_s: float | None
    last_ends_s: float | None

    @property
    def total(self) -> int:
        """All of them."""
        return self.client + self.server


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserved:
    """The 512 ports that rsh and NFS connect from.

    Attributes:
        groups: What is at them: listeners by their address, connections by their destination.
        taken: How many have anything at all.
        free: How many have nothing.
    """

    groups: tuple[SocketGroup, ...]
    taken: int
    free: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """The most new connections a second, to one destination and from one address, for ever.

    If the other end closes first, ports set no bound.

    Attributes:
        local_first: If this machine closes first: each port is away for a minute.
        reusing: The same where tcp_tw_reuse applies; ``None`` where it does not.
        reserved_local_first: If this machine closes first, from reserved ports.
    """

    local_first: float
    reusing: float | None
    reserved_local_first: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The state of the local ports.

    Attributes:
        kernel: The settings.
        is_known: Whether the kernel's table could be read. Without it, all counts are 0.
        states: How many sockets in which state, in the order of a connection's life.
        ephemeral: The ports that connections get.
        reserved: The ports 512-1023.
        destinations: Where most ports are used, most first.
        time_wait: What this machine closed first.
        rates: What could be sustained.
        findings: What is worth a warning.
    """

    kernel: KernelPorts
    is_known: bool
    states: Mapping[TcpState, int]
    ephemeral: Ephemeral
    reserved: Reserved
    destinations: tuple[DestinationUse, ...]
    time_wait: TimeWait
    rates: Rates
    findings: tuple[Finding, ...]


def survey(
    table: Sequence[TcpSocket] | None,
    kernel: KernelPorts,
    holders: HoldersByInode,
    *,
    most_destinations: int = 10,
) -> Survey:
    """Look at all ports.

    Args:
        table: As ``read_table`` gives it; ``None`` where there is no such table.
        kernel: The settings.
        holders: Who has which socket open.
        most_destinations: How many destinations to list.
    """
    rows = table or ()
    services = service_ports(rows, kernel)
    clients = [row for row in rows if side_of(row, services, kernel) is Side.CLIENT]
    ephemeral = _ephemeral(rows, kernel)
    destinations = _destinations(clients, ephemeral, kernel)[:most_destinations]
    time_wait = _time_wait(rows, clients, kernel)
    reserved = _reserved(rows, services, kernel, holders)
    found: list[Finding | None] = [
        *(advice.few_ports_left(one, ephemeral.usable, kernel) for one in destinations),
        advice.reserved_ports_run_out(reserved.taken, len(RESERVED)),
        advice.time_wait_is_dropped(time_wait.total + _ending(rows), kernel),
        *(advice.never_closed(program, count) for program, count in _close_wait(rows, holders)),
        advice.orphans(sum(row.state in ENDING and not row.inode for row in rows)),
        advice.listeners_in_the_range(ephemeral.listening, kernel),
        advice.reuse_without_timestamps(kernel),
        advice.fin_timeout_was_changed(kernel),
    ]
    counts = Counter(row.state for row in rows)
    return Survey(
        kernel=kernel,
        is_known=table is not None,
        states={state: counts[state] for state in ORDER if counts[state]},
        ephemeral=ephemeral,
        reserved=reserved,
        destinations=destinations,
        time_wait=time_wait,
        rates=_rates(ephemeral, kernel),
        findings=tuple(one for one in found if one is not None),
    )


def _ephemeral(rows: Sequence[TcpSocket], kernel: KernelPorts) -> Ephemeral:
    choosable = {*kernel.ephemeral} - kernel.reserved_by_admin
    bound = bound_ports(rows) & choosable
    return Ephemeral(
        range=kernel.ephemeral,
        kept=len(kernel.ephemeral) - kernel.ephemeral_ports,
        listening=tuple(sorted(bound & listening_ports(rows))),
        usable=len(choosable) - len(bound),
        in_use=len(({row.local.port for row in rows} & choosable) - bound),
    )


def _destinations(
    clients: Sequence[TcpSocket], ephemeral: Ephemeral, kernel: KernelPorts
) -> tuple[DestinationUse, ...]:
    towards: defaultdict[Endpoint, list[TcpSocket]] = defaultdict(list)
    for row in clients:
        towards[row.remote].append(row)
    found = [_destination(remote, rows, ephemeral, kernel) for remote, rows in towards.items()]
    return tuple(sorted(found, key=lambda one: (one.left, -sum(one.states.values()), one.remote)))


def _destination(
    remote: Endpoint, rows: Sequence[TcpSocket], ephemeral: Ephemeral, kernel: KernelPorts
) -> DestinationUse:
    states = Counter(row.state for row in rows)
    ports: defaultdict[str, set[int]] = defaultdict(set)
    held: defaultdict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.local.port in ephemeral.range:
            ports[row.local.address].add(row.local.port)
            if row.state is not TcpState.TIME_WAIT or not reuses(row, kernel):
                held[row.local.address].add(row.local.port)
    source = max((row.local.address for row in rows), key=lambda one: (len(held[one]), len(ports[one]), one))
    return DestinationUse(
        remote=remote,
        states={state: states[state] for state in ORDER if states[state]},
        source=source,
        used=len(ports[source]),
        left=max(0, ephemeral.usable - len(held[source])),
        reuses=reuses(TcpSocket(TcpState.TIME_WAIT, Endpoint(source, 0), remote), kernel),
    )


def reuses(socket: TcpSocket, kernel: KernelPorts) -> bool:
    """Whether connect(2) may take over the port of ``socket``, were it in TIME_WAIT for a moment.

    Source: net/ipv4/tcp_ipv4.c (``tcp_twsk_unique``).
    """
    if not kernel.timestamps:
        return False
    return kernel.tw_reuse == 1 or (
        kernel.tw_reuse == _ON_LOOPBACK
        and any(_is_loopback(end.address) for end in (socket.local, socket.remote))
    )


def _is_loopback(address: str) -> bool:
    return address == "::1" or (address.startswith("127.") and ":" not in address)


def _time_wait(rows: Sequence[TcpSocket], clients: Sequence[TcpSocket], kernel: KernelPorts) -> TimeWait:
    waiting = [row for row in rows if row.state is TcpState.TIME_WAIT]
    ends = [row.seconds_left for row in waiting if row.seconds_left is not None]
    client = sum(row.state is TcpState.TIME_WAIT for row in clients)
    return TimeWait(
        client=client,
        server=len(waiting) - client,
        limit=kernel.max_tw_buckets,
        first_ends_s=min(ends, default=None),
        last_ends_s=max(ends, default=None),
    )


def _ending(rows: Sequence[TcpSocket]) -> int:
    """Orphans in FIN_WAIT2, which the kernel keeps among those in TIME_WAIT."""
    return sum(row.state is TcpState.FIN_WAIT2 and not row.inode for row in rows)


def _reserved(
    rows: Sequence[TcpSocket], services: Collection[int], kernel: KernelPorts, holders: HoldersByInode
) -> Reserved:
    there = [row for row in rows if row.local.port in RESERVED]
    taken = len({row.local.port for row in there})
    listeners = [row for row in there if row.state is TcpState.LISTEN]
    # What services have accepted stands at their listener's port and takes no other.
    connected = [row for row in there if row.local.port not in services]
    groups = [
        *grouped(listeners, services=services, kernel=kernel, holders=holders),
        *grouped(connected, services=services, kernel=kernel, holders=holders, by_far_end=True),
    ]
    return Reserved(groups=tuple(groups), taken=taken, free=len(RESERVED) - taken)


def _close_wait(rows: Sequence[TcpSocket], holders: HoldersByInode) -> list[tuple[Holder | None, int]]:
    """Programs that keep connections which the far end has ended; who is unknown is ``None``."""
    counts: Counter[Holder | None] = Counter()
    for row in rows:
        if row.state is TcpState.CLOSE_WAIT:
            known = sorted(holders.get(row.inode, ()))
            counts[known[0] if known else None] += 1
    return counts.most_common()


def _rates(ephemeral: Ephemeral, kernel: KernelPorts) -> Rates:
    reuses = kernel.tw_reuse == 1 and kernel.timestamps
    return Rates(
        local_first=ephemeral.usable / TIME_WAIT_SECONDS,
        # A delay of nothing would be a division by it; the kernel's own clock has ticks of a millisecond.
        reusing=ephemeral.usable / max(kernel.tw_reuse_delay, 0.001) if reuses else None,
        reserved_local_first=len(RESERVED) / TIME_WAIT_SECONDS,
    )
