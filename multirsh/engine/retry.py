"""Whether an attempt that failed is made again, and when. Pure.

Two questions, which must not be mixed up. ``decide``: is it a failure of
connecting that may pass, so that one of ``--retries`` is spent on it?
``congestion_of`` (``transports.congestion``): did the server, as far as can be
told, only say "not now"? Then the governor brings the host back when its turn
comes, and no retry is spent.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from multirsh.arguments import check_fields
from multirsh.errors import UsageError
from multirsh.model import ErrorKind, Failure, Phase, Status

LONGEST_DELAY: Final = 60.0
"""Seconds between two attempts, at the most, unless ``--retry-delay`` is longer: doubling has to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a host is tried again.

    Attributes:
        retries: Further attempts after the first, at the most.
        delay: Seconds; the first pause is drawn from 0 to this, each later one from 0 to twice as much.
        repeat_command: Whether a command that may have run may run again (``--retry-command``).

    Raises:
        UsageError: A figure that cannot be meant.
    """

    retries: int = 0
    delay: float = 1.0
    repeat_command: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.retries < 0:
            raise UsageError(f"{self.retries} retries cannot be made", hint="give 0 or more")
        if not (self.delay >= 0 and math.isfinite(self.delay)):
            raise UsageError(f"a retry delay of {self.delay} seconds cannot be kept", hint="give 0 or more")


NO_RETRIES: Final = RetryPolicy()

PASSING: Final[Mapping[Phase, frozenset[ErrorKind]]] = MappingProxyType(
    {
        # A resolver that is overloaded says so in many ways, and to ask it again costs little.
        Phase.RESOLVE: frozenset({ErrorKind.NAME, ErrorKind.TIMEOUT}),
        # Its wait is its retry: --port-wait says for how long.
        Phase.PORT: frozenset(),
        # A host or a service that is just starting, a lost SYN, a neighbour table that was full, a firewall's
        # limit; descriptors and buffers that others of this run are about to give back.
        Phase.CONNECT: frozenset(
            {
                ErrorKind.REFUSED,
                ErrorKind.NO_ROUTE,
                ErrorKind.TIMEOUT,
                ErrorKind.RESET,
                ErrorKind.JUMP,
                ErrorKind.FILES,
                ErrorKind.MEMORY,
            }
        ),
        # Not key exchange, host key or protocol: the same two ends would come to the same end.
        Phase.HANDSHAKE: frozenset({ErrorKind.BUSY, ErrorKind.CLOSED, ErrorKind.RESET, ErrorKind.TIMEOUT}),
        # Nothing: a server that closes, or grows silent, after it has seen a credential may mean no (dropbear
        # does when tries are used up), and tries count: they lock accounts and earn penalties (sshd 9.8).
        Phase.AUTH: frozenset(),
        # The login was good, and the command has not been sent, or its program not been started for want of
        # descriptors or memory. What was refused in words stays refused.
        Phase.SESSION: frozenset({ErrorKind.CLOSED, ErrorKind.RESET, ErrorKind.FILES, ErrorKind.MEMORY}),
        # As in AUTH.
        Phase.SUDO: frozenset(),
        Phase.RUN: frozenset(),
    }
)
"""Which failures may pass when tried again, where the command has surely not run."""

_CONNECTING: Final = frozenset({Status.UNREACHABLE, Status.TIMEOUT, Status.LOCAL})
_MAY_HAVE_RUN: Final = frozenset({Phase.SESSION, Phase.RUN})


def decide(
    policy: RetryPolicy, status: Status, failure: Failure | None, *, tried: int, rng: random.Random
) -> float | None:
    """Decide whether a host is tried again.

    Args:
        policy: What the user wants.
        status: How the attempt ended.
        failure: Why, if the command has no ending of its own.
        tried: Attempts that count so far, this one included; those that congestion ended do not.
        rng: Draws the pause.

    Returns:
        Seconds until the next attempt, at the least; ``None`` for no more. The pause is drawn evenly from 0
        to ``delay * 2**(tried - 1)``, so that hosts that failed together do not come back together ("full
        jitter": Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    """
    if tried > policy.retries or failure is None:
        return None
    if not (_is_passing(status, failure) or (policy.repeat_command and _is_in_doubt(status, failure))):
        return None
    longest = max(policy.delay, LONGEST_DELAY)
    doublings = min(tried - 1, 32)  # beyond, it is far above the longest, and floats have an end
    return rng.uniform(0.0, min(policy.delay * 2.0**doublings, longest))


def _is_passing(status: Status, failure: Failure) -> bool:
    """Whether connecting failed in a way that may pass; of a jump host, what counts is its own failure."""
    if status not in _CONNECTING or (status is Status.TIMEOUT and failure.phase in _MAY_HAVE_RUN):
        return False
    its_own = failure.of_jump or failure
    return its_own.kind in PASSING[its_own.phase]


def _is_in_doubt(status: Status, failure: Failure) -> bool:
    """Whether nobody knows if the command has run. One that exited, or was killed, has told: it has."""
    return status is Status.LOST or (status is Status.TIMEOUT and failure.phase in _MAY_HAVE_RUN)
