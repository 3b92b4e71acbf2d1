"""The ways out when a port is not to be had, each with its price.

Source: rules of bind(2) as in ``binding``; socket(7), tcp(7), capabilities(7),
Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from multirsh.ports.diagnosis.advice import Remedy, reservation
from multirsh.ports.diagnosis.binding import WILDCARD_V4, WILDCARD_V6
from multirsh.ports.diagnosis.values import Holder, SocketGroup
from multirsh.ports.sockets import TcpState
from multirsh.ports.sysctls import KernelPorts

_INIT: Final = 1
"""The process that must not be stopped; as systemd it listens for services that do not run yet."""

_ANOTHER_PORT: Final = Remedy("take another port", "those who connect must know of it")
_REUSE_ADDRESS: Final = {
    True: Remedy(
        "set SO_REUSEADDR on the new socket before bind(2), as servers should",
        "it costs nothing, and it helps here: the old socket had it, too",
    ),
    False: Remedy(
        "from now on set SO_REUSEADDR before bind(2), as servers should",
        "it does not help this time: on Linux the old socket must have had it, too",
    ),
    None: Remedy(
        "set SO_REUSEADDR on the new socket before bind(2), as servers should",
        "on Linux it helps only if the old socket had it, too",
    ),
}
"""By whether it helps, as far as known."""


def somebody_listens(port: int, groups: Iterable[SocketGroup]) -> tuple[Remedy, ...]:
    """The ways past a listener."""
    listeners = [group for group in groups if group.state is TcpState.LISTEN]
    ways = [
        *_stop(_holders(listeners), "its clients lose it; what supervises it may start it again"),
        _ANOTHER_PORT,
    ]
    if not any(group.end.address in {WILDCARD_V4, WILDCARD_V6} for group in listeners):
        taken = ", ".join(sorted(group.end.address for group in listeners))
        ways.append(
            Remedy(
                f"bind to another address than {taken}", "those who connect reach you at that address only"
            )
        )
    ways.append(
        Remedy(
            "share the port: SO_REUSEPORT on all its listeners",
            "the one that runs must have set it before it was bound, and be the same user's; each new "
            "connection goes to either",
        )
    )
    if not _holders(listeners):
        ways.insert(0, _ask_as_root(port))
    return tuple(ways)


def somebody_has_bound_it(port: int, groups: Iterable[SocketGroup]) -> tuple[Remedy, ...]:
    """The ways past a program that has bound the port and does not listen."""
    holders = _holders(group for group in groups if group.state is TcpState.CLOSE)
    return (
        *(_stop(holders, "it may be about to listen") or (_ask_as_root(port),)),
        Remedy(
            "set SO_REUSEADDR on the new socket before bind(2)",
            "it helps only if the other has it too; then whoever is second to listen(2) is refused",
        ),
        _ANOTHER_PORT,
    )


def connections_are_open(
    port: int, groups: Iterable[SocketGroup], *, reuse_helps: bool | None
) -> tuple[Remedy, ...]:
    """The ways past connections that outlived their listener."""
    groups = tuple(groups)
    holders = _holders(group for group in groups if group.has_process)
    return (
        *((_REUSE_ADDRESS[reuse_helps],) if reuse_helps is not False else ()),
        *(_stop(holders, "its connections are lost") or (_ask_as_root(port),)),
        Remedy("wait until they are closed", "it may take as long as their programs like"),
        _ANOTHER_PORT,
        *((_REUSE_ADDRESS[reuse_helps],) if reuse_helps is False else ()),
    )


def clients_have_it(port: int, groups: Iterable[SocketGroup], kernel: KernelPorts) -> tuple[Remedy, ...]:
    """The ways past connections of this machine that leave from the port."""
    holders = _holders(groups)
    ways = [*_stop(holders, "its connection is lost"), Remedy("wait until the connection is closed")]
    if port in kernel.ephemeral and port not in kernel.reserved_by_admin:
        ways += [
            Remedy(
                "then keep the port for your service",
                "the kernel no more chooses it for connections; put it in /etc/sysctl.d to last",
                reservation([port], kernel),
            ),
            Remedy(
                f"take a port outside {kernel.ephemeral.start}-{kernel.ephemeral.stop - 1}",
                "those who connect must know of it",
            ),
        ]
    else:
        ways.append(_ANOTHER_PORT)
    return tuple(ways)


def only_the_kernel_has_it(free_in_s: float | None, *, reuse_helps: bool | None) -> tuple[Remedy, ...]:
    """The ways past TIME_WAIT and orphans."""
    wait = "until the kernel lets go of it" if free_in_s is None else f"{max(1, round(free_in_s))} s"
    waiting = Remedy(f"wait {wait}", "longer, if more connections are closed from this end")
    reuse = _REUSE_ADDRESS[reuse_helps]
    return (
        *((waiting, reuse) if reuse_helps is False else (reuse, waiting)),
        _ANOTHER_PORT,
        Remedy(
            "from now on let the clients close first",
            "TIME_WAIT is then at their end, where it keeps no port from your server",
        ),
        Remedy(
            "from now on close by a reset (SO_LINGER with 0 seconds)",
            "no TIME_WAIT at either end, but data that is under way is lost and the clients see an error",
        ),
    )


def nobody_shows(port: int) -> tuple[Remedy, ...]:
    """The ways to find a socket that is in no table."""
    return (
        Remedy(
            "look for sockets that are bound and neither listen nor are connected",
            "needs Linux 6.8 and its iproute2",
            f"ss -tanp --bound-inactive 'sport = :{port}'",
        ),
        Remedy("try again", "it may have been taken between our two looks"),
        _ANOTHER_PORT,
    )


def no_table(port: int) -> tuple[Remedy, ...]:
    """The ways to find out where the kernel shows us no table."""
    return (Remedy("ask the system's own tools", "as root, to see everybody's", f"lsof -nP -iTCP:{port}"),)


def privileged(port: int) -> tuple[Remedy, ...]:
    """The ways to be allowed to bind a port below ip_unprivileged_port_start."""
    return (
        Remedy(
            "give the program CAP_NET_BIND_SERVICE (in a systemd unit: AmbientCapabilities=)",
            "whoever may start the program may bind every port; for a script it is its interpreter's",
            "setcap cap_net_bind_service=+ep PROGRAM",
        ),
        Remedy(
            "let everybody bind ports from here on",
            "everybody's programs may then pose as services at those ports",
            f"sysctl -w net.ipv4.ip_unprivileged_port_start={port}",
        ),
    )


def _stop(holders: Iterable[Holder], price: str) -> tuple[Remedy, ...]:
    """One way for each program; of several processes of one, the oldest is mostly the others' parent."""
    ways: dict[str, Remedy] = {}
    for holder in sorted(holders):
        if holder.pid == _INIT:
            ways[holder.name] = Remedy(
                f"stop the socket unit for which {holder.name} listens",
                "the service is then not started by connections any more",
                "systemctl list-sockets",
            )
        else:
            ways.setdefault(holder.name, Remedy(f"stop {holder.name}", price, f"kill {holder.pid}"))
    return tuple(ways.values())


def _ask_as_root(port: int) -> Remedy:
    return Remedy(
        "find out whose it is: as root, and outside of containers", "", f"sudo multirsh ports {port}"
    )


def _holders(groups: Iterable[SocketGroup]) -> tuple[Holder, ...]:
    return tuple(sorted({holder for group in groups for holder in group.holders}))
