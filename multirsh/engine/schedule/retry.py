"""Whether an attempt that failed is made again, and when. Pure.

Two questions must not be mixed up. ``decide``: did connecting fail in a way
that may pass, so that one of ``--retries`` is spent on it? ``congestion_of``
(``transports.base``): did the server, as far as can be seen, only say "not
now"? Then the governor starts the host again when its turn comes, and no retry
is spent.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from multirsh.engine.options import RetryPolicy
from multirsh.model import ErrorKind, Failure, Phase, Status

LONGEST_DELAY: Final = 60.0
"""The longest pause between two attempts, in seconds, unless ``--retry-delay`` is longer."""


PASSING: Final[Mapping[Phase, frozenset[ErrorKind]]] = MappingProxyType(
    {
        # An overloaded resolver reports many different errors, and another query costs little.
        Phase.RESOLVE: frozenset({ErrorKind.NAME, ErrorKind.TIMEOUT}),
        # The wait for a port (--port-wait) takes the place of a retry.
        Phase.PORT: frozenset(),
        # A host or a service that is just starting, a lost SYN, a full neighbour table, a firewall's limit;
        # descriptors and buffers that other hosts of this run are about to give back.
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
        # Not key exchange, host key or protocol: between the same two ends, these fail again.
        Phase.HANDSHAKE: frozenset({ErrorKind.BUSY, ErrorKind.CLOSED, ErrorKind.RESET, ErrorKind.TIMEOUT}),
        # Nothing: a server that closes or falls silent after it has seen a credential may be refusing it
        # (dropbear closes after too many attempts), and attempts lock accounts and earn penalties (sshd 9.8).
        Phase.AUTH: frozenset(),
        # The login succeeded, and the command was not sent, or its program was not started for lack of
        # descriptors or memory. An explicit refusal is final.
        Phase.SESSION: frozenset({ErrorKind.CLOSED, ErrorKind.RESET, ErrorKind.FILES, ErrorKind.MEMORY}),
        # As in AUTH.
        Phase.SUDO: frozenset(),
        Phase.RUN: frozenset(),
    }
)
"""The failures that may pass when the host is tried again, where the command has surely not run."""

_CONNECTING: Final = frozenset({Status.UNREACHABLE, Status.TIMEOUT, Status.LOCAL})
_MAY_HAVE_RUN: Final = frozenset({Phase.SESSION, Phase.RUN})


def decide(
    policy: RetryPolicy, status: Status, failure: Failure | None, *, tried: int, rng: random.Random
) -> float | None:
    """Decide whether a host is tried again.

    Args:
        policy: How often hosts are tried again.
        status: The status that the attempt ended with.
        failure: Why it failed; ``None`` if the command exited or was ended by a signal.
        tried: The number of attempts so far, this one included, without those that congestion ended.
        rng: Draws the pause.

    Returns:
        The shortest time until the next attempt, in seconds; ``None`` for no further attempt. The pause is
        drawn evenly from 0 to ``delay * 2**(tried - 1)``, so that hosts that failed together are not tried
        again together ("full jitter": Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015).
    """
    if tried > policy.retries or failure is None:
        return None
    if not (_is_passing(status, failure) or (policy.repeat_command and _is_in_doubt(status, failure))):
        return None
    longest = max(policy.delay, LONGEST_DELAY)
    doublings = min(tried - 1, 32)  # more would overflow, and is far above the longest pause
    return rng.uniform(0.0, min(policy.delay * 2.0**doublings, longest))


def _is_passing(status: Status, failure: Failure) -> bool:
    """Return whether connecting failed in a way that may pass; behind a jump host, its own failure counts."""
    if status not in _CONNECTING or (status is Status.TIMEOUT and failure.phase in _MAY_HAVE_RUN):
        return False
    its_own = failure.of_jump or failure
    return its_own.kind in PASSING[its_own.phase]


def _is_in_doubt(status: Status, failure: Failure) -> bool:
    """Return whether it is unknown if the command has run."""
    return status is Status.LOST or (status is Status.TIMEOUT and failure.phase in _MAY_HAVE_RUN)
