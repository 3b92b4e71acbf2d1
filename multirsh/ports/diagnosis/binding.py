"""Whether bind(2) would give a server its port: Linux's rules, applied to the kernel's table.

Two questions for every socket at the port. Do the addresses overlap? And if
they do, does SO_REUSEADDR help? It does only where *both* sockets have it and
the other one does not listen. The table shows neither SO_REUSEADDR nor
IPV6_V6ONLY of other sockets, so some answers are "unless".

The rules do not know SO_REUSEPORT or SO_BINDTODEVICE; and kernels before Linux
6.8 do not show sockets that are bound and neither listen nor are connected.
``probe`` asks the kernel itself, by a real bind(2) that is closed at once; all else here is pure.

Source: Linux net/ipv4/inet_connection_sock.c (``inet_csk_get_port``,
``inet_bind_conflict``, ``ipv6_rcv_saddr_equal``, ``ipv4_rcv_saddr_equal``),
net/ipv6/af_inet6.c (``__inet6_bind``); held against the kernel itself by
tests/ports/diagnosis/test_binding.py.
"""

from __future__ import annotations

import enum
import errno
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from multirsh.ports.sockets import TcpSocket, TcpState

WILDCARD_V4: Final = "0.0.0.0"  # noqa: S104 - what servers bind, and not bound here
WILDCARD_V6: Final = "::"

REQUESTS: Final = frozenset({TcpState.NEW_SYN_RECV, TcpState.SYN_RECV})
"""States of a row that holds no port of its own: a connection request is its listener's."""

_BOUND_BY_HAND: Final = frozenset({TcpState.LISTEN, TcpState.CLOSE})
"""States in which the address is the one that was given to bind(2)."""


class Attempt(NamedTuple):
    """A bind(2) that somebody might try.

    Attributes:
        address: What to bind to: a wildcard, or one address.
        reuse_address: Whether SO_REUSEADDR is set before.
        v6only: Whether IPV6_V6ONLY is set; only means something for ``::``.
    """

    address: str
    reuse_address: bool = False
    v6only: bool = False

    @property
    def is_v6(self) -> bool:
        """Whether the address is IPv6's."""
        return ":" in self.address


class Outcome(enum.StrEnum):
    """What bind(2) would say."""

    WORKS = "works"
    FAILS = "fails"
    """EADDRINUSE."""
    DEPENDS = "depends"
    """EADDRINUSE, unless the blockers have an option that the table does not show."""


class Unless(enum.StrEnum):
    """An option of the other socket, set before it was bound, that would take it out of the way."""

    REUSE_ADDRESS = "reuse_address"
    V6ONLY = "v6only"


class Blocker(NamedTuple):
    """A socket in the way.

    Attributes:
        socket: Which.
        unless: It is not in the way if it has any of these; empty where it certainly is.
    """

    socket: TcpSocket
    unless: frozenset[Unless]


@dataclass(frozen=True, slots=True)
class BindVerdict:
    """What is to be expected of an attempt.

    Attributes:
        attempt: Which.
        outcome: What bind(2) would say; who may bind privileged ports is not asked here.
        blockers: What is in the way, the certain ones first.
    """

    attempt: Attempt
    outcome: Outcome
    blockers: tuple[Blocker, ...]


class BindAnswer(enum.StrEnum):
    """What bind(2) said when it was tried."""

    WORKS = "works"
    IN_USE = "in_use"
    """EADDRINUSE."""
    NOT_PERMITTED = "not_permitted"
    """EACCES or EPERM: a privileged port, and we are not privileged. Who holds it was not looked at."""
    NO_ADDRESS = "no_address"
    """EADDRNOTAVAIL or EAFNOSUPPORT: no such address, or no IPv6, on this machine."""
    UNKNOWN = "unknown"
    """Another error."""


class Reason(enum.StrEnum):
    """Why a bind(2) works or does not."""

    NOTHING_THERE = "nothing_there"
    LISTENER = "listener"
    """Something listens: no option of ours helps."""
    NOT_SET = "not_set"
    """Something that does not listen, and SO_REUSEADDR would not be set."""
    OTHER_LACKS_IT = "other_lacks_it"
    """The other socket does not have the option that would take it out of the way."""
    OTHER_HAS_IT = "other_has_it"
    """The other sockets do have it."""
    IF_OTHER_HAS_IT = "if_other_has_it"
    """Nobody has tried; it works if they have it."""
    HIDDEN = "hidden"
    """Something that the table does not show."""
    CHANGED = "changed"
    """The kernel says yes where the table said no: it was over by then, or bound to another interface."""
    NOT_PERMITTED = "not_permitted"
    NO_ADDRESS = "no_address"
    UNKNOWN = "unknown"


