"""The rules of bind(2), each held against the kernel: what is predicted is what happens.

Every situation is made of real sockets in a namespace of its own. Where the
table cannot tell (``Outcome.DEPENDS``), the situation knows which options its
sockets have, and says what the kernel must answer.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest

from multirsh.ports.diagnosis.binding import Attempt, BindAnswer, BindVerdict, Outcome, Unless, judge, probe
from multirsh.ports.diagnosis.survey import reuses
from multirsh.ports.ledger import TIME_WAIT_SECONDS
from multirsh.ports.socket_table import read_table
from multirsh.ports.sockets import TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts, read_kernel_ports
from tests.servers.namespace import Namespace
from tests.servers.requirement import require
from tests.waiting import wait_until

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("no_leaks")]

PORT = 8080

ATTEMPTS = [
    Attempt(address, reuse_address=reuse, v6only=v6only)
    for address, v6only in (
        ("0.0.0.0", False),
        ("127.0.0.1", False),
        ("127.0.0.9", False),
        ("::", False),
        ("::", True),
        ("::1", False),
    )
    for reuse in (False, True)
]


@dataclass(frozen=True)
class Server:
    """A listener, as its program made it, and who connects to it."""

    address: str
    client: str
    reuse: bool = False
    v6only: bool = False

    def options(self) -> frozenset[Unless]:
        """The options of all its sockets that no table shows."""
        # Binding one IPv6 address makes a socket v6only by itself.
        v6only = self.v6only or self.address == "::1"
        return frozenset(
            option for option, has in ((Unless.REUSE_ADDRESS, self.reuse), (Unless.V6ONLY, v6only)) if has
        )

    @contextmanager
    def bound(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_INET6 if ":" in self.address else socket.AF_INET) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(self.reuse))
            if ":" in self.address:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(self.v6only))
            made.bind((self.address, PORT))
            yield made

    @contextmanager
    def listening(self) -> Iterator[socket.socket]:
        with self.bound() as made:
            made.listen()
            yield made


SERVERS = [
    Server(address, client, reuse=reuse, v6only=v6only)
    for address, client, v6only in (
        ("0.0.0.0", "127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("::", "127.0.0.1", False),
        ("::", "::1", False),
        ("::", "::1", True),
        ("::1", "::1", False),
    )
    for reuse in (False, True)
]


def named(server: Server) -> str:
    return f"{server.address}{' v6only' * server.v6only}{' reuse' * server.reuse} called from {server.client}"


def at(port: int) -> list[TcpSocket]:
    table = read_table()
    assert table is not None
    return [row for row in table if row.local.port == port]


def expected(verdict: BindVerdict, options: frozenset[Unless]) -> BindAnswer:
    """What the kernel must say, now that the others' options are known."""
    blocked = any(not blocker.unless & options for blocker in verdict.blockers)
    return BindAnswer.IN_USE if blocked else BindAnswer.WORKS


def assert_predicted(port: int, options: frozenset[Unless]) -> None:
    verdicts = [judge(attempt, at(port)) for attempt in ATTEMPTS]
    assert {one.attempt: expected(one, options) for one in verdicts} == probe(port, ATTEMPTS)
    for verdict in verdicts:
        if verdict.outcome is not Outcome.DEPENDS:
            # What is certain does not need to know.
            certain = BindAnswer.WORKS if verdict.outcome is Outcome.WORKS else BindAnswer.IN_USE
            assert certain is expected(verdict, options)


@pytest.mark.parametrize("server", SERVERS, ids=named)
def test_a_listener(in_namespace: Namespace, server: Server) -> None:
    with server.listening():
        assert [row.state for row in at(PORT)] == [TcpState.LISTEN]
        assert_predicted(PORT, server.options())


@pytest.mark.parametrize("server", SERVERS, ids=named)
def test_connections_of_a_server_that_no_more_listens(in_namespace: Namespace, server: Server) -> None:
    with server.listening() as listener, socket.create_connection((server.client, PORT)):
        accepted, _ = listener.accept()
        listener.close()
        with accepted:
            assert [row.state for row in at(PORT)] == [TcpState.ESTABLISHED]
            assert_predicted(PORT, server.options())


@pytest.mark.parametrize("server", SERVERS, ids=named)
def test_time_wait_of_a_server_that_closed_first(in_namespace: Namespace, server: Server) -> None:
    with server.listening() as listener, socket.create_connection((server.client, PORT)) as client:
        listener.accept()[0].close()
        assert client.recv(1) == b""
    assert [row.state for row in at(PORT)] == [TcpState.TIME_WAIT]
    assert_predicted(PORT, server.options())


