"""Who holds one port, whether a server would get it, and the ways out.

Pure: the kernel's table, its settings, who holds what, and what a probe said
go in; a report of values comes out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from multirsh.ports.diagnosis import port_advice
from multirsh.ports.diagnosis.advice import Remedy
from multirsh.ports.diagnosis.binding import (
    REQUESTS,
    Attempt,
    BindAnswer,
    BindVerdict,
    Outcome,
    Reason,
    explain,
    judge,
    usual_attempts,
)
from multirsh.ports.diagnosis.values import HoldersByInode, Side, SocketGroup, grouped, service_ports
from multirsh.ports.sockets import TcpSocket, TcpState
from multirsh.ports.sysctls import KernelPorts


class Situation(enum.StrEnum):
    """What is at a port, in one word; of several, the first here is meant."""

    LISTENING = "listening"
    """A program listens on it."""
    BOUND = "bound"
    """A program has bound it, and does not listen (yet)."""
    SERVING = "serving"
    """No program listens, but connections of a server that did are still open."""
    CONNECTING = "connecting"
    """Connections of this machine leave from it."""
    LINGERING = "lingering"
    """Only what the kernel ends by itself: TIME_WAIT, and connections that no process has open."""
    HIDDEN = "hidden"
    """Nothing in the table, and yet the kernel refuses: before Linux 6.8 what is only bound does not show."""
    UNKNOWN = "unknown"
    """No table here, and the kernel did not say that it is free."""
    FREE = "free"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Bind:
    """One way to bind the port.

    Attributes:
        attempt: How.
        verdict: What is to be expected, by the table; ``None`` where there is no table.
        answer: What the kernel said when it was tried; ``None`` if it was not.
    """

    attempt: Attempt
    verdict: BindVerdict | None
    answer: BindAnswer | None

    @property
    def works(self) -> bool | None:
        """Whether bind(2) works: by the kernel's answer, else by the table; ``None`` where neither tells."""
        if self.answer in {
            BindAnswer.WORKS,
            BindAnswer.IN_USE,
            BindAnswer.NOT_PERMITTED,
            BindAnswer.NO_ADDRESS,
        }:
            return self.answer is BindAnswer.WORKS
        if self.verdict is None or self.verdict.outcome is Outcome.DEPENDS:
            return None
        return self.verdict.outcome is Outcome.WORKS

    @property
    def reason(self) -> Reason:
        """Why."""
        return explain(self.verdict, self.answer)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortReport:
    """All about one port.

    Attributes:
        port: 1-65535.
        kernel: The settings.
        is_known: Whether the kernel's table could be read.
        situation: What is there, in one word.
        groups: What is at the port, in the order of a connection's life.
        towards: Connections of this machine to that port elsewhere (or of its own), alike ones together.
        binds: What a server would be told.
        is_privileged: Whether binding it needs CAP_NET_BIND_SERVICE.
        is_permitted: Whether we could bind it as far as that goes; ``None`` where nobody tried.
        is_ephemeral: Whether the kernel may choose it for a connection.
        free_in_s: Seconds until all that is there is over by itself, as things stand; ``None`` where
            something is there that has no such end, or tells none.
        ways: The ways out, the best first.
    """

    port: int
    kernel: KernelPorts
    is_known: bool
    situation: Situation
    groups: tuple[SocketGroup, ...]
    towards: tuple[SocketGroup, ...]
    binds: tuple[Bind, ...]
    is_privileged: bool
    is_permitted: bool | None
    is_ephemeral: bool
    free_in_s: float | None
    ways: tuple[Remedy, ...]


