"""What failed connects mean, one and several."""

from __future__ import annotations

import errno
import os

import pytest

from multirsh.model import ErrorKind, Phase, Status
from multirsh.transports.dial_error import dial_error, local_error, none_connected


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "status", "kind"),
    [
        (errno.ECONNREFUSED, Status.UNREACHABLE, ErrorKind.REFUSED),
        (errno.ETIMEDOUT, Status.UNREACHABLE, ErrorKind.TIMEOUT),
        (errno.EHOSTUNREACH, Status.UNREACHABLE, ErrorKind.NO_ROUTE),
        (errno.ENOTCONN, Status.UNREACHABLE, ErrorKind.RESET),
        (errno.EMFILE, Status.LOCAL, ErrorKind.FILES),
        (errno.ENOBUFS, Status.LOCAL, ErrorKind.MEMORY),
    ],
)
def test_one_address_has_the_systems_words(number: int, status: Status, kind: ErrorKind) -> None:
    error = dial_error(os_error(number))
    assert (error.status, error.failure.kind, error.failure.phase) == (status, kind, Phase.CONNECT)
    alone = none_connected([("192.0.2.1", os_error(number))])
    assert (alone.status, alone.failure) == (error.status, error.failure)
    assert "192.0.2.1" not in alone.failure.message


def test_of_several_the_most_telling_counts_and_each_is_named() -> None:
    error = none_connected(
        [
            ("192.0.2.1", os_error(errno.ENETUNREACH)),
            ("2001:db8::1", os_error(errno.ECONNREFUSED)),
            ("192.0.2.2", os_error(errno.ENETUNREACH)),
            ("2001:db8::2", local_error(ErrorKind.PORTS, "no local port was free", Phase.PORT)),
        ]
    )
    assert (error.status, error.failure.kind, error.failure.phase) == (
        Status.UNREACHABLE,
        ErrorKind.REFUSED,
        Phase.CONNECT,
    )
    assert error.failure.message == (
        "192.0.2.1, 192.0.2.2: network is unreachable; 2001:db8::1: connection refused;"
        " 2001:db8::2: no local port was free"
    )


def test_a_family_without_a_route_says_less_than_a_machine_without_a_port() -> None:
    error = none_connected(
        [
            ("192.0.2.1", local_error(ErrorKind.PORTS, "no local port was free", Phase.PORT)),
            ("2001:db8::1", os_error(errno.ENETUNREACH)),
        ]
    )
    assert (error.status, error.failure.kind, error.failure.phase) == (
        Status.LOCAL,
        ErrorKind.PORTS,
        Phase.PORT,
    )


def test_of_many_addresses_four_are_named() -> None:
    error = none_connected([(f"192.0.2.{n}", os_error(errno.ECONNREFUSED)) for n in range(1, 10)])
    assert error.failure.message == (
        "192.0.2.1, 192.0.2.2, 192.0.2.3, 192.0.2.4: connection refused; and 5 more"
    )
