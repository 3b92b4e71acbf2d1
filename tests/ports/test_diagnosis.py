"""The reports, from tables that tests write by hand; and from any table at all."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.ports.diagnosis import (
    Attempt,
    BindAnswer,
    FindingKind,
    Holder,
    Outcome,
    PortReport,
    Reason,
    Side,
    Situation,
    Survey,
    diagnose_port,
    survey,
    usual_attempts,
)
from multirsh.ports.diagnosis.advice import folded
from multirsh.ports.diagnosis.binding import judge
from multirsh.ports.sockets import Endpoint, TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts

KERNEL = KernelPorts(tw_reuse=0)
SMALL = KernelPorts(tw_reuse=0, ephemeral=range(40000, 40100))
HERE, THERE = "192.0.2.1", "198.51.100.7"
SHOPD = Holder(77, "shopd")


def listener(port: int, address: str = "0.0.0.0", *, inode: int = 1) -> TcpSocket:
    return TcpSocket(TcpState.LISTEN, Endpoint(address, port), Endpoint("0.0.0.0", 0), inode=inode)


def client(
    port: int,
    state: TcpState = TcpState.ESTABLISHED,
    *,
    to: tuple[str, int] = (THERE, 22),
    left: float | None = None,
    inode: int = 2,
) -> TcpSocket:
    has_process = state is not TcpState.TIME_WAIT
    return TcpSocket(state, Endpoint(HERE, port), Endpoint(*to), left, inode if has_process else 0)


def served(
    far_port: int, state: TcpState = TcpState.ESTABLISHED, *, port: int = 8080, left: float | None = None
) -> TcpSocket:
    inode = 0 if state is TcpState.TIME_WAIT else 1
    return TcpSocket(state, Endpoint(HERE, port), Endpoint(THERE, far_port), left, inode)


def kinds(report: Survey) -> list[FindingKind]:
    return [one.kind for one in report.findings]


# ---------------------------------------------------------------- all ports


def test_an_idle_machine() -> None:
    report = survey([], KERNEL, {})

    assert (report.ephemeral.usable, report.ephemeral.in_use) == (28232, 0)
    assert report.time_wait.total == 0
    assert (report.reserved.taken, report.reserved.free) == (0, 512)
    assert report.findings == ()
    assert round(report.rates.local_first, 1) == 470.5
    assert round(report.rates.reserved_local_first, 1) == 8.5
    assert report.rates.reusing is None


def test_no_table_is_no_idle_machine() -> None:
    assert survey([], KERNEL, {}).is_known
    assert not survey(None, KERNEL, {}).is_known


def test_reuse_makes_a_second_of_a_minute_where_there_are_timestamps() -> None:
    assert survey([], KernelPorts(tw_reuse=1), {}).rates.reusing == 28232
    assert survey([], KernelPorts(tw_reuse=1, tw_reuse_delay=0.5), {}).rates.reusing == 56464
    without = survey([], KernelPorts(tw_reuse=1, timestamps=False), {})
    assert without.rates.reusing is None
    assert kinds(without) == [FindingKind.REUSE_WITHOUT_TIMESTAMPS]


def test_what_is_kept_or_bound_is_no_port_for_connections() -> None:
    kernel = KernelPorts(ephemeral=range(40000, 40100), reserved_by_admin=frozenset({40001, 40002, 9000}))
    bound = TcpSocket(TcpState.CLOSE, Endpoint("127.0.0.1", 40004), Endpoint("0.0.0.0", 0), inode=9)
    report = survey([listener(40001), listener(40003), listener(80), bound, client(40050)], kernel, {})

    assert (report.ephemeral.kept, report.ephemeral.listening) == (2, (40003,))
    assert (report.ephemeral.usable, report.ephemeral.in_use) == (96, 1)
    (found,) = report.findings
    assert found.kind is FindingKind.LISTENERS_IN_THE_RANGE
    # What is kept already is kept on.
    assert found.ways[0].command == "sysctl -w net.ipv4.ip_local_reserved_ports=9000,40001-40003"


def test_destinations_are_counted_from_the_address_that_has_fewest_left() -> None:
    other = [
        TcpSocket(TcpState.ESTABLISHED, Endpoint("192.0.2.2", 40000 + n), Endpoint(THERE, 22), inode=2)
        for n in range(5)
    ]
    ours = [client(40000 + n, TcpState.TIME_WAIT) for n in range(7)]
    report = survey([*other, *ours, client(40000, to=(THERE, 443))], SMALL, {})

    first, second = report.destinations
    assert (first.remote, first.source, first.used, first.left) == (Endpoint(THERE, 22), HERE, 7, 93)
    assert first.states == {TcpState.ESTABLISHED: 5, TcpState.TIME_WAIT: 7}
    assert (second.remote, second.used) == (Endpoint(THERE, 443), 1)
    assert report.ephemeral.in_use == 7  # one port serves several destinations


@pytest.mark.parametrize(("used", "warned"), [(79, False), (80, True), (100, True)])
def test_few_ports_left(used: int, *, warned: bool) -> None:
    report = survey([client(40000 + n, TcpState.TIME_WAIT) for n in range(used)], SMALL, {})

    assert kinds(report) == [FindingKind.FEW_PORTS_LEFT] * warned
    if warned:
        (found,) = report.findings
        commands = [way.command for way in found.ways if way.command]
        assert commands == [
            "sysctl -w net.ipv4.tcp_tw_reuse=1",
            "sysctl -w net.ipv4.ip_local_port_range='16384 60999'",
        ]
        assert "tcp_tw_recycle" in " ".join(found.leave_alone)


@pytest.mark.parametrize(
    ("reuse", "source", "reused"),
    [(0, HERE, False), (1, HERE, True), (2, HERE, False), (2, "127.0.0.1", True)],
)
def test_what_may_be_taken_over_is_left(reuse: int, source: str, *, reused: bool) -> None:
    kernel = KernelPorts(tw_reuse=reuse, ephemeral=range(40000, 40100))
    rows = [
        TcpSocket(TcpState.TIME_WAIT, Endpoint(source, 40000 + n), Endpoint(THERE, 22), 9.0)
        for n in range(90)
    ]
    (one,) = survey(rows, kernel, {}).destinations
    assert (one.used, one.left, one.reuses) == (90, 100 if reused else 10, reused)


def test_time_wait_is_on_the_side_of_who_connected_or_who_was_connected_to() -> None:
    rows = [
        *(client(40000 + n, TcpState.TIME_WAIT, left=30.0 + n) for n in range(3)),
        *(served(50000 + n, TcpState.TIME_WAIT, left=3.5) for n in range(2)),
        client(1023, TcpState.TIME_WAIT, to=(THERE, 514), left=59.0),
    ]
    waiting = survey(rows, KERNEL, {}).time_wait

    assert (waiting.client, waiting.server, waiting.total) == (4, 2, 6)
    assert (waiting.first_ends_s, waiting.last_ends_s) == (3.5, 59.0)


def test_a_server_on_an_ephemeral_port_is_known_by_its_many_clients() -> None:
    rows = [served(50000 + n, TcpState.TIME_WAIT, port=45000) for n in range(3)]
    assert survey(rows, KERNEL, {}).time_wait.server == 3


def test_reserved_ports_and_by_what_they_are_taken() -> None:
    rows = [
        listener(631, "127.0.0.1", inode=5),
        *(client(port, TcpState.TIME_WAIT, to=(THERE, 514)) for port in range(1023, 1003, -1)),
        client(900, to=(THERE, 2049), inode=0),
    ]
    reserved = survey(rows, KERNEL, {5: [SHOPD]}).reserved

    assert (reserved.taken, reserved.free) == (22, 490)
    assert [(group.end, group.state.name, group.count) for group in reserved.groups] == [
        (Endpoint("127.0.0.1", 631), "LISTEN", 1),
        (Endpoint(THERE, 2049), "ESTABLISHED", 1),
        (Endpoint(THERE, 514), "TIME_WAIT", 20),
    ]
    assert reserved.groups[0].holders == (SHOPD,)


def test_warnings_of_pools_that_run_out() -> None:
    kernel = KernelPorts(tw_reuse=0, max_tw_buckets=500)
    rows = [client(port, TcpState.TIME_WAIT, to=(THERE, 514)) for port in range(1023, 523, -1)]
    assert kinds(survey(rows, kernel, {})) == [
        FindingKind.RESERVED_PORTS_RUN_OUT,
        FindingKind.TIME_WAIT_IS_DROPPED,
    ]


def test_who_never_closes_is_named() -> None:
    rows = [served(50000 + n, TcpState.CLOSE_WAIT) for n in range(20)]
    (found,) = survey([listener(8080), *rows], KERNEL, {1: [SHOPD]}).findings
    assert found.kind is FindingKind.NEVER_CLOSED
    assert found.message.startswith("20 connections of shopd (pid 77) are in CLOSE_WAIT")
    assert survey(rows[1:], KERNEL, {}).findings == ()


def test_a_timeout_that_was_turned_down() -> None:
    assert kinds(survey([], KernelPorts(fin_timeout=15), {})) == [FindingKind.FIN_TIMEOUT_WAS_CHANGED]


def test_ports_are_folded() -> None:
    assert folded([8080, 111, 6001, 6000, 6002]) == "111,6000-6002,8080"
    assert folded([]) == ""


# ---------------------------------------------------------------- one port


def diagnosed(
    rows: list[TcpSocket], answer: BindAnswer | dict[bool, BindAnswer] | None = None, *, port: int = 8080
) -> PortReport:
    """The report, where the kernel gave ``answer`` to all, or by whether SO_REUSEADDR was set."""
    answers = None
    if answer is not None:
        answers = {
            attempt: answer[attempt.reuse_address] if isinstance(answer, dict) else answer
            for attempt in usual_attempts()
        }
    return diagnose_port(port, rows, KERNEL, {1: [SHOPD]}, answers=answers)


def test_a_listener_and_its_connections() -> None:
    report = diagnosed(
        [
            listener(8080),
            *(served(50000 + n) for n in range(9)),
            served(60000, TcpState.TIME_WAIT, left=12.0),
        ],
        BindAnswer.IN_USE,
    )

    assert report.situation is Situation.LISTENING
    assert [(group.state.name, group.count, group.side) for group in report.groups] == [
        ("LISTEN", 1, Side.SERVER),
        ("ESTABLISHED", 9, Side.SERVER),
        ("TIME_WAIT", 1, Side.SERVER),
    ]
    assert len(report.groups[1].peers) == 5
    assert {bind.reason for bind in report.binds} == {Reason.LISTENER}
    assert report.free_in_s is None
    assert report.ways[0].command == "kill 77"


def test_the_first_process_is_not_to_be_stopped() -> None:
    report = diagnose_port(8080, [listener(8080)], KERNEL, {1: [Holder(1, "systemd")]})
    assert report.ways[0].command == "systemctl list-sockets"


def test_a_listener_of_somebody_who_is_not_shown() -> None:
    report = diagnose_port(8080, [listener(8080)], KERNEL, {})
    assert report.ways[0].command == "sudo multirsh ports 8080"
    assert all("kill" not in (way.command or "") for way in report.ways)


@pytest.mark.parametrize(
    ("with_it", "reason", "first"),
    [
        (BindAnswer.WORKS, Reason.OTHER_HAS_IT, "set SO_REUSEADDR"),
        (BindAnswer.IN_USE, Reason.OTHER_LACKS_IT, "wait 43 s"),
        (None, Reason.IF_OTHER_HAS_IT, "set SO_REUSEADDR"),
    ],
)
def test_a_server_that_was_restarted(with_it: BindAnswer | None, reason: Reason, first: str) -> None:
    answers = None if with_it is None else {False: BindAnswer.IN_USE, True: with_it}
    report = diagnosed([served(50000, TcpState.TIME_WAIT, left=43.2)], answers)

    assert report.situation is Situation.LINGERING
    assert report.free_in_s == 43.2
    without, with_option, *_ = report.binds
    assert (without.works, without.reason) == (False, Reason.NOT_SET)
    assert with_option.reason is reason
    assert with_option.works == {BindAnswer.WORKS: True, BindAnswer.IN_USE: False, None: None}[with_it]
    assert report.ways[0].what.startswith(first)


def test_connections_that_outlived_their_listener() -> None:
    report = diagnosed([served(50000), served(50001)])
    assert report.situation is Situation.SERVING
    assert "kill 77" in [way.command for way in report.ways]


def test_a_connection_that_took_the_port_of_a_service() -> None:
    report = diagnosed([client(45000, inode=1)], BindAnswer.IN_USE, port=45000)
    assert (report.situation, report.is_ephemeral) == (Situation.CONNECTING, True)
    assert "sysctl -w net.ipv4.ip_local_reserved_ports=45000" in [way.command for way in report.ways]


def test_orphans_go_by_themselves() -> None:
    row = TcpSocket(TcpState.FIN_WAIT2, Endpoint(HERE, 8080), Endpoint(THERE, 50000), 17.0, 0)
    report = diagnosed([row])
    assert (report.situation, report.free_in_s) == (Situation.LINGERING, 17.0)
    assert report.groups[0].is_orphaned


def test_bound_and_no_more() -> None:
    row = TcpSocket(TcpState.CLOSE, Endpoint("0.0.0.0", 8080), Endpoint("0.0.0.0", 0), None, 1)
    assert diagnosed([row], BindAnswer.IN_USE).situation is Situation.BOUND
    assert diagnosed([], BindAnswer.IN_USE).situation is Situation.HIDDEN


def test_a_free_port_and_a_privileged_one() -> None:
    free = diagnosed([], BindAnswer.WORKS)
    assert (free.situation, free.ways, free.is_permitted) == (Situation.FREE, (), True)
    refused = diagnosed([], BindAnswer.NOT_PERMITTED, port=80)
    assert (refused.situation, refused.is_privileged, refused.is_permitted) == (Situation.FREE, True, False)
    assert [way.command for way in refused.ways] == [
        "setcap cap_net_bind_service=+ep PROGRAM",
        "sysctl -w net.ipv4.ip_unprivileged_port_start=80",
    ]


def test_without_a_table_the_kernels_answer_is_all_there_is() -> None:
    def without_table(answer: BindAnswer) -> PortReport:
        return diagnose_port(8080, None, KERNEL, {}, answers=dict.fromkeys(usual_attempts(), answer))

    assert without_table(BindAnswer.WORKS).situation is Situation.FREE
    taken = without_table(BindAnswer.IN_USE)
    assert (taken.is_known, taken.situation) == (False, Situation.UNKNOWN)
    assert taken.ways[0].command == "lsof -nP -iTCP:8080"


def test_connections_to_that_port_elsewhere() -> None:
    report = diagnosed([client(40000, to=(THERE, 5432)), client(40001, to=(THERE, 5432))], port=5432)
    assert report.situation is Situation.FREE
    (group,) = report.towards
    assert (group.end, group.count, group.side) == (Endpoint(THERE, 5432), 2, Side.CLIENT)


@pytest.mark.parametrize("state", [TcpState.LISTEN, TcpState.CLOSE])
def test_one_ipv6_address_is_certainly_not_in_the_way_of_ipv4(state: TcpState) -> None:
    """bind(2) to it makes a socket v6only by itself: there is nothing to be unsure of."""
    row = TcpSocket(state, Endpoint("2001:db8::1", 8080), Endpoint("::", 0), None, 1)
    assert judge(Attempt("0.0.0.0"), [row]).outcome is Outcome.WORKS
    assert judge(Attempt("192.0.2.1"), [row._replace(state=TcpState.ESTABLISHED)]).outcome is Outcome.WORKS


# ---------------------------------------------------------------- any table

addresses = st.one_of(
    st.sampled_from(["0.0.0.0", "::", "127.0.0.1", "::1", HERE]),
    st.ip_addresses().map(str),
)
ports = st.one_of(st.sampled_from([0, 22, 80, 514, 1023, 8080, 40000, 65535]), st.integers(0, 65535))
endpoints = st.builds(Endpoint, addresses, ports)
sockets = st.builds(
    TcpSocket,
    st.sampled_from(TcpState),
    endpoints,
    endpoints,
    st.one_of(st.none(), st.floats(-1.0, 120.0)),
    st.integers(0, 3),
    st.integers(0, 2**32 - 1),
)
kernels = st.builds(
    KernelPorts,
    ephemeral=st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(
        lambda ends: range(min(ends), max(ends) + 1)
    ),
    reserved_by_admin=st.frozensets(st.integers(0, 65535), max_size=5),
    unprivileged_start=st.integers(0, 65535),
    tw_reuse=st.integers(0, 2),
    tw_reuse_delay=st.sampled_from([0.0, 0.001, 1.0]),
    fin_timeout=st.integers(0, 120),
    max_tw_buckets=st.integers(0, 10),
    timestamps=st.booleans(),
)
holders = st.dictionaries(
    st.integers(0, 3), st.lists(st.builds(Holder, st.integers(1, 4), st.text(max_size=15)), max_size=3)
)
tables = st.one_of(st.none(), st.lists(sockets, max_size=12))


@given(tables, kernels, holders)
def test_any_table_gives_a_survey(
    table: list[TcpSocket] | None, kernel: KernelPorts, holding: dict[int, list[Holder]]
) -> None:
    report = survey(table, kernel, holding)

    assert sum(report.states.values()) == len(table or ())
    assert 0 <= report.ephemeral.usable <= len(kernel.ephemeral)
    assert report.time_wait.total == report.states.get(TcpState.TIME_WAIT, 0)
    assert report.reserved.taken + report.reserved.free == 512
    for destination in report.destinations:
        assert 0 <= destination.left <= report.ephemeral.usable


@given(
    tables,
    kernels,
    holders,
    st.integers(1, 65535) | st.sampled_from([8080, 1023]),
    st.one_of(st.none(), st.fixed_dictionaries(dict.fromkeys(usual_attempts(), st.sampled_from(BindAnswer)))),
)
def test_any_table_gives_a_report_on_any_port(
    table: list[TcpSocket] | None,
    kernel: KernelPorts,
    holding: dict[int, list[Holder]],
    port: int,
    answers: dict[Attempt, BindAnswer] | None,
) -> None:
    report = diagnose_port(port, table, kernel, holding, answers=answers)

    assert {bind.attempt for bind in report.binds} == set(usual_attempts())
    assert all(bind.reason in Reason for bind in report.binds)
    assert sum(group.count for group in report.groups) <= len(table or ())
    if report.situation is Situation.LISTENING:
        assert report.ways


@given(rows=st.lists(sockets, max_size=8), address=addresses, v6only=st.booleans(), reuse=st.booleans())
def test_setting_more_never_puts_more_in_the_way(
    rows: list[TcpSocket], address: str, *, v6only: bool, reuse: bool
) -> None:
    """SO_REUSEADDR and IPV6_V6ONLY can only help; and a wildcard is never easier to have than one address."""
    weight = {Outcome.WORKS: 0, Outcome.DEPENDS: 1, Outcome.FAILS: 2}

    def trouble(attempt: Attempt) -> int:
        return weight[judge(attempt, rows).outcome]

    plain = Attempt(address, reuse_address=reuse, v6only=v6only)
    assert trouble(plain._replace(reuse_address=True)) <= trouble(plain)
    assert trouble(plain._replace(v6only=True)) <= trouble(plain)
    wildcard = "::" if ipaddress.ip_address(address).version == 6 else "0.0.0.0"
    assert trouble(plain) <= trouble(plain._replace(address=wildcard))
