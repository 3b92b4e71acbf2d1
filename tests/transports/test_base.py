"""What a busy server, or a busy jump host, explains."""

from __future__ import annotations

import itertools

from multirsh.model import ErrorKind, Failure, Phase, Status
from multirsh.transports.base import Congestion, congestion_of


def test_only_a_connection_that_ended_before_the_key_exchange_looks_like_congestion() -> None:
    found = {
        (status, kind, phase): how
        for status, kind, phase in itertools.product(Status, ErrorKind, Phase)
        if (how := congestion_of(status, Failure(kind, phase, "words"))) is not None
    }
    assert {key: how for key, how in found.items() if key[1] is not ErrorKind.BUSY} == {
        (Status.UNREACHABLE, ErrorKind.RESET, Phase.CONNECT): Congestion.LIKELY,
        (Status.UNREACHABLE, ErrorKind.RESET, Phase.HANDSHAKE): Congestion.LIKELY,
        (Status.UNREACHABLE, ErrorKind.CLOSED, Phase.HANDSHAKE): Congestion.LIKELY,
    }
    assert found[Status.UNREACHABLE, ErrorKind.BUSY, Phase.HANDSHAKE] is Congestion.SAID
    assert congestion_of(Status.OK, None) is None


def test_of_a_jump_host_its_own_failure_counts() -> None:
    for kind, phase in itertools.product(ErrorKind, Phase):
        its_own = Failure(kind, phase, "words")
        behind = Failure(ErrorKind.JUMP, phase, "jump host b: words", of_jump=its_own)
        found = congestion_of(Status.UNREACHABLE, behind)
        assert found is congestion_of(Status.UNREACHABLE, its_own)
    assert congestion_of(Status.UNREACHABLE, Failure(ErrorKind.JUMP, Phase.HANDSHAKE, "no way")) is None