def explain(verdict: BindVerdict | None, answer: BindAnswer | None) -> Reason:
    """Say why, from what the table let expect and what the kernel said.

    Args:
        verdict: The expectation; ``None`` where there is no table.
        answer: What the kernel said; ``None`` where nobody tried.
    """
    match answer:
        case BindAnswer.NOT_PERMITTED:
            return Reason.NOT_PERMITTED
        case BindAnswer.NO_ADDRESS:
            return Reason.NO_ADDRESS
        case BindAnswer.WORKS if verdict is None:
            return Reason.NOTHING_THERE
    if verdict is None:
        return Reason.UNKNOWN
    is_refused = answer is BindAnswer.IN_USE
    match verdict.outcome:
        case Outcome.WORKS:
            return Reason.HIDDEN if is_refused else Reason.NOTHING_THERE
        case Outcome.DEPENDS if answer is BindAnswer.WORKS:
            return Reason.OTHER_HAS_IT
        case Outcome.DEPENDS:
            return Reason.OTHER_LACKS_IT if is_refused else Reason.IF_OTHER_HAS_IT
        case Outcome.FAILS if answer is BindAnswer.WORKS:
            return Reason.CHANGED
        case Outcome.FAILS:
            listens = verdict.blockers[0].socket.state is TcpState.LISTEN
            return Reason.LISTENER if listens else Reason.NOT_SET


def usual_attempts() -> tuple[Attempt, ...]:
    """What servers do: each wildcard, without and with SO_REUSEADDR."""
    return tuple(
        Attempt(address, reuse_address=reuse)
        for address in (WILDCARD_V4, WILDCARD_V6)
        for reuse in (False, True)
    )


def judge(attempt: Attempt, sockets: Iterable[TcpSocket]) -> BindVerdict:
    """Predict a bind(2) to a port.

    Args:
        attempt: How it would be bound.
        sockets: The table's rows whose local port is that port; others would be taken for it.
    """
    blockers = sorted(_blockers(attempt, sockets), key=_certain_listeners_first)
    if not blockers:
        outcome = Outcome.WORKS
    elif blockers[0].unless:
        outcome = Outcome.DEPENDS
    else:
        outcome = Outcome.FAILS
    return BindVerdict(attempt, outcome, tuple(blockers))


def _certain_listeners_first(blocker: Blocker) -> tuple[int, bool]:
    return (len(blocker.unless), blocker.socket.state is not TcpState.LISTEN)


def _blockers(attempt: Attempt, sockets: Iterable[TcpSocket]) -> Iterator[Blocker]:
    for row in sockets:
        if row.state in REQUESTS:
            continue
        overlap = _overlap(attempt, row)
        if overlap is None:
            continue
        unless = set(overlap)
        if attempt.reuse_address and row.state is not TcpState.LISTEN:
            unless.add(Unless.REUSE_ADDRESS)
        yield Blocker(row, frozenset(unless))


_ALWAYS: Final[frozenset[Unless]] = frozenset()
_UNLESS_V6ONLY: Final = frozenset({Unless.V6ONLY})


def _overlap(attempt: Attempt, row: TcpSocket) -> frozenset[Unless] | None:
    """Under which doubts the two addresses overlap; ``None`` where they certainly do not."""
    ours, theirs = attempt.address, row.local.address
    if attempt.is_v6:
        if ":" not in theirs:
            # One IPv6 address is bound as v6only by itself, so only an open :: reaches into IPv4.
            return _ALWAYS if ours == WILDCARD_V6 and not attempt.v6only else None
        return _ALWAYS if WILDCARD_V6 in {ours, theirs} or ours == theirs else None
    if ":" not in theirs:
        return _ALWAYS if WILDCARD_V4 in {ours, theirs} or ours == theirs else None
    if theirs == WILDCARD_V6:
        return _UNLESS_V6ONLY
    if row.state in _BOUND_BY_HAND or ours != WILDCARD_V4:
        return None
    # An IPv6 connection stands in the way of all of IPv4 unless its socket is v6only: one that a :: listener
    # accepted, or that connected without binding an address before.
    return _UNLESS_V6ONLY


_ANSWERS: Final = {
    errno.EADDRINUSE: BindAnswer.IN_USE,
    errno.EACCES: BindAnswer.NOT_PERMITTED,
    errno.EPERM: BindAnswer.NOT_PERMITTED,
    errno.EADDRNOTAVAIL: BindAnswer.NO_ADDRESS,
    errno.EAFNOSUPPORT: BindAnswer.NO_ADDRESS,
}


def probe(port: int, attempts: Iterable[Attempt]) -> Mapping[Attempt, BindAnswer]:
    """Try each bind(2), one after another.

    Args:
        port: 1-65535.
        attempts: How.
    """
    return {attempt: _ask(port, attempt) for attempt in attempts}


def _ask(port: int, attempt: Attempt) -> BindAnswer:
    try:
        with socket.socket(socket.AF_INET6 if attempt.is_v6 else socket.AF_INET) as tried:
            if attempt.reuse_address:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if attempt.is_v6:
                tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(attempt.v6only))
            tried.bind((attempt.address, port))
    except OSError as error:
        return _ANSWERS.get(error.errno or 0, BindAnswer.UNKNOWN)
    return BindAnswer.WORKS
