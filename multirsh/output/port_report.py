"""``multirsh ports PORT`` for people: what has the port, whether a server would get it, and the ways out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from multirsh.output.ports_formatting import Users, address, number, owner, program, seconds, ways_out
from multirsh.output.tables import BAD, FAINT, GOOD, HEADING, heading, indented, table
from multirsh.ports.diagnosis import Bind, PortReport, Reason, Situation, SocketGroup, Unless
from multirsh.ports.sockets import Endpoint, TcpState

_YES_NO: Final = {True: ("yes", GOOD), False: ("no", BAD), None: ("perhaps", "")}

_IN_THE_WAY: Final = {
    Reason.NOTHING_THERE: "nothing",
    Reason.LISTENER: "{it}, whatever is set",
    Reason.NOT_SET: "{it}",
    Reason.OTHER_LACKS_IT: "{it}, {lacks}",
    Reason.OTHER_HAS_IT: "nothing: {it} {has}",
    Reason.IF_OTHER_HAS_IT: "{it}, unless it had {option}",
    Reason.HIDDEN: "a socket that the table does not show",
    Reason.CHANGED: "nothing any more; {it} a moment ago",
    Reason.NOT_PERMITTED: "you may not bind it; what has it was not looked at",
    Reason.NO_ADDRESS: "there is no such address here",
    Reason.UNKNOWN: "not known",
}

_LISTEN_TOO: Final = (
    "Where bind(2) works, listen(2) does too, unless another program that has bound the port with "
    "SO_REUSEADDR begins to listen before."
)


def port_report(report: PortReport, users: Users, *, brief: bool = False) -> Iterator[RenderableType]:
    """Make the parts of the report, from the answer down to the details.

    Args:
        report: What was found.
        users: Returns the name of a user id.
        brief: Whether to show only what changes with time, for a window that may have 24 lines.
    """
    yield Text(_headline(report), style=HEADING)
    yield Text(_verdict(report))
    if not report.is_known:
        yield Text(
            "The kernel's table of sockets cannot be read here, so what has the port is not known; only what "
            "bind(2) says is."
        )
    if report.groups:
        yield heading(f"At port {report.port}")
        yield indented(_groups(report.groups, users, "local address"))
    if report.towards:
        yield heading(f"From this machine to port {report.port}")
        yield indented(_groups(report.towards, users, "to"))
    if any(bind.reason is not Reason.NOTHING_THERE for bind in report.binds):
        yield heading("Would a new server get it?")
        yield indented(_binds(report))
        if not brief:
            yield indented(Text(_how_it_is_known(report), style=FAINT))
    if brief:
        return
    if report.ways:
        yield heading("Ways out")
        yield indented(ways_out(report.ways))
    notes = tuple(_notes(report))
    if notes:
        yield heading("Good to know")
        shown = table("", "")
        for note in notes:
            shown.add_row("-", note)
        yield indented(shown)


def _headline(report: PortReport) -> str:
    port = f"Port {report.port}"
    match report.situation:
        case Situation.LISTENING:
            return f"{port}: {_who(report, TcpState.LISTEN)} listens on it."
        case Situation.BOUND:
            return f"{port}: {_who(report, TcpState.CLOSE)} has bound it, and does not listen."
        case Situation.SERVING:
            open_ones = sum(group.count for group in report.groups if group.has_process)
            return f"{port}: no program listens, but a server's connections are still open: {open_ones}."
        case Situation.CONNECTING:
            return f"{port}: a connection of this machine leaves from it."
        case Situation.LINGERING:
            return f"{port}: no program has it open, but the kernel still keeps it{_for_how_long(report)}."
        case Situation.HIDDEN:
            return f"{port}: nothing shows, and yet it is in use."
        case Situation.UNKNOWN:
            return f"{port}: what has it is not known here."
        case Situation.FREE:
            return f"{port} is free."


def _for_how_long(report: PortReport) -> str:
    if report.free_in_s is None:
        return ""
    # What is not yet in TIME_WAIT may still come to be.
    more = any(group.state is not TcpState.TIME_WAIT for group in report.groups)
    return f" for {seconds(report.free_in_s)}{' or more' * more}"


def _who(report: PortReport, state: TcpState) -> str:
    holders = {holder for group in report.groups if group.state is state for holder in group.holders}
    return program(sorted(holders)) or "a program"


def _verdict(report: PortReport) -> str:
    if report.is_permitted is False:
        return (
            f"Ports below {report.kernel.unprivileged_start} need CAP_NET_BIND_SERVICE, which you do not "
            'have: bind(2) says "Permission denied".'
        )
    without, with_it = (_works(report, reuse_address=reuse) for reuse in (False, True))
    if without == {True}:
        return "A new server gets it."
    if with_it == {True}:
        return 'A new server gets it with SO_REUSEADDR; without, bind(2) says "Address already in use".'
    if None in with_it:
        return "Whether a new server gets it depends on what the table does not show."
    if True in with_it:
        only = next(bind for bind in report.binds if bind.attempt.reuse_address and bind.works)
        return f"A new server gets it at {only.attempt.address} alone."
    return 'A new server does not get it: bind(2) says "Address already in use".'


def _works(report: PortReport, *, reuse_address: bool) -> set[bool | None]:
    """The answers of bind(2) for the wildcard addresses that this machine has."""
    return {
        bind.works
        for bind in report.binds
        if bind.attempt.reuse_address is reuse_address and bind.reason is not Reason.NO_ADDRESS
    }


def _groups(groups: tuple[SocketGroup, ...], users: Users, first_column: str) -> Table:
    shown = table(first_column, "state", "how many", "owner", right=("how many",))
    for group in groups:
        shown.add_row(
            address(group.end), group.state.name, number(group.count), f"{owner(group, users)}{_time(group)}"
        )
        for line in _peers(group):
            shown.add_row("", "", "", Text(line, style=FAINT))
    return shown


def _time(group: SocketGroup) -> str:
    if group.last_ends_s is None:
        return ""
    if seconds(group.first_ends_s) == seconds(group.last_ends_s):
        return f", for {seconds(group.last_ends_s)}"
    return f", the first for {seconds(group.first_ends_s)}, the last for {seconds(group.last_ends_s)}"


def _peers(group: SocketGroup) -> Iterator[str]:
    for peer in group.peers:
        left = (
            f" for {seconds(peer.seconds_left)}" if group.count > 1 and peer.seconds_left is not None else ""
        )
        yield f"with {address(peer.endpoint)}{left}"
    if group.peers and group.count > len(group.peers):
        yield f"and {number(group.count - len(group.peers))} more"


def _binds(report: PortReport) -> Table:
    shown = table("bind(2) to", "SO_REUSEADDR", "works", "in its way")
    for bind in report.binds:
        word, style = _YES_NO[bind.works]
        shown.add_row(
            Text(address(Endpoint(bind.attempt.address, report.port))),
            "set" if bind.attempt.reuse_address else "not set",
            Text(word, style=style),
            _in_the_way(bind),
        )
    return shown


def _in_the_way(bind: Bind) -> str:
    return _IN_THE_WAY[bind.reason].format(
        it=_blocker(bind), option=_option(bind), lacks=_lacking(bind), has=_having(bind)
    )


def _blocker(bind: Bind) -> str:
    if bind.verdict is None or not bind.verdict.blockers:
        return ""
    first = bind.verdict.blockers[0].socket
    return f"{first.state.name} at {address(first.local)}"


def _option(bind: Bind) -> str:
    """The socket option that would remove, or removed, the first blocker."""
    if bind.verdict is None or not bind.verdict.blockers:
        return ""
    names = {Unless.REUSE_ADDRESS: "SO_REUSEADDR", Unless.V6ONLY: "IPV6_V6ONLY"}
    return " or ".join(sorted(names[option] for option in bind.verdict.blockers[0].unless))


def _lacking(bind: Bind) -> str:
    option = _option(bind)
    return "which takes IPv4, too" if option == "IPV6_V6ONLY" else f"which had no {option}"


def _having(bind: Bind) -> str:
    option = _option(bind)
    return "is for IPv6 alone" if option == "IPV6_V6ONLY" else f"had {option}, too"


def _how_it_is_known(report: PortReport) -> str:
    if all(bind.answer is None for bind in report.binds):
        return "By the kernel's rules and its table of sockets; not tried."
    listen = f" {_LISTEN_TOO}" if any(bind.works for bind in report.binds) else ""
    return f"Tried just now, with sockets that were closed at once.{listen}"


def _notes(report: PortReport) -> Iterator[str]:
    kernel = report.kernel
    if report.is_privileged and report.is_permitted is not False:
        yield (
            f"Binding it needs CAP_NET_BIND_SERVICE: it is below net.ipv4.ip_unprivileged_port_start "
            f"({kernel.unprivileged_start})."
        )
    if report.is_ephemeral:
        yield (
            f"It is in the range from which the kernel takes ports for connections "
            f"({kernel.ephemeral.start}-{kernel.ephemeral.stop - 1}): any connection may have it when your "
            "server wants it. net.ipv4.ip_local_reserved_ports keeps it out of that."
        )
    if any(group.state is TcpState.TIME_WAIT for group in report.groups):
        yield (
            "TIME_WAIT is kept by the end that closed first: this machine did. It protects the next "
            "connection from late segments of the last. No setting of the kernel makes it shorter than 60 s."
        )
    if any(group.state is TcpState.CLOSE_WAIT for group in report.groups):
        yield (
            "CLOSE_WAIT lasts until the program closes its socket. If it stays, the program has a bug: it "
            "does not close what has ended."
        )
    if any(group.is_orphaned and group.state is TcpState.FIN_WAIT2 for group in report.groups):
        yield (
            f"FIN_WAIT2 that no process has open ends after net.ipv4.tcp_fin_timeout: {kernel.fin_timeout} s."
        )