@pytest.mark.parametrize("server", SERVERS, ids=named)
def test_fin_wait_2_that_no_process_holds(in_namespace: Namespace, server: Server) -> None:
    """The server closed; its client has not, and the kernel keeps the port for it."""
    with server.listening() as listener, socket.create_connection((server.client, PORT)) as client:
        listener.accept()[0].close()
        assert client.recv(1) == b""
        listener.close()
        # The client's kernel may take its time with the acknowledgement.
        wait_until(lambda: [row.state for row in at(PORT)] == [TcpState.FIN_WAIT2], what="FIN_WAIT2")
        assert_predicted(PORT, server.options())


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
def test_time_wait_of_a_client_that_closed_first(in_namespace: Namespace, to: str, *, reuse: bool) -> None:
    """A client that did not bind its port."""
    with (
        Server(to, to, reuse=True).listening() as listener,
        socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET) as client,
    ):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(reuse))
        client.connect((to, PORT))
        port = client.getsockname()[1]
        accepted, _ = listener.accept()
        with accepted:
            client.close()
            assert accepted.recv(1) == b""
    assert [row.state for row in at(port)] == [TcpState.TIME_WAIT]
    assert_predicted(port, frozenset({Unless.REUSE_ADDRESS} if reuse else ()))


@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
def test_a_clients_open_connection(in_namespace: Namespace, to: str) -> None:
    with Server(to, to).listening() as listener, socket.create_connection((to, PORT)) as client:
        accepted, _ = listener.accept()
        with accepted:
            assert_predicted(client.getsockname()[1], frozenset())


def test_close_wait_and_last_ack(in_namespace: Namespace) -> None:
    """The peer has ended; the program has not noticed."""
    server = Server("0.0.0.0", "127.0.0.1", reuse=True)
    with ExitStack() as sockets:
        listener = sockets.enter_context(server.listening())
        client = socket.create_connection((server.client, PORT))
        accepted = sockets.enter_context(listener.accept()[0])
        client.close()
        assert accepted.recv(1) == b""
        listener.close()
        assert [row.state for row in at(PORT)] == [TcpState.CLOSE_WAIT]
        assert_predicted(PORT, server.options())


def test_a_connection_that_nobody_has_accepted(in_namespace: Namespace) -> None:
    server = Server("127.0.0.1", "127.0.0.1")
    with server.listening(), socket.create_connection((server.client, PORT)):
        assert sorted(row.state for row in at(PORT)) == [TcpState.ESTABLISHED, TcpState.LISTEN]
        assert_predicted(PORT, server.options())


def test_a_connection_on_its_way(in_namespace: Namespace) -> None:
    """SYN_SENT holds its port as any connection does."""
    in_namespace.add_void()
    with socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(("10.9.0.2", 80)) == errno.EINPROGRESS
        port = client.getsockname()[1]
        assert [row.state for row in at(port)] == [TcpState.SYN_SENT]
        assert_predicted(port, frozenset())


def test_a_free_port(in_namespace: Namespace) -> None:
    assert {judge(attempt, []).outcome for attempt in ATTEMPTS} == {Outcome.WORKS}
    assert set(probe(PORT, ATTEMPTS).values()) == {BindAnswer.WORKS}


@pytest.mark.parametrize(
    ("address", "v6only"),
    [("0.0.0.0", False), ("127.0.0.1", False), ("::", False), ("::", True), ("::1", False)],
)
@pytest.mark.parametrize("reuse", [False, True])
def test_bound_and_nothing_else(in_namespace: Namespace, address: str, *, v6only: bool, reuse: bool) -> None:
    server = Server(address, "", reuse=reuse, v6only=v6only)
    with server.bound():
        states = [row.state for row in at(PORT)]
        require(states, "needs a kernel that shows sockets that are only bound (Linux 6.8)")
        assert states == [TcpState.CLOSE]
        assert_predicted(PORT, server.options())


def test_listen_fails_where_bind_worked(in_namespace: Namespace) -> None:
    """Two with SO_REUSEADDR may both be bound; whoever listens second is told so only then."""
    with socket.socket() as one, socket.socket() as other:
        for each in (one, other):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            each.bind(("0.0.0.0", PORT))
        one.listen()
        with pytest.raises(OSError, match="Address already in use") as told:
            other.listen()
        assert told.value.errno == errno.EADDRINUSE
        assert judge(Attempt("0.0.0.0", reuse_address=True), at(PORT)).outcome is Outcome.FAILS


def test_reuse_port_is_shared_by_one_users_sockets_only_if_all_have_it(in_namespace: Namespace) -> None:
    def bound(*, reuse_port: bool) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(reuse_port))
        try:
            made.bind(("127.0.0.1", PORT))
            made.listen()
        except OSError:
            made.close()
            raise
        return made

    refused = pytest.raises(OSError, match="Address already in use")
    with bound(reuse_port=True), bound(reuse_port=True), refused:
        bound(reuse_port=False)
    with bound(reuse_port=False), pytest.raises(OSError, match="Address already in use"):
        bound(reuse_port=True)


def test_a_listener_takes_its_port_from_every_connection_that_has_not_bound_one(namespace: Namespace) -> None:
    """The kernel passes over a port that anybody has bound, whatever the address and the family."""
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40001")
    with namespace.entered(), ExitStack() as sockets:
        far = sockets.enter_context(socket.create_server(("127.0.0.1", PORT)))
        sockets.enter_context(socket.create_server(("::1", 40000), family=socket.AF_INET6))
        assert far.getsockname()[1] == PORT
        first = sockets.enter_context(socket.create_connection(("127.0.0.1", PORT)))
        assert first.getsockname()[1] == 40001
        with pytest.raises(OSError, match="Cannot assign requested address"):
            socket.create_connection(("127.0.0.1", PORT))


