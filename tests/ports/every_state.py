"""Sockets in every state that a kernel can be made to keep one in, IPv4, IPv6 and IPv4 within IPv6."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from multirsh.ports.sockets import TcpState
from tests.servers.namespace import Namespace
from tests.waiting import HANG_GUARD_S

KEPT = frozenset(TcpState) - {TcpState.CLOSE, TcpState.CLOSING, TcpState.NEW_SYN_RECV}
"""Those that ``every_state`` makes. CLOSE is in no table of ss, CLOSING takes a FIN lost each way, and
NEW_SYN_RECV is told as SYN_RECV."""

VOID = "10.9.0.0/24"
VOID_GATE, VOID_HOST = "10.9.0.1", "10.9.0.77"
LEAVING = "10.8.0.1"
"""An address that is taken away while connections use it, so that nothing more is acknowledged."""

Pair = tuple[socket.socket, socket.socket]


@contextmanager
def every_state(namespace: Namespace) -> Iterator[None]:
    """Keep such sockets in ``namespace``, in which the caller stands."""
    namespace.add_void(VOID)
    namespace.run(["ip", "address", "add", f"{LEAVING}/32", "dev", "lo"])
    with ExitStack() as kept:

        def pairs(family: int, host: str, *, client: int | None = None) -> Callable[[], Pair]:
            server = kept.enter_context(_listener(family, host))
            address = {"::": "127.0.0.1"}.get(host, host)

            def connect() -> Pair:
                ours = kept.enter_context(socket.socket(client or family))
                ours.connect((address, server.getsockname()[1]))
                return ours, kept.enter_context(server.accept()[0])

            return connect

        for connect in (
            pairs(socket.AF_INET, "127.0.0.1"),
            pairs(socket.AF_INET6, "::1"),
            pairs(socket.AF_INET6, "::", client=socket.AF_INET),
        ):
            connect()
            for first in (0, 1):
                _close_in_order(connect(), first)
                connect()[first].shutdown(socket.SHUT_WR)
                connect()[first].close()
        syn_sent = kept.enter_context(socket.socket())
        syn_sent.setblocking(False)
        syn_sent.connect_ex((VOID_HOST, 22))
        _send_syn(to_port=kept.enter_context(_listener(socket.AF_INET, VOID_GATE)).getsockname()[1])
        connect = pairs(socket.AF_INET, LEAVING)
        half_closed, fin_wait = connect(), connect()
        half_closed[0].shutdown(socket.SHUT_WR)
        _wait_acknowledged(namespace)
        namespace.run(["ip", "address", "del", f"{LEAVING}/32", "dev", "lo"])
        half_closed[1].close()
        fin_wait[0].close()
        yield


def _listener(family: int, host: str) -> socket.socket:
    server = socket.socket(family)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, host != "::")
    server.bind((host, 0))
    server.listen()
    return server


def _wait_acknowledged(namespace: Namespace) -> None:
    """Wait until every FIN is acknowledged, which may take 40 ms."""
    deadline = time.monotonic() + HANG_GUARD_S
    while namespace.sockets("FIN-WAIT-1"):
        assert time.monotonic() < deadline, "a FIN is not acknowledged"
        time.sleep(0.005)


def _close_in_order(pair: Pair, first: int) -> None:
    pair[first].close()
    assert pair[1 - first].recv(1) == b""
    pair[1 - first].close()


def _send_syn(*, to_port: int) -> None:
    """Ask for a connection in the name of a host that will not acknowledge the answer."""
    source, destination = socket.inet_aton(VOID_HOST), socket.inet_aton(VOID_GATE)
    syn = struct.pack(">HHIIBBHHH", 40000, to_port, 1, 0, 5 << 4, 2, 1024, 0, 0)
    checked = source + destination + struct.pack(">BBH", 0, socket.IPPROTO_TCP, len(syn)) + syn
    total = sum(struct.unpack(f">{len(checked) // 2}H", checked))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    syn = syn[:16] + struct.pack(">H", ~total & 0xFFFF) + syn[18:]
    header = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 0, 0, 0, 64, socket.IPPROTO_TCP, 0, source, destination)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + syn, (VOID_GATE, 0))
