"""Telling a server that takes no more logins for now from one that failed. Pure."""

from __future__ import annotations

import enum
from typing import Final

from multirsh.model import ErrorKind, Failure, Phase, Status


class Congestion(enum.Enum):
    """How sure it is that a server dropped a connection because there were too many."""

    SAID = "said"
    """It has said so."""
    LIKELY = "likely"
    """It closed or reset the connection before the key exchange was done, without a reason."""


def congestion_of(status: Status, failure: Failure | None) -> Congestion | None:
    """Tell whether a server dropped us, or the jump host that we wanted to go through did.

    sshd drops connections beyond MaxStartups, and those of an address it penalises, right after accept: it
    writes a line ("Exceeded MaxStartups", since 9.8 "Not allowed at this time") and closes. Our banner may
    meet the closed socket, and then all that is seen is a reset.

    Args:
        status: How the attempt ended.
        failure: Why.

    Returns:
        ``None`` for any other failure. A refused connect is one: sshd accepts before it drops.

    Source: sshd.c (``drop_connection``), srclimit.c; sshd_config(5), MaxStartups and PerSourcePenalties.
    """
    if status is not Status.UNREACHABLE or failure is None:
        return None
    its_own = failure.of_jump or failure
    if its_own.kind is ErrorKind.BUSY:
        return Congestion.SAID
    return Congestion.LIKELY if (its_own.phase, its_own.kind) in _LIKE_DROPS else None


_LIKE_DROPS: Final = frozenset(
    {
        (Phase.CONNECT, ErrorKind.RESET),  # it came before the socket was looked at
        (Phase.HANDSHAKE, ErrorKind.CLOSED),
        (Phase.HANDSHAKE, ErrorKind.RESET),
    }
)
