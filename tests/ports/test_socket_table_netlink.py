"""Netlink's messages: what we ask, what we make of the answers, and what the kernel makes of our filter."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.ports.socket_table import (
    MAX_FILTER,
    NETLINK_SOCK_DIAG,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOCK_DIAG_BY_FAMILY,
    Replies,
    build_request,
    dump,
    pack,
    parse_replies,
    remote_filter,
)
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState
from tests.ports.every_state import every_state
from tests.servers.namespace import Namespace

NLM_F_MULTI = 2
NOOP = 1

FAMILIES = st.sampled_from([socket.AF_INET, socket.AF_INET6])


def message(kind: int, payload: bytes) -> bytes:
    header = struct.pack("=IHHII", 16 + len(payload), kind, NLM_F_MULTI, 1, 4711)
    return header + payload + bytes(-len(payload) % 4)


def row(socket_: TcpSocket, *, timer: int = 0, expires: int = 0, attributes: bytes = b"") -> bytes:
    """One socket as struct inet_diag_msg, field by field."""
    ends = [pack(end.address) for end in (socket_.local, socket_.remote)]
    family = socket.AF_INET if len(ends[0]) == 4 else socket.AF_INET6
    identity = struct.pack(">HH", socket_.local.port, socket_.remote.port)
    identity += b"".join(end.ljust(16, b"\0") for end in ends)
    identity += struct.pack("=III", 1, 0xFFFFFFFF, 0xFFFFFFFF)
    payload = struct.pack("=BBBB", family, socket_.state, timer, 0) + identity
    payload += struct.pack("=IIIII", expires, 5, 6, socket_.uid, socket_.inode)
    return message(SOCK_DIAG_BY_FAMILY, payload + attributes)


@st.composite
def sockets(draw: st.DrawFn, family: int) -> TcpSocket:
    addresses = st.ip_addresses(v=4 if family == socket.AF_INET else 6)
    ports = st.integers(0, 65535)
    numbers = st.integers(0, 2**32 - 1)
    local, remote = (Endpoint(str(draw(addresses)), draw(ports)) for _ in range(2))
    return TcpSocket(draw(st.sampled_from(TcpState)), local, remote, None, draw(numbers), draw(numbers))


def worded(found: TcpSocket) -> TcpSocket:
    """IPv4 addresses within IPv6 as IPv4: hypothesis likes to draw them."""

    def end(of: Endpoint) -> Endpoint:
        return of._replace(
            address=str(getattr(ipaddress.ip_address(of.address), "ipv4_mapped", None) or of.address)
        )

    return found._replace(local=end(found.local), remote=end(found.remote))


@given(st.data(), FAMILIES, st.booleans(), st.binary(max_size=20))
def test_rows_are_read_back(data: st.DataObject, family: int, is_last: bool, attributes: bytes) -> None:  # noqa: FBT001
    drawn = data.draw(st.lists(sockets(family), max_size=5))
    datagram = b"".join(row(one, attributes=attributes) for one in drawn)
    datagram += message(NLMSG_DONE, struct.pack("=i", 0)) if is_last else b""
    assert parse_replies(datagram, family) == Replies([worded(one) for one in drawn], is_last)


@given(st.binary(max_size=400), FAMILIES)
def test_no_bytes_make_anything_but_rows_or_an_os_error(data: bytes, family: int) -> None:
    with contextlib.suppress(OSError):
        parse_replies(data, family)


@given(st.data(), FAMILIES)
def test_no_damage_makes_anything_but_rows_or_an_os_error(data: st.DataObject, family: int) -> None:
    whole = bytearray(b"".join(row(one) for one in data.draw(st.lists(sockets(family), min_size=1))))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=4)
    ):
        whole[place] = value
    cut = data.draw(st.integers(0, len(whole)))
    with contextlib.suppress(OSError):
        parse_replies(bytes(whole[:cut]), family)


ONE = TcpSocket(TcpState.TIME_WAIT, Endpoint("127.0.0.1", 40000), Endpoint("127.0.1.2", 22))


@pytest.mark.parametrize(("timer", "left"), [(0, None), (1, None), (2, None), (3, 12.345), (4, None)])
def test_only_the_timer_of_a_mini_socket_says_when_it_ends(timer: int, left: float | None) -> None:
    """The others are of retransmission, keepalive and window probes."""
    replies = parse_replies(row(ONE, timer=timer, expires=12345), socket.AF_INET)
    assert replies.sockets == [ONE._replace(seconds_left=left)]


def test_a_state_that_we_do_not_know_is_passed_over() -> None:
    odd = bytearray(row(ONE))
    odd[17] = 99
    assert parse_replies(bytes(odd) + row(ONE), socket.AF_INET).sockets == [ONE]


def test_other_messages_are_passed_over() -> None:
    datagram = message(NOOP, b"") + message(NLMSG_ERROR, struct.pack("=i", 0)) + row(ONE)
    assert parse_replies(datagram, socket.AF_INET) == Replies([ONE], is_last=False)


def test_the_end_of_an_old_kernel_has_no_result() -> None:
    assert parse_replies(message(NLMSG_DONE, b""), socket.AF_INET) == Replies([], is_last=True)


@pytest.mark.parametrize("kind", [NLMSG_ERROR, NLMSG_DONE])
@pytest.mark.parametrize("number", [errno.ENOENT, errno.EPERM, errno.EOPNOTSUPP])
def test_an_error_is_raised(kind: int, number: int) -> None:
    with pytest.raises(OSError, match=os.strerror(number)) as caught:
        parse_replies(row(ONE) + message(kind, struct.pack("=i", -number)), socket.AF_INET)
    assert caught.value.errno == number


@pytest.mark.parametrize(
    "datagram",
    [
        row(ONE)[:-1],
        row(ONE)[:10],
        message(SOCK_DIAG_BY_FAMILY, b"short"),
        message(NLMSG_ERROR, b""),
        struct.pack("=IHHII", 15, SOCK_DIAG_BY_FAMILY, 0, 0, 0),
        struct.pack("=IHHII", 0, NOOP, 0, 0, 0),
        struct.pack("=IHHII", 2**32 - 1, NOOP, 0, 0, 0),
    ],
)
def test_what_is_cut_short_is_an_error_and_no_table(datagram: bytes) -> None:
    with pytest.raises(OSError, match="kernel's table") as caught:
        parse_replies(datagram, socket.AF_INET)
    assert caught.value.errno == errno.EBADMSG


def test_the_request_is_inet_diag_req_v2() -> None:
    request = build_request(socket.AF_INET6, states=[TcpState.TIME_WAIT, TcpState.LISTEN])
    assert struct.unpack_from("=IHH", request) == (72, SOCK_DIAG_BY_FAMILY, 0x301)
    assert struct.unpack_from("=BBBxI", request, 16) == (
        socket.AF_INET6,
        socket.IPPROTO_TCP,
        0,
        1 << 6 | 1 << 10,
    )
    assert request[24:] == bytes(48)


def test_a_long_filter_is_left_to_us() -> None:
    towards = [(bytes([127, 0, 0, 1]), port) for port in range(1, MAX_FILTER + 2)]
    assert len(build_request(socket.AF_INET, towards=towards)) == 72
    assert len(build_request(socket.AF_INET, towards=towards[:-1])) == 72 + 4 + MAX_FILTER * 20 - 4


def test_one_condition_ends_at_the_end_or_beyond() -> None:
    assert remote_filter([(bytes([10, 1, 2, 3]), 514)]) == bytes.fromhex("0810") + struct.pack(
        "=HBBxxi", 20, socket.AF_INET, 32, 514
    ) + bytes([10, 1, 2, 3])


def asked(
    family: int, towards: Sequence[Endpoint] = (), *, local_ports: range | None = None
) -> list[TcpSocket]:
    """What the kernel's filter alone lets through."""
    packed = [(pack(end.address), end.port) for end in towards]
    found: list[TcpSocket] = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as kernel:
        kernel.send(build_request(family, towards=packed, local_ports=local_ports))
        is_last = False
        while not is_last:
            rows, is_last = parse_replies(kernel.recv(1 << 16), family)
            found += rows
    return found


