"""What has become of a host whose rsh connection broke."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from multirsh.model import ErrorKind, Status
from multirsh.shortage import NO_MEMORY
from multirsh.transports.rsh import failures


@pytest.mark.parametrize(
    "told",
    [
        failures.no_answer,
        failures.gone_before_command,
        failures.no_status,
        lambda error: failures.not_begun(b"", error),
    ],
)
def test_a_connection_that_there_was_no_memory_for_is_no_fault_of_the_host(
    told: Callable[[OSError | None], failures.Reason],
) -> None:
    status, failure = told(OSError(errno.ENOMEM, NO_MEMORY))
    assert (status, failure.kind, failure.message) == (Status.LOCAL, ErrorKind.MEMORY, NO_MEMORY)
    status, failure = told(ConnectionResetError(errno.ECONNRESET, "reset"))
    assert (status is Status.LOCAL, failure.kind) == (False, ErrorKind.RESET)
