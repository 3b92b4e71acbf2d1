"""Which failures are tried again, when, and which ones a busy server explains."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multirsh.engine.options import RetryPolicy
from multirsh.engine.schedule.retry import LONGEST_DELAY, PASSING, decide
from multirsh.errors import UsageError
from multirsh.model import ErrorKind, Failure, Phase, Status

RNG = random.Random(1)
THREE = RetryPolicy(retries=3, delay=1.0)
BOLD = RetryPolicy(retries=3, delay=1.0, repeat_command=True)


def failure(kind: ErrorKind, phase: Phase) -> Failure:
    return Failure(kind, phase, "so it was")


def again(policy: RetryPolicy, status: Status, kind: ErrorKind, phase: Phase, tried: int = 1) -> bool:
    return decide(policy, status, failure(kind, phase), tried=tried, rng=RNG) is not None


@pytest.mark.parametrize(
    ("status", "kind", "phase"),
    [
        (Status.UNREACHABLE, ErrorKind.NAME, Phase.RESOLVE),
        (Status.UNREACHABLE, ErrorKind.REFUSED, Phase.CONNECT),
        (Status.UNREACHABLE, ErrorKind.NO_ROUTE, Phase.CONNECT),
        (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.CONNECT),
        (Status.UNREACHABLE, ErrorKind.TIMEOUT, Phase.CONNECT),
        (Status.UNREACHABLE, ErrorKind.JUMP, Phase.CONNECT),
        (Status.LOCAL, ErrorKind.FILES, Phase.CONNECT),
        (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.HANDSHAKE),
        (Status.UNREACHABLE, ErrorKind.BUSY, Phase.HANDSHAKE),
        (Status.UNREACHABLE, ErrorKind.RESET, Phase.HANDSHAKE),
        (Status.UNREACHABLE, ErrorKind.CLOSED, Phase.SESSION),
    ],
)
def test_passing_failures_are_retried_as_often_as_the_policy_says(
    status: Status, kind: ErrorKind, phase: Phase
) -> None:
    assert not again(RetryPolicy(), status, kind, phase)
    assert [again(THREE, status, kind, phase, tried) for tried in (1, 2, 3, 4)] == [True, True, True, False]


def test_behind_a_jump_host_the_jump_hosts_own_failure_counts() -> None:
    for phase, kind in ((phase, kind) for phase in Phase for kind in ErrorKind):
        its_own = Failure(kind, phase, "words")
        behind = Failure(ErrorKind.JUMP, phase, "jump host b: words", of_jump=its_own)
        found = [decide(THREE, Status.UNREACHABLE, each, tried=1, rng=RNG) for each in (its_own, behind)]
        assert (found[0] is None) == (found[1] is None)


@pytest.mark.parametrize("policy", [THREE, BOLD])
@pytest.mark.parametrize(
    ("status", "kind", "phase"),
    [
        (Status.AUTH, ErrorKind.DENIED, Phase.AUTH),
        (Status.UNREACHABLE, ErrorKind.CLOSED, Phase.AUTH),
        (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.AUTH),
        (Status.HOSTKEY, ErrorKind.HOSTKEY_CHANGED, Phase.HANDSHAKE),
        (Status.HOSTKEY, ErrorKind.HOSTKEY_UNKNOWN, Phase.HANDSHAKE),
        (Status.UNREACHABLE, ErrorKind.KEY_EXCHANGE, Phase.HANDSHAKE),
        (Status.UNREACHABLE, ErrorKind.JUMP, Phase.HANDSHAKE),
        (Status.UNREACHABLE, ErrorKind.JUMP, Phase.AUTH),
        (Status.UNREACHABLE, ErrorKind.SESSION_REFUSED, Phase.SESSION),
        (Status.LOCAL, ErrorKind.PORTS, Phase.PORT),
        (Status.LOCAL, ErrorKind.PRIVILEGE, Phase.CONNECT),
        (Status.LOCAL, ErrorKind.INTERNAL, Phase.CONNECT),
        (Status.CANCELLED, ErrorKind.STOPPED, Phase.CONNECT),
        (Status.CANCELLED, ErrorKind.STOPPED, Phase.RUN),
    ],
)
def test_a_refusal_and_a_stop_are_final(
    policy: RetryPolicy, status: Status, kind: ErrorKind, phase: Phase
) -> None:
    assert not again(policy, status, kind, phase)


@pytest.mark.parametrize(
    ("status", "kind", "phase"),
    [
        (Status.LOST, ErrorKind.CLOSED, Phase.RUN),
        (Status.LOST, ErrorKind.KEEPALIVE, Phase.RUN),
        (Status.LOST, ErrorKind.NO_EXIT_STATUS, Phase.RUN),
        (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.RUN),
        (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.SESSION),
    ],
)
def test_a_command_that_may_have_run_is_repeated_only_if_the_user_says_so(
    status: Status, kind: ErrorKind, phase: Phase
) -> None:
    assert not again(THREE, status, kind, phase)
    assert again(BOLD, status, kind, phase)


@given(st.sampled_from(Status), st.sampled_from(ErrorKind), st.sampled_from(Phase))
def test_without_retry_command_no_command_runs_twice(status: Status, kind: ErrorKind, phase: Phase) -> None:
    if again(THREE, status, kind, phase):
        assert phase is not Phase.RUN
        assert status in {Status.UNREACHABLE, Status.TIMEOUT, Status.LOCAL}


@pytest.mark.parametrize("status", [Status.OK, Status.FAILED, Status.SIGNALLED])
def test_a_command_with_a_known_ending_is_not_repeated(status: Status) -> None:
    assert decide(BOLD, status, None, tried=1, rng=RNG) is None


def test_every_phase_has_its_answer() -> None:
    assert set(PASSING) == set(Phase)


@given(st.integers(1, 10_000), st.floats(0, 600), st.integers())
def test_the_pause_is_drawn_from_a_doubling_range(tried: int, delay: float, seed: int) -> None:
    policy = RetryPolicy(retries=10_000, delay=delay)
    refused = failure(ErrorKind.REFUSED, Phase.CONNECT)
    rng = random.Random(seed)
    pause = decide(policy, Status.UNREACHABLE, refused, tried=tried, rng=rng)
    assert pause is not None
    assert 0 <= pause <= min(delay * 2.0 ** min(tried - 1, 100), max(delay, LONGEST_DELAY))


def test_hosts_that_failed_together_do_not_come_back_together() -> None:
    refused = failure(ErrorKind.REFUSED, Phase.CONNECT)
    rng = random.Random(3)
    pauses = [decide(THREE, Status.UNREACHABLE, refused, tried=3, rng=rng) for _ in range(1000)]
    tenths = Counter(int((pause or 0.0) / 0.4) for pause in pauses)
    assert len(tenths) == 10
    assert all(60 <= count <= 140 for count in tenths.values())


@pytest.mark.parametrize(
    ("given_up", "word"),
    [({"retries": -1}, "-1 retries"), ({"delay": -1.0}, "-1.0"), ({"delay": float("inf")}, "inf")],
)
def test_invalid_numbers_are_refused(given_up: dict[str, float], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        RetryPolicy(**given_up)  # type: ignore[arg-type]  # one of two figures