@pytest.mark.root
def test_the_kernel_filters_by_remote_end(in_namespace: Namespace) -> None:
    families = (socket.AF_INET, socket.AF_INET6)
    with every_state(in_namespace):
        everything = {family: asked(family, []) for family in families}
        remotes = sorted({row.remote for rows in everything.values() for row in rows})
        assert len(remotes) > 20
        for towards in (remotes[:1], remotes[-1:], remotes[::2], remotes[:MAX_FILTER], [Endpoint("::2", 9)]):
            for family in families:
                assert {(row.local, row.remote) for row in asked(family, towards)} == {
                    (row.local, row.remote) for row in everything[family] if row.remote in towards
                }


@pytest.mark.root
def test_the_kernel_filters_by_local_port(in_namespace: Namespace) -> None:
    with every_state(in_namespace):
        for family in (socket.AF_INET, socket.AF_INET6):
            everything = asked(family)
            ports = sorted({row.local.port for row in everything})
            for first, last in ((ports[0], ports[0]), (ports[1], ports[-2]), (1, 65535), (1, 2)):
                wanted = range(first, last + 1)
                assert {(row.local, row.remote) for row in asked(family, local_ports=wanted)} == {
                    (row.local, row.remote) for row in everything if row.local.port in wanted
                }


def test_an_ipv6_socket_that_uses_ipv4_is_found_by_its_ipv4_address() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0]:
            ours = Endpoint(*client.getsockname())
            (found,) = dump(towards=[ours])
    assert (found.local, found.remote) == (Endpoint("127.0.0.1", port), ours)
