"""The ledger of local ports: which are held, which the kernel still keeps and until when, which are free.

It *predicts*, from who closed first; ``correct`` makes it believe what the
kernel's table says. Two pools with one set of verbs: ephemeral ports, which
the kernel chooses and which are counted by route, and reserved ports, which
are chosen here.

Pure: no socket, no clock. ``ports.allocator`` is the shell around it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.budget import EVERY_PORT, PortBudget
from multirsh.ports.ephemeral import EphemeralPool
from multirsh.ports.lease import Busy, Lease, Route
from multirsh.ports.reserved import RESERVED_PORTS, ReservedPool
from multirsh.ports.sockets import TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

TIME_WAIT_SECONDS: Final = 60.0
"""How long Linux keeps a socket in TIME_WAIT: TCP_TIMEWAIT_LEN, include/net/tcp.h."""


class Ledger:
    """The local ports of this machine, as far as a fleet uses them."""

    def __init__(
        self,
        kernel: KernelPorts,
        *,
        budget: PortBudget = EVERY_PORT,
        reserved: Sequence[int] = RESERVED_PORTS,
    ) -> None:
        """Begin with nothing in use.

        Args:
            kernel: This network namespace's settings.
            budget: How many ports may be used towards one destination.
            reserved: The reserved ports that may be used, in the order to take them.
        """
        self._kernel = kernel
        self._window = _window(kernel, budget)
        self._choice = frozenset(self._window) - kernel.reserved_by_admin
        self._ephemeral = EphemeralPool(len(self._choice))
        self._reserved = ReservedPool(reserved, limit=budget.of(len(reserved)))

    @property
    def window(self) -> range | None:
        """The part of the ephemeral range that is ours to use; ``None`` for the whole of it.

        A part and not only a number: several runs at once with the same budget then use the same part, and
        the rest stays free for others.
        """
        return None if len(self._window) == len(self._kernel.ephemeral) else self._window

    def request(self, route: Route, source_port: SourcePort, now: float) -> Lease | Busy:
        """Ask for a port.

        Args:
            route: From where to where.
            source_port: From which pool.
            now: Monotonic time, in seconds; so in all calls.

        Returns:
            A lease, which must be given back or reported refused; or when to ask again.
        """
        if source_port is SourcePort.RESERVED:
            return self._reserved.request(route, now)
        return self._ephemeral.request(route, now)

    def request_listener(self, source: str, now: float) -> Lease | Busy:
        """Ask for a reserved port to listen on at the address ``source``."""
        return self._reserved.request_listener(source, now)

    def adopt(self, route: Route, port: int) -> Lease:
        """Count a connection that a listener has accepted."""
        return self._reserved.adopt(route, port)

    def connected(self, lease: Lease, port: int) -> None:
        """Note that a connection is open, and the port it has got."""
        if lease.port is None:
            self._ephemeral.connected(lease, port)
        else:
            self._reserved.granted(lease)

    def give_back(self, lease: Lease, closed_by: ClosedBy | None, now: float) -> None:
        """Note that our socket is closed.

        A port whose connection the remote closed first is free as soon as our own FIN is acknowledged; a
        reset leaves nothing; but what we closed first stays in TIME_WAIT.

        Args:
            lease: As it was handed out; once only.
            closed_by: Whose FIN came first; ``None`` where there was no connection.
            now: Monotonic time, in seconds.

        Raises:
            KeyError: The lease is not out: a bug, which would spoil every later count.
        """
        is_kept = closed_by is ClosedBy.LOCAL
        if lease.port is None:
            until = now + self._time_wait(lease.route) if is_kept else None
            self._ephemeral.give_back(lease, now, until=until)
        else:
            until = now + TIME_WAIT_SECONDS if is_kept else None
            self._reserved.give_back(lease, now, was_open=closed_by is not None, until=until)

    def refused(self, lease: Lease, now: float, *, four_tuple: bool) -> None:
        """Take back a lease that the kernel did not grant.

        Args:
            lease: As it was handed out.
            now: Monotonic time, in seconds.
            four_tuple: Whether connect(2) refused it, and not bind(2).
        """
        if lease.port is None:
            self._ephemeral.refused(lease, now)
        else:
            self._reserved.refused(lease, now, four_tuple=four_tuple)

    def correct(self, route: Route, source_port: SourcePort, rows: Iterable[TcpSocket], now: float) -> None:
        """Believe the kernel.

        Args:
            route: Whose ephemeral ports are corrected; reserved ports are corrected all together.
            source_port: Which pool.
            rows: The kernel's table: at least the route's sockets, or those with a reserved local port.
            now: When it was read.
        """
        if source_port is SourcePort.RESERVED:
            self._reserved.correct((row for row in rows if row.local.port in _RESERVED), now)
            return
        spared = TIME_WAIT_SECONDS - self._time_wait(route)
        self._ephemeral.correct(
            route,
            (
                _sooner(row, spared)
                for row in rows
                if row.remote == route.remote
                and row.local.address == route.source
                and row.local.port in self._choice
            ),
            now,
        )

    def is_low(self, route: Route, now: float) -> bool:
        """Whether most ephemeral ports of ``route`` are in use, as far as is known."""
        return self._ephemeral.is_low(route, now)

    def routes(self) -> int:
        """How many routes something is known of."""
        return self._ephemeral.routes() + self._reserved.routes()

    def _time_wait(self, route: Route) -> float:
        """After how many seconds connect(2) may choose a port that is in TIME_WAIT.

        Of ephemeral ports only: bind(2) of a certain port, as of a reserved one, heeds no tcp_tw_reuse.

        Source: ``tcp_twsk_unique`` in net/ipv4/tcp_ipv4.c; ``tcp_tw_reuse`` in ip-sysctl.rst.
        """
        reuse = self._kernel.tw_reuse
        reusable = reuse == _REUSE or (reuse == _REUSE_ON_LOOPBACK and _is_loopback(route.remote.address))
        return self._kernel.tw_reuse_delay if reusable and self._kernel.timestamps else TIME_WAIT_SECONDS


_RESERVED: Final = frozenset(RESERVED_PORTS)
_REUSE: Final = 1
_REUSE_ON_LOOPBACK: Final = 2


def _window(kernel: KernelPorts, budget: PortBudget) -> range:
    """The end of the ephemeral range that holds as many usable ports as the budget allows."""
    whole = kernel.ephemeral
    usable = [port for port in whole if port not in kernel.reserved_by_admin]
    wanted = budget.of(len(usable))
    return whole if wanted == len(usable) else range(usable[-wanted], whole.stop)


def _sooner(row: TcpSocket, seconds: float) -> TcpSocket:
    if row.state is not TcpState.TIME_WAIT or row.seconds_left is None or not seconds:
        return row
    return row._replace(seconds_left=max(0.0, row.seconds_left - seconds))


@lru_cache(maxsize=1024)
def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address).is_loopback
