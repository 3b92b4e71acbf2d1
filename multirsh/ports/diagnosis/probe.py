"""Asking the kernel: a real bind(2), closed at once.

Nothing listens and nothing is connected, so nobody notices. The one thing in
this package that touches a socket; it decides nothing.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable, Mapping
from typing import Final

from multirsh.ports.diagnosis.binding import Answer, Attempt

_ANSWERS: Final = {
    errno.EADDRINUSE: Answer.IN_USE,
    errno.EACCES: Answer.NOT_PERMITTED,
    errno.EPERM: Answer.NOT_PERMITTED,
    errno.EADDRNOTAVAIL: Answer.NO_ADDRESS,
    errno.EAFNOSUPPORT: Answer.NO_ADDRESS,
}


def probe(port: int, attempts: Iterable[Attempt]) -> Mapping[Attempt, Answer]:
    """Try each bind(2), one after another.

    Args:
        port: 1-65535.
        attempts: How.
    """
    return {attempt: _ask(port, attempt) for attempt in attempts}


def _ask(port: int, attempt: Attempt) -> Answer:
    try:
        with socket.socket(socket.AF_INET6 if attempt.is_v6 else socket.AF_INET) as tried:
            if attempt.reuse_address:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if attempt.is_v6:
                tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(attempt.v6only))
            tried.bind((attempt.address, port))
    except OSError as error:
        return _ANSWERS.get(error.errno or 0, Answer.UNKNOWN)
    return Answer.WORKS
