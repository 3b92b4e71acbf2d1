"""The kernel's table as it is: by netlink, by /proc and by ss, in every state, and where it is refused."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import ExitStack

import pytest

from multirsh.ports.socket_table import dump, read_proc, read_table
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState
from tests.ports.every_state import KEPT, every_state
from tests.servers.namespace import Namespace, parse_endpoint
from tests.servers.requirement import require_root

STATES = {
    "ESTAB": TcpState.ESTABLISHED,
    "SYN-SENT": TcpState.SYN_SENT,
    "SYN-RECV": TcpState.SYN_RECV,
    "FIN-WAIT-1": TcpState.FIN_WAIT1,
    "FIN-WAIT-2": TcpState.FIN_WAIT2,
    "TIME-WAIT": TcpState.TIME_WAIT,
    "CLOSE-WAIT": TcpState.CLOSE_WAIT,
    "LAST-ACK": TcpState.LAST_ACK,
    "LISTEN": TcpState.LISTEN,
    "CLOSING": TcpState.CLOSING,
}

TIMER = re.compile(r"timer:\(timewait,(?:(\d+)min)?(?:(\d+)(?:sec|\.))?(?:(\d+)ms)?,")

BOUND_ARE_SHOWN = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 8)


def as_ss_shows_it(namespace: Namespace) -> list[TcpSocket]:
    rows = []
    for line in namespace.run(["ss", "-Htanoe"]).stdout.decode().splitlines():
        state, _, _, local, remote, *_ = line.split()
        inode, uid, timer = re.search(r"ino:(\d+)", line), re.search(r"uid:(\d+)", line), TIMER.search(line)
        left = None
        if timer is not None:
            minutes, seconds, milliseconds = (int(part or 0) for part in timer.groups())
            left = 60 * minutes + seconds + milliseconds / 1000
        rows.append(
            TcpSocket(
                STATES[state],
                ss_endpoint(local),
                ss_endpoint(remote),
                left,
                int(inode[1]) if inode else 0,
                int(uid[1]) if uid else 0,
            )
        )
    return rows


def ss_endpoint(text: str) -> Endpoint:
    """What ss calls ``*`` is both any IPv4 and any IPv6 address; an IPv6 socket is bound to it."""
    end = parse_endpoint(text)
    address = ipaddress.ip_address("::" if end.address == "*" else end.address)
    return Endpoint(str(getattr(address, "ipv4_mapped", None) or address), end.port)


def without_timers(rows: Iterable[TcpSocket]) -> list[TcpSocket]:
    return sorted(
        (row._replace(seconds_left=None) for row in rows),
        key=lambda row: (row.local, row.remote, row.state, row.inode),
    )


def timers(rows: Iterable[TcpSocket]) -> dict[tuple[Endpoint, Endpoint], float]:
    return {(row.local, row.remote): row.seconds_left for row in rows if row.seconds_left is not None}


@pytest.mark.root
def test_netlink_proc_and_ss_agree_in_every_state(in_namespace: Namespace) -> None:
    in_namespace.set_sysctl("net.ipv4.tcp_fin_timeout", "40")
    with every_state(in_namespace):
        by_netlink, by_proc, by_ss = dump(), read_proc(), as_ss_shows_it(in_namespace)
    assert {row.state for row in by_ss} == KEPT
    assert without_timers(by_netlink) == without_timers(by_ss)
    assert without_timers(by_proc) == without_timers(by_ss)

    left = timers(by_netlink)
    for other, tolerance in ((timers(by_proc), 0.5), (timers(by_ss), 1.5)):
        assert other == pytest.approx(left, abs=tolerance)
    held = {state: [row for row in by_netlink if row.state is state] for state in KEPT}
    assert len(held[TcpState.TIME_WAIT]) == 6
    assert all(55 < (row.seconds_left or 0) <= 61 for row in held[TcpState.TIME_WAIT])
    orphans = [row for row in held[TcpState.FIN_WAIT2] if row.inode == 0]
    assert orphans
    assert all(35 < (row.seconds_left or 0) <= 41 for row in orphans), "tcp_fin_timeout"
    assert all(
        (row.seconds_left is None) == (row.inode != 0)
        for row in held[TcpState.FIN_WAIT2] + held[TcpState.TIME_WAIT]
    )
    assert {row.inode != 0 for row in held[TcpState.LISTEN]} == {True}


@pytest.mark.root
@pytest.mark.parametrize("read", [dump, read_proc, read_table])
def test_states_and_destinations_are_picked(
    in_namespace: Namespace, read: Callable[..., list[TcpSocket]]
) -> None:
    with every_state(in_namespace):
        everything = read()
        for state in TcpState:
            assert without_timers(read(states=[state])) == without_timers(
                row for row in everything if row.state is state
            )
        remotes = sorted({row.remote for row in everything})
        only_ipv6 = [remote for remote in remotes if ":" in remote.address]
        for towards in (remotes[:1], remotes[:40], only_ipv6):
            assert towards
            assert without_timers(read(towards=towards)) == without_timers(
                row for row in everything if row.remote in towards
            )
        some = range(remotes[0].port, 65536)
        assert without_timers(read(local_ports=some)) == without_timers(
            row for row in everything if row.local.port in some
        )
        one = next(row for row in everything if row.state is TcpState.TIME_WAIT)
        (again,) = read(states=[TcpState.TIME_WAIT], towards=[one.remote])[:1]
        assert again.remote == one.remote
        assert read(states=[TcpState.TIME_WAIT], towards=[]) == []
        assert read(states=[]) == []


@pytest.mark.root
def test_a_table_of_many_datagrams_is_read_to_its_end(in_namespace: Namespace) -> None:
    with ExitStack() as kept:
        server = kept.enter_context(socket.create_server(("127.0.0.1", 0)))
        for number in range(1200):
            client = kept.enter_context(socket.create_connection(("127.0.0.1", server.getsockname()[1])))
            accepted = kept.enter_context(server.accept()[0])
            if number >= 200:
                client.close()
                assert accepted.recv(1) == b""
                accepted.close()
        table = dump()
        assert len(table) == 1 + 2 * 200 + 1000
        assert without_timers(table) == without_timers(as_ss_shows_it(in_namespace))
        assert without_timers(table) == without_timers(read_proc())


@pytest.mark.root
@pytest.mark.parametrize("read", [dump, read_proc])
def test_it_is_the_network_of_the_thread_that_asks(
    namespace: Namespace, read: Callable[..., list[TcpSocket]]
) -> None:
    seen: list[list[TcpSocket]] = []

    def look() -> None:
        with namespace.entered():
            seen.append(read())

    with socket.create_server(("127.0.0.1", 0)):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert read() != []
    assert seen == [[]]


def test_a_bound_port_that_does_nothing_is_shown_where_the_kernel_tells() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        local = Endpoint(*bound.getsockname())
        rows = [row for row in dump() if row.local == local]
        inode = os.fstat(bound.fileno()).st_ino
    expected = TcpSocket(TcpState.CLOSE, local, Endpoint("0.0.0.0", 0), None, inode, os.geteuid())
    assert rows == ([expected] if BOUND_ARE_SHOWN else [])


SANDBOX = """
import ctypes, os, platform, socket, struct, sys
from multirsh.ports.socket_table import read_table
from multirsh.ports.socket_table import dump

# A seccomp filter as sandboxes have it, seccomp(2): socket(AF_NETLINK, ...) is EPERM, all else is allowed.
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
code = [
    (LOAD, 0, 0, 0), (EQUAL, 0, 3, number),
    (LOAD, 0, 0, 16), (EQUAL, 0, 1, socket.AF_NETLINK),
    (RETURN, 0, 0, 0x00050001), (RETURN, 0, 0, 0x7FFF0000),
]
text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program)):
    raise OSError(ctypes.get_errno(), "seccomp")

with socket.create_server(("127.0.0.1", 0)) as server:
    try:
        dump()
    except PermissionError as error:
        print(type(error).__name__)
    print(server.getsockname()[1] in {row.local.port for row in read_table()})
if len(sys.argv) > 1:
    os.chroot(sys.argv[1])
    print(read_table())
"""


def in_a_sandbox(*argv: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", SANDBOX, *argv],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_proc_is_read_where_netlink_is_refused() -> None:
    assert in_a_sandbox() == ["PermissionError", "True"]


@pytest.mark.root
def test_it_is_not_known_where_neither_tells(tmp_path: str) -> None:
    require_root()
    assert in_a_sandbox(str(tmp_path)) == ["PermissionError", "True", "None"]
