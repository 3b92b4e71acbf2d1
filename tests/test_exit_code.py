"""The contract's exit codes, row by row."""

from __future__ import annotations

from itertools import combinations

import pytest

from multirsh.exit_code import BY_STATUS, PRECEDENCE, ExitCode, exit_code, remote_status
from multirsh.model import Status


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.OK, 0),
        (Status.FAILED, 5),
        (Status.SIGNALLED, 5),
        (Status.TIMEOUT, 3),
        (Status.LOST, 3),
        (Status.UNREACHABLE, 4),
        (Status.AUTH, 4),
        (Status.HOSTKEY, 4),
        (Status.LOCAL, 4),
        (Status.CANCELLED, 6),
        (Status.NOT_RUN, 6),
    ],
)
def test_one_host_of_a_status_among_ok_ones(status: Status, code: int) -> None:
    assert exit_code({Status.OK: 3, status: 1}) == code


def test_every_status_has_a_code() -> None:
    assert set(BY_STATUS) == set(Status)


def test_of_two_statuses_the_graver_code_wins() -> None:
    order = [6, 3, 4, 5, 0]
    for one, other in combinations(Status, 2):
        codes = {exit_code({one: 1}), exit_code({other: 1})}
        assert exit_code({one: 1, other: 1}) == min(codes, key=order.index)


def test_precedence_names_every_code_but_those_nothing_was_run_with() -> None:
    assert set(PRECEDENCE) == set(ExitCode) - {ExitCode.OK, ExitCode.USAGE}


def test_a_status_counted_zero_is_nobody() -> None:
    assert exit_code({Status.OK: 1, Status.LOST: 0}) == 0


def test_an_internal_error_wins_over_every_host() -> None:
    assert exit_code(dict.fromkeys(Status, 1), internal_error=True) == 1


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (13, 141), (15, 143)])
def test_a_signal_wins_over_everything(signal: int, code: int) -> None:
    assert exit_code({Status.NOT_RUN: 1}, signal=signal, internal_error=True, largest_remote_status=9) == code


def test_largest_remote_status_takes_the_place_of_the_hosts_codes() -> None:
    assert exit_code({Status.FAILED: 1, Status.NOT_RUN: 4}, largest_remote_status=7) == 7


def test_largest_remote_status_of_zero_hides_no_host_that_was_not_tried() -> None:
    assert exit_code({Status.OK: 1, Status.NOT_RUN: 1}, largest_remote_status=0) == 6
    assert exit_code({Status.OK: 1}, largest_remote_status=0) == 0


def test_largest_remote_status_does_not_hide_an_internal_error() -> None:
    assert exit_code({Status.OK: 1}, internal_error=True, largest_remote_status=7) == 1


@pytest.mark.parametrize(
    ("status", "exit_status", "counts_as"),
    [
        (Status.OK, 0, 0),
        (Status.FAILED, 7, 7),
        (Status.SIGNALLED, None, 255),
        (Status.TIMEOUT, None, 255),
        (Status.LOST, None, 255),
        (Status.UNREACHABLE, None, 255),
        (Status.NOT_RUN, None, 0),
    ],
)
def test_remote_status(status: Status, exit_status: int | None, counts_as: int) -> None:
    assert remote_status(status, exit_status) == counts_as
