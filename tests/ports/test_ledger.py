"""The ledger's two pools by one set of verbs: what the kernel's settings and the budget make of them."""

from __future__ import annotations

import time

import pytest

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.ledger import EVERY_PORT, TIME_WAIT_SECONDS, Ledger, PortBudget
from multirsh.ports.reserved import ANYWHERE
from multirsh.ports.sockets import Busy, Endpoint, Lease, Route, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

HOST = Route("10.0.0.1", Endpoint("10.1.0.1", 514))
LOOPBACK = Route("127.0.0.1", Endpoint("127.1.2.3", 514))
LOOPBACK6 = Route("::1", Endpoint("::1", 514))
TEN = range(40000, 40010)
EPHEMERAL, RESERVED = SourcePort.EPHEMERAL, SourcePort.RESERVED


def lease(ledger: Ledger, route: Route = HOST, kind: SourcePort = EPHEMERAL, now: float = 0.0) -> Lease:
    answer = ledger.request(route, kind, now)
    assert isinstance(answer, Lease)
    return answer


def room(ledger: Ledger, route: Route = HOST, kind: SourcePort = EPHEMERAL, now: float = 0.0) -> int:
    """How many leases there are to be had; they are taken."""
    count = 0
    while isinstance(ledger.request(route, kind, now), Lease):
        count += 1
    return count


def closed(ledger: Ledger, by: ClosedBy | None, route: Route = HOST, kind: SourcePort = EPHEMERAL) -> None:
    one = lease(ledger, route, kind)
    ledger.connected(one, one.port or TEN.start)
    ledger.give_back(one, by, 0.0)


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
@pytest.mark.parametrize("by", [ClosedBy.REMOTE, ClosedBy.RESET, None])
def test_what_the_remote_closed_first_or_a_reset_leaves_the_port_free(
    by: ClosedBy | None, kind: SourcePort
) -> None:
    ledger = Ledger(KernelPorts(ephemeral=range(40000, 40001)), reserved=lambda: [1023])
    closed(ledger, by, kind=kind)
    lease(ledger, kind=kind)


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
def test_what_we_closed_first_keeps_it_for_a_minute(kind: SourcePort) -> None:
    ledger = Ledger(KernelPorts(ephemeral=range(40000, 40001)), reserved=lambda: [1023])
    closed(ledger, ClosedBy.LOCAL, kind=kind)
    assert ledger.request(HOST, kind, 1.0) == Busy(TIME_WAIT_SECONDS)
    lease(ledger, kind=kind, now=TIME_WAIT_SECONDS)


@pytest.mark.parametrize(
    ("route", "tw_reuse", "timestamps", "seconds"),
    [
        (HOST, 0, True, 60.0),
        (HOST, 1, True, 1.0),
        (HOST, 1, False, 60.0),
        (HOST, 2, True, 60.0),
        (LOOPBACK, 0, True, 60.0),
        (LOOPBACK, 2, True, 1.0),
        (LOOPBACK, 2, False, 60.0),
        (LOOPBACK6, 2, True, 1.0),
    ],
)
def test_tcp_tw_reuse_is_for_ephemeral_ports_only(
    *, route: Route, tw_reuse: int, timestamps: bool, seconds: float
) -> None:
    kernel = KernelPorts(ephemeral=range(40000, 40001), tw_reuse=tw_reuse, timestamps=timestamps)
    ledger = Ledger(kernel, reserved=lambda: [1023])
    closed(ledger, ClosedBy.LOCAL, route)
    assert ledger.request(route, EPHEMERAL, 0.5) == Busy(seconds)
    closed(ledger, ClosedBy.LOCAL, route, RESERVED)
    assert ledger.request(route, RESERVED, 0.5) == Busy(TIME_WAIT_SECONDS)


def test_the_tables_time_wait_is_shortened_by_what_tcp_tw_reuse_spares() -> None:
    ledger = Ledger(KernelPorts(ephemeral=range(40000, 40001), tw_reuse=1))
    row = TcpSocket(TcpState.TIME_WAIT, Endpoint(HOST.source, 40000), HOST.remote, 59.5)
    ledger.correct(HOST, EPHEMERAL, [row], 0.0)
    assert ledger.request(HOST, EPHEMERAL, 0.0) == Busy(0.5)


def test_of_the_table_only_the_routes_rows_within_the_range_count() -> None:
    ledger = Ledger(KernelPorts(ephemeral=TEN, reserved_by_admin=frozenset({40009})))
    elsewhere = Endpoint("10.9.9.9", 514)
    rows = [
        TcpSocket(TcpState.ESTABLISHED, Endpoint(HOST.source, 40000), HOST.remote),
        TcpSocket(TcpState.ESTABLISHED, Endpoint(HOST.source, 40009), HOST.remote),
        TcpSocket(TcpState.ESTABLISHED, Endpoint(HOST.source, 39999), HOST.remote),
        TcpSocket(TcpState.ESTABLISHED, Endpoint("10.0.0.2", 40001), HOST.remote),
        TcpSocket(TcpState.ESTABLISHED, Endpoint(HOST.source, 40002), elsewhere),
    ]
    ledger.correct(HOST, EPHEMERAL, rows, 0.0)
    assert room(ledger) == 8


