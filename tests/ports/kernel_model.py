"""A model of Linux's rules for local TCP ports, and of other programs; no socket is made.

What it keeps to, by file and function:

* bind(2) of a certain port: ``inet_bind_conflict``, net/ipv4/inet_connection_sock.c. Two sockets may have
  one port and address where both have SO_REUSEADDR and neither listens; what is in TIME_WAIT still counts,
  and still has its flag.
* connect(2) of a bound socket: ``__inet_check_established``, net/ipv4/inet_hashtables.c. A 4-tuple in use is
  EADDRNOTAVAIL, but one in TIME_WAIT is taken over where there are timestamps (``tcp_twsk_unique``).
* connect(2) of an unbound one: ``__inet_hash_connect``. It passes over ports that somebody has bound.
* TIME_WAIT is a minute, and up to an eighth more: kernel/time/timer.c. The table tells the minute.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass

from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState

MINUTE = 60.0
LATEST = 7.5
"""How late a timer of a minute may be."""

MINI_SOCKETS = {TcpState.TIME_WAIT, TcpState.FIN_WAIT2}
"""FIN_WAIT2 that no process holds is one, too, and is taken over as easily."""

ANY_ADDRESS = "0.0.0.0"
NOBODY = Endpoint(ANY_ADDRESS, 0)


@dataclass(eq=False)
class Socket:
    """One socket, or what is left of it."""

    local: Endpoint
    remote: Endpoint = NOBODY
    state: TcpState = TcpState.CLOSE
    reuse: bool = False
    is_ours: bool = False
    is_chosen: bool = False  # The kernel chose the port: it is not bound.
    told_end: float | None = None
    real_end: float | None = None
    then_time_wait: bool = False


class Recycled(Exception):  # noqa: N818 - the kernel does not mind; we do
    """A connection has taken over a 4-tuple that one of ours had left in TIME_WAIT."""


class KernelModel:
    """All sockets of one machine, and the time."""

    def __init__(self, *, ephemeral: Iterable[int], tw_reuse: bool = False) -> None:
        self.now = 1000.0
        self.sockets: list[Socket] = []
        self._ephemeral = tuple(ephemeral)
        self._tw_reuse = tw_reuse

    def bind(self, address: str, port: int, *, reuse: bool, is_ours: bool = False) -> Socket:
        """Take a certain port.

        Raises:
            OSError: EADDRINUSE.
        """
        sock = Socket(Endpoint(address, port), reuse=reuse, is_ours=is_ours)
        self._refuse_conflicts(sock)
        self.sockets.append(sock)
        return sock

    def listen(self, sock: Socket) -> None:
        """Listen, which looks for conflicts once more.

        Raises:
            OSError: EADDRINUSE.
        """
        self._refuse_conflicts(sock)
        sock.state = TcpState.LISTEN

    def connect(self, sock: Socket, remote: Endpoint) -> None:
        """Connect a bound socket: SYN_SENT.

        Raises:
            OSError: EADDRNOTAVAIL.
            Recycled: Nobody has refused it, but should have.
        """
        there = self.at(sock.local, remote)
        if there is not None and there.state not in MINI_SOCKETS:
            raise OSError(errno.EADDRNOTAVAIL, "4-tuple in use")
        if there is not None:
            self.sockets.remove(there)
            if there.is_ours and sock.is_ours:
                raise Recycled(there)
        sock.remote, sock.state = remote, TcpState.SYN_SENT

    def connect_unbound(
        self, address: str, remote: Endpoint, *, window: range | None = None, is_ours: bool = False
    ) -> Socket:
        """Connect a socket without a port; with IP_LOCAL_PORT_RANGE, where there is a window.

        Raises:
            OSError: EADDRNOTAVAIL.
        """
        for port in self._ephemeral:
            local = Endpoint(address, port)
            if not self.is_unbound(port) or (window is not None and port not in window):
                continue
            there = self.at(local, remote)
            if there is not None and not self._may_be_taken_over(there):
                continue
            if there is not None:
                self.sockets.remove(there)
            sock = Socket(local, remote, TcpState.SYN_SENT, is_ours=is_ours, is_chosen=True)
            self.sockets.append(sock)
            return sock
        raise OSError(errno.EADDRNOTAVAIL, "no port")

    def accept(self, listener: Socket, remote: Endpoint) -> Socket | None:
        """A connection comes in; none where it is there already."""
        if self.at(listener.local, remote) is not None:
            return None
        sock = Socket(
            listener.local, remote, TcpState.ESTABLISHED, reuse=listener.reuse, is_ours=listener.is_ours
        )
        self.sockets.append(sock)
        return sock

    def established(self, sock: Socket) -> None:
        """The handshake is over."""
        sock.state = TcpState.ESTABLISHED

    def vanish(self, sock: Socket) -> None:
        """It is closed and leaves nothing: a reset, a listener, a socket that never was connected."""
        if sock in self.sockets:
            self.sockets.remove(sock)

    def closed_by_remote(self, sock: Socket, last_ack_seconds: float) -> None:
        """Both have closed, the remote first: our FIN waits to be acknowledged."""
        if last_ack_seconds:
            self._set(sock, TcpState.LAST_ACK, real=last_ack_seconds)
        else:
            self.vanish(sock)

    def closed_by_local(self, sock: Socket, state: TcpState, seconds: float, *, late: float) -> None:
        """We have closed first.

        Args:
            sock: Which.
            state: Where it is for ``seconds``: CLOSING, FIN_WAIT1, FIN_WAIT2 (whose timer is told), or
                TIME_WAIT at once.
            seconds: Up to a minute.
            late: How late the kernel's timer of TIME_WAIT will be, in seconds.
        """
        if state is TcpState.TIME_WAIT:
            self._set(sock, state, told=MINUTE, real=MINUTE + late)
            return
        self._set(sock, state, told=MINUTE if state is TcpState.FIN_WAIT2 else None, real=seconds)
        sock.then_time_wait = True

    def pass_time(self, seconds: float) -> None:
        """Let timers run out, in their order."""
        end = self.now + seconds
        while True:
            ends = [(sock.real_end, number) for number, sock in enumerate(self.sockets) if sock.real_end]
            if not ends or min(ends)[0] > end:
                break
            self.now, number = min(ends)
            sock = self.sockets[number]
            if sock.then_time_wait:
                sock.then_time_wait = False
                self._set(sock, TcpState.TIME_WAIT, told=MINUTE, real=MINUTE + LATEST)
            else:
                self.sockets.remove(sock)
        self.now = end

    def table(self) -> list[TcpSocket]:
        """What the kernel tells of its sockets."""
        return [
            TcpSocket(
                sock.state,
                sock.local,
                sock.remote,
                None if sock.told_end is None else max(0.0, sock.told_end - self.now),
            )
            for sock in self.sockets
        ]

    def is_unbound(self, port: int) -> bool:
        """Whether nobody has bound ``port``, whatever the address."""
        return not any(sock.local.port == port and not sock.is_chosen for sock in self.sockets)

    def at(self, local: Endpoint, remote: Endpoint) -> Socket | None:
        """What has this 4-tuple."""
        for sock in self.sockets:
            if sock.local == local and sock.remote == remote != NOBODY:
                return sock
        return None

    def _refuse_conflicts(self, sock: Socket) -> None:
        for other in self.sockets:
            meets = ANY_ADDRESS in {sock.local.address, other.local.address} or (
                sock.local.address == other.local.address
            )
            if other is sock or sock.local.port != other.local.port or not meets:
                continue
            if not (sock.reuse and other.reuse and other.state is not TcpState.LISTEN):
                raise OSError(errno.EADDRINUSE, "port in use")

    def _may_be_taken_over(self, there: Socket) -> bool:
        is_old = there.told_end is not None and self.now > there.told_end - MINUTE + 1
        return self._tw_reuse and there.state is TcpState.TIME_WAIT and is_old

    def _set(self, sock: Socket, state: TcpState, *, real: float, told: float | None = None) -> None:
        sock.state = state
        sock.real_end = self.now + real
        sock.told_end = None if told is None else self.now + told