def test_an_ephemeral_port_is_unique_to_its_destination_only(namespace: Namespace) -> None:
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40000")
    with namespace.entered(), ExitStack() as sockets:
        sockets.enter_context(socket.create_server(("0.0.0.0", PORT)))
        ports = [
            sockets.enter_context(socket.create_connection((f"127.0.0.{host}", PORT))).getsockname()[1]
            for host in (2, 3, 4)
        ]
        assert ports == [40000] * 3
        with pytest.raises(OSError, match="Cannot assign requested address"):
            socket.create_connection(("127.0.0.2", PORT))


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.1.1"])
@pytest.mark.parametrize("setting", [0, 1, 2])
def test_which_time_wait_connect_takes_over(namespace: Namespace, address: str, setting: int) -> None:
    """tcp_tw_reuse, after its delay: 2 means addresses of loopback, not the interface."""
    hasten(namespace)
    namespace.set_sysctl("net.ipv4.tcp_tw_reuse", str(setting))
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40000")
    namespace.run(["ip", "address", "add", "10.1.1.1/32", "dev", "lo"])
    with namespace.entered(), Server(address, address, reuse=True).listening() as listener:
        closed_first_by_the_client(listener, (address, PORT))
        row = next(row for row in at(40000) if row.state is TcpState.TIME_WAIT)
        assert row.seconds_left is not None
        wait_until_old_enough()
        if reuses(row, read_kernel_ports()):
            closed_first_by_the_client(listener, (address, PORT))
        else:
            with pytest.raises(OSError, match="Cannot assign requested address"):
                socket.create_connection((address, PORT))
    assert reuses(row, KernelPorts(tw_reuse=setting)) is (
        setting == 1 or (setting == 2 and address != "10.1.1.1")
    )


def closed_first_by_the_client(listener: socket.socket, to: tuple[str, int]) -> None:
    client = socket.create_connection(to)
    with listener.accept()[0] as accepted:
        client.close()
        assert accepted.recv(1) == b""


def hasten(namespace: Namespace) -> None:
    """Let connect(2) take over after a tenth of a second, where the kernel lets that be set."""
    with suppress(FileNotFoundError):
        namespace.set_sysctl("net.ipv4.tcp_tw_reuse_delay", "100")


def wait_until_old_enough() -> None:
    """Until the TIME_WAIT at port 40000 may be taken over, if ever, by a coarse clock too."""
    most = TIME_WAIT_SECONDS - 2 * read_kernel_ports().tw_reuse_delay

    def is_old() -> bool:
        (seconds,) = [row.seconds_left for row in at(40000) if row.state is TcpState.TIME_WAIT]
        return seconds is not None and seconds < most

    wait_until(is_old, what="a TIME_WAIT that is old enough")


def test_reuse_needs_timestamps(namespace: Namespace) -> None:
    hasten(namespace)
    namespace.set_sysctl("net.ipv4.tcp_tw_reuse", "1")
    namespace.set_sysctl("net.ipv4.tcp_timestamps", "0")
    namespace.set_sysctl("net.ipv4.ip_local_port_range", "40000 40000")
    with namespace.entered(), Server("127.0.0.1", "127.0.0.1", reuse=True).listening() as listener:
        closed_first_by_the_client(listener, ("127.0.0.1", PORT))
        wait_until_old_enough()
        assert not reuses(at(40000)[0], read_kernel_ports())
        with pytest.raises(OSError, match="Cannot assign requested address"):
            socket.create_connection(("127.0.0.1", PORT))


@pytest.mark.parametrize("lingers", [False, True])
def test_a_reset_leaves_nothing(in_namespace: Namespace, *, lingers: bool) -> None:
    """SO_LINGER of 0, and a close with data that was not read."""
    with Server("127.0.0.1", "127.0.0.1").listening() as listener:
        client = socket.create_connection(("127.0.0.1", PORT))
        port = client.getsockname()[1]
        with listener.accept()[0] as accepted:
            if lingers:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                accepted.send(b"unread")
                wait_until(lambda: client.recv(6, socket.MSG_PEEK) == b"unread", what="data")
            client.close()
            with pytest.raises(ConnectionResetError):
                accepted.recv(1)
        assert at(port) == []
        assert [row.state for row in at(PORT)] == [TcpState.LISTEN]


def test_a_privileged_port_is_told_from_a_taken_one(namespace: Namespace) -> None:
    """Without the capability the kernel says so before it looks who has the port."""
    script = (
        "import os\n"
        "from multirsh.ports.diagnosis.binding import Attempt\n"
        "from multirsh.ports.diagnosis.binding import probe\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "print(*(answer for port in (80, 8080) for answer in probe(port, [Attempt('0.0.0.0')]).values()))"
    )
    assert namespace.run([sys.executable, "-c", script]).stdout.split() == [b"not_permitted", b"works"]