def test_reserved_ports_are_corrected_together() -> None:
    ledger = Ledger(KernelPorts(), reserved=lambda: [1023])
    rows = [
        TcpSocket(TcpState.TIME_WAIT, Endpoint(HOST.source, 1023), HOST.remote, 30.0),
        TcpSocket(TcpState.TIME_WAIT, Endpoint(HOST.source, 40000), HOST.remote, 30.0),
    ]
    ledger.correct(LOOPBACK, RESERVED, rows, 0.0)
    assert ledger.request(HOST, RESERVED, 0.0) == Busy(30.0)
    assert ledger.routes() == 1


def test_a_budget_is_a_window_at_the_end_of_the_range() -> None:
    ledger = Ledger(KernelPorts(ephemeral=TEN), budget=PortBudget(count=3))
    assert ledger.window == range(40007, 40010)
    assert room(ledger) == 3
    assert room(ledger, LOOPBACK) == 3, "each destination has its own"


def test_without_a_budget_there_is_no_window() -> None:
    assert Ledger(KernelPorts(ephemeral=TEN)).window is None
    assert Ledger(KernelPorts(ephemeral=TEN), budget=PortBudget(count=10)).window is None


def test_the_window_is_as_much_longer_as_there_are_reservations_in_it() -> None:
    kernel = KernelPorts(ephemeral=TEN, reserved_by_admin=frozenset({40005, 40008, 40009, 8080}))
    ledger = Ledger(kernel, budget=PortBudget(count=3))
    assert ledger.window == range(40004, 40010)
    assert room(ledger) == 3
    assert room(Ledger(kernel)) == 7


def test_a_range_that_is_all_reserved_has_no_ports() -> None:
    ledger = Ledger(KernelPorts(ephemeral=TEN, reserved_by_admin=frozenset(TEN)), budget=PortBudget(count=3))
    assert ledger.request(HOST, EPHEMERAL, 0.0) == Busy(None)


def test_long_reservations_do_not_make_the_start_slow() -> None:
    kernel = KernelPorts(ephemeral=range(1024, 65536), reserved_by_admin=frozenset(range(5000, 65536)))
    began = time.process_time()
    assert Ledger(kernel, budget=PortBudget(count=1000)).window == range(4000, 65536)
    assert time.process_time() - began < 1


def test_the_budget_holds_for_reserved_ports_too() -> None:
    ledger = Ledger(KernelPorts(), budget=PortBudget(share=0.5), reserved=lambda: [1023, 1022, 1021, 1020])
    assert room(ledger, kind=RESERVED) == 2
    assert room(ledger, LOOPBACK, RESERVED) == 2


def test_refusals_go_to_the_pool_they_came_from() -> None:
    ledger = Ledger(KernelPorts(ephemeral=TEN), budget=EVERY_PORT, reserved=lambda: [1023])
    for kind in (EPHEMERAL, RESERVED):
        ledger.refused(lease(ledger, kind=kind), 0.0, four_tuple=True)
        assert isinstance(ledger.request(HOST, kind, 0.0), Busy)


def test_a_listener_and_what_it_accepts_have_leases_of_reserved_ports() -> None:
    ledger = Ledger(KernelPorts(), reserved=lambda: [1023])
    listener = ledger.request_listener(HOST.source, 0.0)
    assert isinstance(listener, Lease)
    assert listener.route.remote == ANYWHERE
    accepted = ledger.adopt(Route(HOST.source, Endpoint("10.1.0.1", 1000)), 1023)
    ledger.give_back(listener, None, 0.0)
    ledger.give_back(accepted, ClosedBy.REMOTE, 0.0)
    assert isinstance(ledger.request_listener(HOST.source, 0.0), Lease)


@pytest.mark.parametrize("kind", [EPHEMERAL, RESERVED])
def test_a_lease_that_is_not_out_is_a_bug_that_is_told(kind: SourcePort) -> None:
    ledger = Ledger(KernelPorts())
    one = lease(ledger, kind=kind)
    ledger.give_back(one, None, 0.0)
    with pytest.raises(KeyError):
        ledger.give_back(one, None, 0.0)


def test_a_route_that_is_low_is_told_and_only_it() -> None:
    ledger = Ledger(KernelPorts(ephemeral=TEN))
    for _ in range(9):
        assert not ledger.is_low(HOST, 0.0)
        lease(ledger)
    assert ledger.is_low(HOST, 0.0)
    assert not ledger.is_low(LOOPBACK, 0.0)
