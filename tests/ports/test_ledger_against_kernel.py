"""The ledger beside a model of the kernel, where anything may happen in any order.

Other programs bind, listen, connect and close; timers are late; the ledger is
corrected now and then, or never. What must hold all the same: no 4-tuple that
is in use is handed out, none of ours in TIME_WAIT is taken over, none is
lost, and nobody asks in a hot loop.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from multirsh.model import ClosedBy, SourcePort
from multirsh.ports.ledger import EVERY_PORT, Ledger, PortBudget
from multirsh.ports.reserved import ANYWHERE
from multirsh.ports.sockets import Busy, Endpoint, Lease, Route, TcpState
from multirsh.ports.sysctls import KernelPorts
from tests.ports.kernel_model import ANY_ADDRESS, LATEST, KernelModel, Socket

EPHEMERAL = range(40000, 40002)
RESERVED = (1023, 1022)
SOURCES = ("10.0.0.1", "10.0.0.2")
REMOTES = tuple(Endpoint(f"10.1.0.{number}", 514) for number in (1, 2))
ROUTES = (Route(SOURCES[0], REMOTES[0]), Route(SOURCES[0], REMOTES[1]), Route(SOURCES[1], REMOTES[0]))
FIRST_TO_CLOSE = (TcpState.CLOSING, TcpState.TIME_WAIT, TcpState.FIN_WAIT1, TcpState.FIN_WAIT2)
KINDS = (SourcePort.EPHEMERAL, SourcePort.RESERVED)

routes = st.sampled_from(ROUTES)
kinds = st.sampled_from([*KINDS, SourcePort.RESERVED])  # There is more to get wrong.
which = st.integers(0, 1000)  # Of a list whose length is not known yet.
late = st.sampled_from([0.0, 2.0, LATEST])


class Stage(enum.Enum):
    """How far a connection of ours has come."""

    LEASED = enum.auto()
    CONNECTING = enum.auto()
    OPEN = enum.auto()
    LISTENING = enum.auto()


@dataclass(eq=False)
class Held:
    """A lease that is out."""

    lease: Lease
    stage: Stage = Stage.LEASED
    sock: Socket | None = None


class LedgerMachine(RuleBasedStateMachine):
    """One ledger, one kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = KernelModel(ephemeral=EPHEMERAL)
        self.ledger = Ledger(KernelPorts(ephemeral=EPHEMERAL))
        self.held: list[Held] = []
        self.others: list[Socket] = []
        self.kept: dict[tuple[Route, int], float] = {}
        self.ephemeral_ports = len(EPHEMERAL)
        self.reserved_ports: tuple[int, ...] = RESERVED

    @initialize(budget=st.sampled_from([EVERY_PORT, PortBudget(count=1)]), tw_reuse=st.booleans())
    def settings_of_this_run(self, budget: PortBudget, tw_reuse: bool) -> None:  # noqa: FBT001 - of hypothesis
        self.kernel = KernelModel(ephemeral=EPHEMERAL, tw_reuse=tw_reuse)
        kernel_ports = KernelPorts(ephemeral=EPHEMERAL, tw_reuse=int(tw_reuse))
        self.ledger = Ledger(kernel_ports, budget=budget, reserved=lambda: RESERVED)
        self.ephemeral_ports = budget.of(len(EPHEMERAL))
        self.reserved_ports = RESERVED[: budget.of(len(RESERVED))]

    # Our own connections.

    @rule(route=routes, kind=kinds)
    def ask(self, route: Route, kind: SourcePort) -> None:
        self.request(route, kind)

    @precondition(lambda self: self.of(Stage.LEASED))
    @rule(number=which)
    def connect(self, number: int) -> None:
        self.try_to_connect(self.one_of(Stage.LEASED, number=number))

    @precondition(lambda self: self.of(Stage.CONNECTING))
    @rule(number=which)
    def establish(self, number: int) -> None:
        held = self.one_of(Stage.CONNECTING, number=number)
        self.kernel.established(self.socket_of(held))
        self.ledger.connected(held.lease, self.socket_of(held).local.port)
        held.stage = Stage.OPEN

    @precondition(lambda self: self.of(Stage.LEASED, Stage.CONNECTING))
    @rule(number=which)
    def fail(self, number: int) -> None:
        self.vanish(self.one_of(Stage.LEASED, Stage.CONNECTING, number=number), None)

    @precondition(lambda self: self.of(Stage.OPEN))
    @rule(number=which, last_ack=st.sampled_from([0.0, 0.3, 90.0]))
    def remote_closes_first(self, number: int, last_ack: float) -> None:
        held = self.one_of(Stage.OPEN, number=number)
        self.kernel.closed_by_remote(self.socket_of(held), last_ack)
        self.end(held, ClosedBy.REMOTE)

    @precondition(lambda self: self.of(Stage.OPEN))
    @rule(
        number=which,
        state=st.sampled_from(FIRST_TO_CLOSE),
        seconds=st.sampled_from([0.1, 5.0, 60.0]),
        late=late,
    )
    def we_close_first(self, number: int, state: TcpState, seconds: float, late: float) -> None:
        held = self.one_of(Stage.OPEN, number=number)
        sock = self.socket_of(held)
        self.kernel.closed_by_local(sock, state, seconds, late=late)
        self.end(held, ClosedBy.LOCAL)
        if held.lease.port is not None:
            self.kept[held.lease.route, held.lease.port] = self.kernel.now + 60

    @precondition(lambda self: self.of(Stage.OPEN))
    @rule(number=which)
    def reset(self, number: int) -> None:
        self.vanish(self.one_of(Stage.OPEN, number=number), ClosedBy.RESET)

    @rule(route=routes, kind=kinds, number=which, seconds=st.sampled_from([0.1, 30.0]), late=late)
    def come_and_go(self, route: Route, kind: SourcePort, number: int, seconds: float, late: float) -> None:
        """A whole connection at once, so that much of it fits in one example."""
        answer = self.request(route, kind)
        if isinstance(answer, Lease) and self.try_to_connect(self.held[-1]):
            self.establish(self.of(Stage.CONNECTING).index(self.held[-1]))
            last = self.of(Stage.OPEN).index(self.held[-1])
            if number % 4:
                self.we_close_first(last, FIRST_TO_CLOSE[number % 4], seconds, late)
            else:
                self.remote_closes_first(last, seconds)

    @rule(source=st.sampled_from(SOURCES))
    def listen(self, source: str) -> None:
        answer = self.ledger.request_listener(source, self.kernel.now)
        if isinstance(answer, Busy):
            self.check_busy(answer)
            return
        assert answer.port in self.reserved_ports
        assert answer.port not in {held.lease.port for held in self.held}
        try:
            sock = self.kernel.bind(source, answer.port, reuse=True, is_ours=True)
        except OSError:
            self.ledger.refused(answer, self.kernel.now, four_tuple=False)
            return
        self.kernel.listen(sock)
        self.held.append(Held(answer, Stage.LISTENING, sock))

    @precondition(lambda self: self.of(Stage.LISTENING))
    @rule(number=which, remote=st.sampled_from(REMOTES), port=st.sampled_from(RESERVED))
    def accept(self, number: int, remote: Endpoint, port: int) -> None:
        listener = self.socket_of(self.one_of(Stage.LISTENING, number=number))
        peer = Endpoint(remote.address, port)
        sock = self.kernel.accept(listener, peer)
        if sock is not None:
            lease = self.ledger.adopt(Route(listener.local.address, peer), listener.local.port)
            self.held.append(Held(lease, Stage.OPEN, sock))

    @precondition(lambda self: self.of(Stage.LISTENING))
    @rule(number=which)
    def unlisten(self, number: int) -> None:
        self.vanish(self.one_of(Stage.LISTENING, number=number), None)

    # Other programs.

    @rule(
        address=st.sampled_from([*SOURCES, ANY_ADDRESS]),
        port=st.sampled_from([*RESERVED, *EPHEMERAL]),
        reuse=st.booleans(),
        listens=st.booleans(),
    )
    def others_bind(self, address: str, port: int, reuse: bool, listens: bool) -> None:  # noqa: FBT001 - of hypothesis
        try:
            sock = self.kernel.bind(address, port, reuse=reuse)
            if listens:
                self.kernel.listen(sock)
        except OSError:
            return
        self.others.append(sock)

    @rule(route=routes, number=which, is_bound=st.booleans())
    def others_connect(self, route: Route, number: int, is_bound: bool) -> None:  # noqa: FBT001 - of hypothesis
        bound = [
            sock for sock in self.others if sock.state is TcpState.CLOSE and sock.local.address != ANY_ADDRESS
        ]
        try:
            if not is_bound:
                self.others.append(self.kernel.connect_unbound(route.source, route.remote))
            elif bound:
                self.kernel.connect(bound[number % len(bound)], route.remote)
        except OSError:
            return

    @precondition(lambda self: self.others)
    @rule(number=which, goes_first=st.booleans(), late=late)
    def others_close(self, number: int, goes_first: bool, late: float) -> None:  # noqa: FBT001 - of hypothesis
        sock = self.others.pop(number % len(self.others))
        if goes_first and sock.state is TcpState.SYN_SENT:
            self.kernel.closed_by_local(sock, TcpState.TIME_WAIT, 0, late=late)
        else:
            self.kernel.vanish(sock)

    # Time, and the kernel's table.

    @rule(seconds=st.sampled_from([0.01, 1.0, 5.0, 61.0, 130.0]))
    def pass_time(self, seconds: float) -> None:
        self.kernel.pass_time(seconds)

    @rule(route=routes, kind=kinds)
    def correct(self, route: Route, kind: SourcePort) -> None:
        table = self.kernel.table()
        self.ledger.correct(route, kind, table, self.kernel.now)
        if kind is SourcePort.RESERVED:
            self.kept = {
                (Route(row.local.address, row.remote), row.local.port): self.kernel.now + row.seconds_left
                for row in table
                if row.seconds_left and row.local.port in RESERVED
            }

    @rule(route=routes, kind=kinds, corrects=st.booleans())
    def insist(self, route: Route, kind: SourcePort, corrects: bool) -> None:  # noqa: FBT001 - of hypothesis
        """Ask for three seconds, as the allocator does, while nobody else does anything."""
        end = self.kernel.now + 3
        asked = refused = 0
        while self.kernel.now < end:
            asked += 1
            assert refused <= 15 * len(RESERVED), "a hot loop of refusals"
            assert asked <= 40 * len(RESERVED), "a hot loop of questions"
            answer = self.request(route, kind)
            if isinstance(answer, Busy) and corrects:
                self.correct(route, kind)
                answer = self.request(route, kind)
            if isinstance(answer, Lease):
                if self.try_to_connect(self.held[-1]):
                    return
                refused += 1
            else:
                until = end if answer.until is None else answer.until
                self.kernel.pass_time(min(until, self.kernel.now + 1, end) - self.kernel.now)
        if corrects:
            assert not self.is_to_be_had(route, kind), "the kernel has a port, and nobody gets it"

    @invariant()
    def nothing_is_handed_out_twice(self) -> None:
        leased = [held.lease for held in self.held]
        four_tuples = [(lease.route, lease.port) for lease in leased if lease.port is not None]
        assert len(set(four_tuples)) == len(four_tuples)
        for route in ROUTES:
            ours = [lease for lease in leased if lease.route == route]
            assert sum(lease.port is None for lease in ours) <= self.ephemeral_ports
            assert sum(lease.port is not None for lease in ours) <= len(self.reserved_ports)
        assert {port for _, port in four_tuples} <= set(self.reserved_ports)
        alone = [lease.port for lease in leased if lease.port is not None and not lease.shared]
        for port in alone:
            assert [lease.port for lease in leased].count(port) == 1

    def teardown(self) -> None:
        """Everybody goes home; a minute later all is as it was in the beginning."""
        for held in list(self.held):
            self.vanish(held, None if held.stage is not Stage.OPEN else ClosedBy.RESET)
        for sock in self.others:
            self.kernel.vanish(sock)
        self.kernel.pass_time(200)
        assert self.kernel.sockets == []
        for route in ROUTES:
            for kind in KINDS:
                self.correct(route, kind)
        for route in ROUTES:
            for kind, ports in zip(KINDS, (self.ephemeral_ports, len(self.reserved_ports)), strict=True):
                for _ in range(ports):
                    assert isinstance(self.request(route, kind), Lease), "a port was lost"
                assert isinstance(self.request(route, kind), Busy), "a port was made up"
        for held in list(self.held):
            self.vanish(held, None)
        self.kernel.pass_time(200)
        for kind in KINDS:
            assert isinstance(self.request(ROUTES[0], kind), Lease)
            self.vanish(self.held[-1], None)
        assert self.ledger.routes() == 0

    # What the rules are made of.

    def of(self, *stages: Stage) -> list[Held]:
        return [held for held in self.held if held.stage in stages]

    def one_of(self, *stages: Stage, number: int) -> Held:
        there = self.of(*stages)
        return there[number % len(there)]

    @staticmethod
    def socket_of(held: Held) -> Socket:
        assert held.sock is not None
        return held.sock

    def request(self, route: Route, kind: SourcePort) -> Lease | Busy:
        now = self.kernel.now
        answer = self.ledger.request(route, kind, now)
        if isinstance(answer, Busy):
            self.check_busy(answer)
            return answer
        assert answer.route == route
        assert (answer.port is None) == (kind is SourcePort.EPHEMERAL)
        if answer.port is not None:
            assert self.kept.get((route, answer.port), now) <= now, "told to be kept, and handed out"
        self.held.append(Held(answer))
        return answer

    def check_busy(self, answer: Busy) -> None:
        assert answer.until is None or answer.until > self.kernel.now

    def try_to_connect(self, held: Held) -> bool:
        """As transports.tcp does."""
        lease = held.lease
        sock: Socket | None = None
        try:
            if lease.port is None:
                sock = self.kernel.connect_unbound(
                    lease.route.source, lease.route.remote, window=self.ledger.window, is_ours=True
                )
            else:
                sock = self.kernel.bind(lease.route.source, lease.port, reuse=lease.shared, is_ours=True)
                self.kernel.connect(sock, lease.route.remote)
        except OSError:
            self.ledger.refused(lease, self.kernel.now, four_tuple=sock is not None or lease.port is None)
            if sock is not None:
                self.kernel.vanish(sock)
            self.held.remove(held)
            return False
        held.sock, held.stage = sock, Stage.CONNECTING
        return True

    def vanish(self, held: Held, closed_by: ClosedBy | None) -> None:
        if held.sock is not None:
            self.kernel.vanish(held.sock)
        self.end(held, closed_by)

    def end(self, held: Held, closed_by: ClosedBy | None) -> None:
        self.ledger.give_back(held.lease, closed_by, self.kernel.now)
        self.held.remove(held)

    def is_to_be_had(self, route: Route, kind: SourcePort) -> bool:
        """Whether the kernel would let us connect now, and the ledger has no good reason not to."""
        leased = [held.lease for held in self.held]
        if kind is SourcePort.EPHEMERAL:
            window = self.ledger.window or EPHEMERAL
            free = [
                port
                for port in window
                if self.kernel.is_unbound(port)
                and self.kernel.at(Endpoint(route.source, port), route.remote) is None
            ]
            pending = sum(held.lease.route == route for held in self.of(Stage.LEASED))
            return len(free) > pending
        return any(
            self.would_bind(route, port)
            for port in self.reserved_ports
            if not any(lease.port == port and (lease.route == route or not lease.shared) for lease in leased)
            and not any(lease.port == port and lease.route.remote == ANYWHERE for lease in leased)
        )

    def would_bind(self, route: Route, port: int) -> bool:
        # What is in TIME_WAIT on a port that was refused is taken for the reason: it may be another.
        there = [sock for sock in self.kernel.sockets if sock.local.port == port]
        if any(sock.told_end is not None or sock.state is TcpState.LISTEN for sock in there):
            return False
        try:
            probe = self.kernel.bind(route.source, port, reuse=True)
        except OSError:
            return False
        self.kernel.vanish(probe)
        return self.kernel.at(Endpoint(route.source, port), route.remote) is None


LedgerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestLedgerAgainstKernel = LedgerMachine.TestCase
