"""The listening sockets of a lab, and the limits of this machine.

A lab that ends closes its connections first, so its own ports stay in TIME_WAIT
for a minute. With ``SO_REUSEADDR``, set before ``bind``, the next lab can listen
on them at once; two labs can still not share a port, since the first one is
listening (``man 7 socket``). Each socket is bound to a loopback address, so it
cannot be reached from another machine.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
from collections.abc import Sequence
from typing import Final

from multirsh.errors import UsageError
from multirsh.lab.plan import Addressing, choose_ports, plan_endpoints
from multirsh.ports.sockets import Endpoint

BACKLOG: Final = 512
"""Connections that the kernel holds for a host until the loop accepts them; net.core.somaxconn limits it."""

PROBE: Final = Endpoint("127.77.0.1", 0)

SHARED_PORT_TRIES: Final = 5
"""The number of free ports to try, since a port that is free on one address may be taken on another."""

DESCRIPTORS_PER_BUSY_HOST: Final = 8
"""A listener, both ends of a connection if the client is in this process as well, and a command: three
pipes, its process, and one in reserve."""

DESCRIPTORS_BESIDE: Final = 256
"""Descriptors for everything else in the process."""


def has_loopback_range() -> bool:
    """Return whether loopback addresses other than 127.0.0.1 can be bound on this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(PROBE)
        except OSError:
            return False
    return True


def open_listeners(count: int, *, addressing: Addressing, port: int | None) -> list[socket.socket]:
    """Listen for all hosts of a lab.

    Args:
        count: The number of hosts.
        addressing: Whether they differ by address or by port.
        port: The port of the user's choice, or 0 for any free port; ``None`` for the default port, or any
            free port if that is taken.

    Returns:
        Listening, non-blocking sockets, one per host, in order; the caller closes them.

    Raises:
        UsageError: The port is in use or not allowed.
        OSError: The sockets cannot be opened for another reason.
    """
    choices = choose_ports(port)
    for choice in choices:
        try:
            endpoints = plan_endpoints(count, addressing=addressing, port=choice)
        except ValueError as error:
            raise UsageError(str(error), hint="choose a smaller port") from error
        for _ in range(1 if choice else SHARED_PORT_TRIES):
            try:
                return _listen_on(endpoints, one_port=addressing is Addressing.ADDRESSES)
            except OSError as error:
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    raise
    wanted = "any free port" if port == 0 else f"port {port}"
    raise UsageError(
        f"a lab of {count} cannot listen on {wanted}: it is in use or not allowed",
        hint="choose another port, or none to have a free one chosen",
    )


def _listen_on(endpoints: Sequence[Endpoint], *, one_port: bool) -> list[socket.socket]:
    """Listen on all endpoints or none; with ``one_port``, all have the first free port that is found."""
    shared = 0
    with contextlib.ExitStack() as opened:
        listeners: list[socket.socket] = []
        for endpoint in endpoints:
            listener = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((endpoint.address, endpoint.port or shared))
            # Listen at once, since two sockets can be bound to a port as long as neither listens on it.
            listener.listen(BACKLOG)
            if one_port and not shared:
                shared = endpoint_of(listener).port
            listeners.append(listener)
        opened.pop_all()
    return listeners


def endpoint_of(listener: socket.socket) -> Endpoint:
    """Return the address and port on which a socket listens."""
    address, port = listener.getsockname()
    return Endpoint(address, port)


def reserve_descriptors(hosts: int) -> None:
    """Raise the soft limit of descriptors towards the hard limit if a lab of ``hosts`` may need it.

    Raises:
        UsageError: The hard limit is too low for the listeners alone.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hosts + DESCRIPTORS_BESIDE > hard:
        raise UsageError(
            f"a lab of {hosts} hosts needs more than the {hard} open files that this process may have",
            hint="ask for fewer hosts, or raise the limit (ulimit -Hn)",
        )
    wanted = hosts * DESCRIPTORS_PER_BUSY_HOST + DESCRIPTORS_BESIDE
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    # macOS reports no hard limit, yet refuses an unlimited soft limit: set no more than is needed.
    target = wanted if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def is_executable(path: str) -> bool:
    """Return whether ``path`` is a file that this user may run."""
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - a str from the environment
