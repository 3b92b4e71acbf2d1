"""``multirsh ports PORT`` for people: who has it, would a server get it, and the ways out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from multirsh.output.ports_words import (
    BAD,
    FAINT,
    GOOD,
    HEADING,
    Users,
    address,
    heading,
    indented,
    number,
    program,
    seconds,
    table,
    ways_out,
    whose,
)
from multirsh.output.words import plural
from multirsh.ports.diagnosis import Bind, Group, PortReport, Reason, Situation
from multirsh.ports.sockets import Endpoint, TcpState

_YES_NO: Final = {True: ("yes", GOOD), False: ("no", BAD), None: ("perhaps", "")}

_LISTEN_TOO: Final = (
    "Where bind(2) works, listen(2) does too, unless another program that had also set SO_REUSEADDR and bound "
    "the port begins to listen before."
)


def port_report(report: PortReport, users: Users) -> Iterator[RenderableType]:
    """The parts of the report, from the answer down to the details.

    Args:
        report: What was found.
        users: Names of users, by their ids.
    """
    yield Text(_headline(report), style=HEADING)
    yield Text(_verdict(report))
    if not report.is_known:
        yield Text(
            "The kernel's table of sockets is not known here, so who has the port cannot be told; only what "
            "bind(2) says."
        )
    if report.groups:
        yield heading(f"At port {report.port}")
        yield indented(_groups(report.groups, users, "local address"))
    if report.towards:
        yield heading(f"Connections of this machine to port {report.port}, here or elsewhere")
        yield indented(_groups(report.towards, users, "from"))
    yield heading("Would a new server get it?")
    yield indented(_binds(report))
    yield indented(Text(_how_it_is_known(report), style=FAINT))
    if report.ways:
        yield heading("Ways out")
        yield indented(ways_out(report.ways))
    notes = tuple(_notes(report))
    if notes:
        yield heading("Good to know")
        for note in notes:
            yield indented(Text(f"- {note}"))


def _headline(report: PortReport) -> str:
    port = f"Port {report.port}"
    match report.situation:
        case Situation.LISTENING:
            who = _who(report, TcpState.LISTEN)
            return f"{port}: {who} listens on it." if who else f"{port}: a program listens on it."
        case Situation.BOUND:
            who = _who(report, TcpState.CLOSE) or "a program"
            return f"{port}: {who} has bound it, and does not listen."
        case Situation.SERVING:
            open_ones = sum(group.count for group in report.groups if group.has_process)
            return f"{port}: nobody listens, but {plural(open_ones, 'connection')} of a server still there."
        case Situation.CONNECTING:
            return f"{port}: a connection of this machine leaves from it."
        case Situation.LINGERING:
            return f"{port}: nobody has it open, but the kernel still keeps it{_for_how_long(report)}."
        case Situation.HIDDEN:
            return f"{port}: nothing shows, and yet it is in use."
        case Situation.UNKNOWN:
            return f"{port}: who has it is not known here."
        case Situation.FREE:
            return f"{port} is free."


def _for_how_long(report: PortReport) -> str:
    return "" if report.free_in_s is None else f" for {seconds(report.free_in_s)}"


def _who(report: PortReport, state: TcpState) -> str:
    holders = {holder for group in report.groups if group.state is state for holder in group.holders}
    return program(sorted(holders))


def _verdict(report: PortReport) -> str:
    works = {bind.attempt.reuse_address: bind.works for bind in report.binds if not bind.attempt.is_v6}
    without, with_it = works.get(False), works.get(True)
    if report.is_permitted is False:
        return (
            f"Ports below {report.kernel.unprivileged_start} need CAP_NET_BIND_SERVICE, which you do not have: "
            "bind(2) says: Permission denied."
        )
    if without:
        return "A new server gets it."
    if with_it:
        return 'A new server gets it with SO_REUSEADDR; without, bind(2) says: "Address already in use".'
    if with_it is None:
        return "Whether a new server gets it depends on how the old socket was made."
    return 'A new server does not get it: bind(2) says "Address already in use".'


def _groups(groups: tuple[Group, ...], users: Users, first_column: str) -> Table:
    shown = table(first_column, "state", "how many", "whose", right=("how many",))
    for group in groups:
        local = group.local.address if group.local.port == 0 else address(group.local)
        shown.add_row(
            Text(local), group.state.name, number(group.count), Text(f"{whose(group, users)}{_time(group)}")
        )
        for line in _peers(group):
            shown.add_row("", "", "", Text(line, style=FAINT))
    return shown


def _time(group: Group) -> str:
    if group.last_ends_s is None:
        return ""
    if group.count == 1:
        return f", for {seconds(group.last_ends_s)}"
    return f", the first for {seconds(group.first_ends_s)}, the last for {seconds(group.last_ends_s)}"


def _peers(group: Group) -> Iterator[str]:
    for peer in group.peers:
        left = (
            f" for {seconds(peer.seconds_left)}" if group.count > 1 and peer.seconds_left is not None else ""
        )
        yield f"with {address(peer.endpoint)}{left}"
    if group.peers and group.count > len(group.peers):
        yield f"and {number(group.count - len(group.peers))} more"


def _binds(report: PortReport) -> Table:
    shown = table("bind(2) to", "SO_REUSEADDR", "works", "because")
    for bind in report.binds:
        word, style = _YES_NO[bind.works]
        shown.add_row(
            Text(address(Endpoint(bind.attempt.address, report.port))),
            "set" if bind.attempt.reuse_address else "not set",
            Text(word, style=style),
            Text(_because(bind)),
        )
    return shown


def _because(bind: Bind) -> str:
    it = _blocker(bind)
    match bind.reason:
        case Reason.NOTHING_THERE:
            return "nothing is in its way"
        case Reason.LISTENER:
            return f"{it} is in its way, whatever is set"
        case Reason.NOT_SET:
            return f"{it} is in its way"
        case Reason.OTHER_LACKS_IT:
            return f"{it} is in its way: {_lacking(bind)}"
        case Reason.OTHER_HAS_IT:
            return f"{it} is not in its way: {_having(bind)}"
        case Reason.IF_OTHER_HAS_IT:
            return f"{it} is in its way, unless its socket had {_option(bind)}"
        case Reason.HIDDEN:
            return "a socket that the table does not show is in its way"
        case Reason.CHANGED:
            return f"{it} was in its way, and is no more"
        case Reason.NOT_PERMITTED:
            return "you may not bind it; who has it was not looked at"
        case Reason.NO_ADDRESS:
            return "there is no such address here"
        case Reason.UNKNOWN:
            return "not known"


def _blocker(bind: Bind) -> str:
    if bind.verdict is None or not bind.verdict.blockers:
        return "it"
    first = bind.verdict.blockers[0].socket
    more = len(bind.verdict.blockers) - 1
    return f"{first.state.name} at {address(first.local)}" + (f" (and {number(more)} more)" if more else "")


def _option(bind: Bind) -> str:
    if bind.verdict is None or not bind.verdict.blockers:
        return "the option"
    names = {"reuse_address": "SO_REUSEADDR", "v6only": "IPV6_V6ONLY"}
    return " or ".join(sorted(names[option] for option in bind.verdict.blockers[0].unless))


def _lacking(bind: Bind) -> str:
    option = _option(bind)
    if option == "IPV6_V6ONLY":
        return "it takes IPv4, too"
    return f"its socket had no {option}"


def _having(bind: Bind) -> str:
    option = _option(bind)
    if option == "IPV6_V6ONLY":
        return "it is for IPv6 only"
    return f"its socket had {option}, too"


def _how_it_is_known(report: PortReport) -> str:
    if all(bind.answer is None for bind in report.binds):
        return "By the kernel's rules and its table of sockets; nobody has tried."
    return f"Tried just now, with sockets that were closed at once. {_LISTEN_TOO}"


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
            "TIME_WAIT is the mark of who closed first: here this machine did. It protects the next connection "
            "from late segments of the last. No setting of the kernel makes it shorter than 60 s."
        )
    if any(group.state is TcpState.CLOSE_WAIT for group in report.groups):
        yield (
            "CLOSE_WAIT lasts until the program closes its socket. If it stays, the program has a bug: it does "
            "not close what has ended."
        )
    if any(group.is_orphaned and group.state is TcpState.FIN_WAIT2 for group in report.groups):
        yield (
            f"FIN_WAIT2 that no process has open ends after net.ipv4.tcp_fin_timeout: {kernel.fin_timeout} s."
        )
