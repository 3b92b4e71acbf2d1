"""The lab's listening sockets, and what this machine has room for.

A lab that ends closes connections first, so its own ports are left in
TIME_WAIT for a minute. ``SO_REUSEADDR``, set before ``bind``, lets the next
lab listen there at once; it does not let two labs share a port, because the
first one is listening (``man 7 socket``). Each socket is bound to one
loopback address: nothing here can be reached from another machine.
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
"""Connections the kernel holds for a host until the loop comes round; net.core.somaxconn may cut it."""

PROBE: Final = Endpoint("127.77.0.1", 0)

SHARED_PORT_TRIES: Final = 5
"""A port that is free on one address may be taken on another; so often is a new one asked for."""

DESCRIPTORS_PER_BUSY_HOST: Final = 8
"""A listener, a connection at each end when the client is in this process too, and a command: three
pipes, its process, and one to spare."""

DESCRIPTORS_BESIDE: Final = 256
"""For everything else in the process."""


def has_loopback_range() -> bool:
    """Whether this machine lets loopback addresses other than 127.0.0.1 be bound."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(PROBE)
        except OSError:
            return False
    return True


def open_listeners(count: int, *, addressing: Addressing, port: int | None) -> list[socket.socket]:
    """Listen for a whole fleet.

    Args:
        count: Hosts.
        addressing: How they are told apart.
        port: What was asked for, 0 for any free; ``None`` for the default, or any free where it is taken.

    Returns:
        Listening, non-blocking sockets, one a host, in order; the caller closes them.

    Raises:
        UsageError: The port that was asked for cannot be had.
        OSError: The machine refuses for another reason.
    """
    choices = choose_ports(port)
    for choice in choices:
        try:
            wishes = plan_endpoints(count, addressing=addressing, port=choice)
        except ValueError as error:
            raise UsageError(str(error), hint="choose a smaller port") from error
        for _ in range(1 if choice else SHARED_PORT_TRIES):
            try:
                return _listen_on(wishes, one_port=addressing is Addressing.ADDRESSES)
            except OSError as error:
                if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                    raise
    wanted = "any free port" if port == 0 else f"port {port}"
    raise UsageError(
        f"a lab of {count} cannot listen on {wanted}: it is in use or not allowed",
        hint="choose another port, or none to have a free one chosen",
    )


def _listen_on(wishes: Sequence[Endpoint], *, one_port: bool) -> list[socket.socket]:
    """Grant all wishes or none; with ``one_port``, the first free port found is everybody's."""
    shared = 0
    with contextlib.ExitStack() as opened:
        listeners: list[socket.socket] = []
        for wish in wishes:
            listener = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((wish.address, wish.port or shared))
            # At once, for two sockets may both be bound to a port that neither listens on yet.
            listener.listen(BACKLOG)
            if one_port and not shared:
                shared = endpoint_of(listener).port
            listeners.append(listener)
        opened.pop_all()
    return listeners


def endpoint_of(listener: socket.socket) -> Endpoint:
    """Where a socket listens, the port being the one that it was really given."""
    address, port = listener.getsockname()
    return Endpoint(address, port)


def make_room(hosts: int) -> None:
    """Raise this process's soft limit of descriptors to its hard one, if a lab of ``hosts`` may need it.

    Raises:
        UsageError: Not even the listeners would fit under the hard limit.
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
    # macOS reports no hard limit and yet refuses a soft one without an end: ask for no more than is needed.
    target = wanted if hard == resource.RLIM_INFINITY else hard
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def is_executable(path: str) -> bool:
    """Whether ``path`` is a file that this user may run."""
    return os.path.isfile(path) and os.access(path, os.X_OK)  # noqa: PTH113 - a str from the environment