def diagnose_port(
    port: int,
    table: Sequence[TcpSocket] | None,
    kernel: KernelPorts,
    holders: HoldersByInode,
    *,
    answers: Mapping[Attempt, BindAnswer] | None = None,
    most_peers: int = 5,
) -> PortReport:
    """Look at one port.

    Args:
        port: 1-65535.
        table: As ``read_table`` gives it; ``None`` where there is no such table.
        kernel: The settings.
        holders: Who has which socket open.
        answers: What ``probe`` was told of ``usual_attempts()``; ``None`` if nobody asked.
        most_peers: How many far ends a group may list.
    """
    rows = table or ()
    services = service_ports(rows, kernel)
    here = [row for row in rows if row.local.port == port and row.state not in REQUESTS]
    there = [row for row in rows if row.remote.port == port and row.local.port != port]
    groups = grouped(here, services=services, kernel=kernel, holders=holders, most_peers=most_peers)
    towards = grouped(there, services=services, kernel=kernel, holders=holders, by_far_end=True)
    binds = tuple(
        Bind(attempt, None if table is None else judge(attempt, here), (answers or {}).get(attempt))
        for attempt in usual_attempts()
    )
    situation = _situation(groups, binds, is_known=table is not None)
    is_privileged = port < kernel.unprivileged_start
    is_permitted = _is_permitted(binds)
    is_ephemeral = port in kernel.ephemeral and port not in kernel.reserved_by_admin
    free_in_s = _free_in_s(groups)
    return PortReport(
        port=port,
        kernel=kernel,
        is_known=table is not None,
        situation=situation,
        groups=groups,
        towards=towards,
        binds=binds,
        is_privileged=is_privileged,
        is_permitted=is_permitted,
        is_ephemeral=is_ephemeral,
        free_in_s=free_in_s,
        ways=(
            *_ways(situation, port, groups, kernel, binds, free_in_s),
            *(port_advice.privileged(port) if is_privileged and is_permitted is False else ()),
        ),
    )


def _situation(groups: Iterable[SocketGroup], binds: Iterable[Bind], *, is_known: bool) -> Situation:
    groups = tuple(groups)
    is_refused = any(bind.answer is BindAnswer.IN_USE for bind in binds)
    if any(group.state is TcpState.LISTEN for group in groups):
        return Situation.LISTENING
    if any(group.state is TcpState.CLOSE for group in groups):
        return Situation.BOUND
    if groups:
        lasting = [
            group for group in groups if group.state is not TcpState.TIME_WAIT and not group.is_orphaned
        ]
        if not lasting:
            return Situation.LINGERING
        is_server = any(group.side is Side.SERVER for group in lasting)
        return Situation.SERVING if is_server else Situation.CONNECTING
    if is_known:
        return Situation.HIDDEN if is_refused else Situation.FREE
    is_free = any(bind.answer is BindAnswer.WORKS for bind in binds) and not is_refused
    return Situation.FREE if is_free else Situation.UNKNOWN


def _is_permitted(binds: Iterable[Bind]) -> bool | None:
    answers = {bind.answer for bind in binds} - {None, BindAnswer.NO_ADDRESS, BindAnswer.UNKNOWN}
    return BindAnswer.NOT_PERMITTED not in answers if answers else None


def _free_in_s(groups: Sequence[SocketGroup]) -> float | None:
    ends = [group.last_ends_s for group in groups]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _ways(
    situation: Situation,
    port: int,
    groups: tuple[SocketGroup, ...],
    kernel: KernelPorts,
    binds: Iterable[Bind],
    free_in_s: float | None,
) -> tuple[Remedy, ...]:
    works = {bind.works for bind in binds if bind.attempt.reuse_address and not bind.attempt.is_v6}
    reuse_helps = works.pop() if len(works) == 1 else None
    match situation:
        case Situation.LISTENING:
            return port_advice.somebody_listens(port, groups)
        case Situation.BOUND:
            return port_advice.somebody_has_bound_it(port, groups)
        case Situation.SERVING:
            return port_advice.connections_are_open(port, groups, reuse_helps=reuse_helps)
        case Situation.CONNECTING:
            return port_advice.clients_have_it(port, groups, kernel)
        case Situation.LINGERING:
            return port_advice.only_the_kernel_has_it(free_in_s, reuse_helps=reuse_helps)
        case Situation.HIDDEN:
            return port_advice.nobody_shows(port)
        case Situation.UNKNOWN:
            return port_advice.no_table(port)
        case Situation.FREE:
            return ()
