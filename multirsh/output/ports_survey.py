"""``multirsh ports`` for people: the ranges, the states, the destinations, and the ports that are left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from multirsh.output.ports_formatting import MEANING, Users, address, finding, number, owner, seconds
from multirsh.output.tables import BAD, FAINT, HEADING, heading, indented, table
from multirsh.ports.diagnosis import Survey
from multirsh.ports.sockets import TcpState

_OWN_COLUMN: Final = frozenset({TcpState.ESTABLISHED, TcpState.TIME_WAIT})
_FEW: Final = 0.2
"""The share of ports left below which the figure is shown as bad."""

_REUSE: Final = {0: "off", 1: "on", 2: "on loopback only, the default"}


def survey_report(
    survey: Survey, users: Users, *, brief: bool = False, missing: Sequence[str] = ()
) -> Iterator[RenderableType]:
    """Make the parts of the report, from the warnings down to the settings.

    Args:
        survey: What was found.
        users: Returns the name of a user id.
        brief: Whether to show only what changes with time, for a window that may have 24 lines.
        missing: Features that this system lacks, and what follows from that, a line each.
    """
    yield Text("Local ports of this machine", style=HEADING)
    if not survey.is_known:
        yield Text(
            "The kernel's table of sockets cannot be read here: what follows is from the settings, and the "
            "counts are missing."
        )
    urgent = [one for one in survey.findings if one.is_urgent]
    if brief:
        for one in urgent:
            yield finding(one, message_only=True)
        yield from _use(survey, users)
        return
    if urgent:
        yield heading("Warnings")
        for one in urgent:
            yield indented(finding(one))
    if survey.is_known:
        yield from _use(survey, users)
    yield heading("Ranges")
    yield indented(_ranges(survey))
    yield heading("New connections a second to one destination, for any length of time")
    yield indented(_rates(survey))
    yield heading("Settings (net.ipv4)")
    yield indented(_settings(survey))
    yield from _notes(survey, missing)
    if survey.is_known and not urgent:
        yield Text("\nNothing here needs your attention.")
    yield Text("\nOne port: multirsh ports PORT. The whole story: docs/ports.md.", style=FAINT)


def _notes(survey: Survey, missing: Sequence[str]) -> Iterator[RenderableType]:
    notes = [one for one in survey.findings if not one.is_urgent]
    if notes:
        yield heading("Notes")
        for one in notes:
            yield indented(finding(one))
    if missing:
        yield heading("Not on this system")
        for line in missing:
            yield indented(Text(line))


def _use(survey: Survey, users: Users) -> Iterator[RenderableType]:
    yield heading("Sockets")
    yield indented(_states(survey) if survey.states else Text("none"))
    if survey.destinations:
        yield heading("Destinations that use most local ports")
        yield indented(_destinations(survey))
    if survey.reserved.groups:
        yield heading("At the reserved ports, 512-1023")
        yield indented(_reserved(survey, users))


def _states(survey: Survey) -> Table:
    made = table("state", "how many", "means", right=("how many",))
    for state, count in survey.states.items():
        made.add_row(state.name, number(count), Text(_meaning(survey, state)))
    return made


def _meaning(survey: Survey, state: TcpState) -> str:
    if state is not TcpState.TIME_WAIT:
        return MEANING[state]
    waiting = survey.time_wait
    parts = []
    if waiting.client:
        parts.append(f"{number(waiting.client)} keep a port from their destination")
    if waiting.server:
        parts.append(f"{number(waiting.server)} of servers here keep none")
    text = f"over, this end closed first; {', '.join(parts)}"
    if waiting.last_ends_s is not None:
        text += (
            f"; the first ends in {seconds(waiting.first_ends_s)}, the last in {seconds(waiting.last_ends_s)}"
        )
    return text


def _destinations(survey: Survey) -> Table:
    made = table(
        "to",
        "ports",
        "left",
        "open",
        "TIME_WAIT",
        "other",
        right=("ports", "left", "open", "TIME_WAIT", "other"),
    )
    for one in survey.destinations:
        is_short = one.left < _FEW * survey.ephemeral.usable
        made.add_row(
            Text(address(one.remote)),
            number(one.used),
            Text(number(one.left), style=BAD if is_short else ""),
            number(one.states.get(TcpState.ESTABLISHED, 0)),
            number(one.states.get(TcpState.TIME_WAIT, 0)),
            number(_others(one.states)),
        )
    return made


def _others(states: Mapping[TcpState, int]) -> int:
    return sum(count for state, count in states.items() if state not in _OWN_COLUMN)


def _reserved(survey: Survey, users: Users) -> Table:
    made = table("listening at, or to", "state", "how many", "owner", right=("how many",))
    for group in survey.reserved.groups:
        made.add_row(address(group.end), group.state.name, number(group.count), owner(group, users))
    return made


def _ranges(survey: Survey) -> Table:
    ephemeral, kernel = survey.ephemeral, survey.kernel
    made = table("", "")
    parts = [f"{number(ephemeral.usable)} ports for connections, for each destination anew"]
    if ephemeral.kept:
        parts.append(f"{number(ephemeral.kept)} kept out by ip_local_reserved_ports")
    if ephemeral.listening:
        parts.append(f"{number(len(ephemeral.listening))} listened on")
    if survey.is_known:
        parts.append(f"{number(ephemeral.in_use)} in use")
    made.add_row(f"{ephemeral.range.start}-{ephemeral.range.stop - 1}", "; ".join(parts))
    taken = f"; {survey.reserved.taken} taken, {survey.reserved.free} free" if survey.is_known else ""
    made.add_row("512-1023", f"reserved ports: rsh, NFS and the like connect from them{taken}")
    if kernel.unprivileged_start:
        made.add_row(
            f"1-{kernel.unprivileged_start - 1}", "binding one needs CAP_NET_BIND_SERVICE, which root has"
        )
    return made


def _rates(survey: Survey) -> Table:
    rates = survey.rates
    made = table("", "")
    made.add_row("no limit by ports", "if the other end closes first")
    made.add_row(
        f"{rates.local_first:,.1f}",
        f"if this end does: {number(survey.ephemeral.usable)} ports, each away for 60 s in TIME_WAIT",
    )
    if rates.reusing is not None:
        made.add_row(
            number(rates.reusing),
            f"if this end does and the other has TCP timestamps: tcp_tw_reuse gives a port back after "
            f"{survey.kernel.tw_reuse_delay:g} s",
        )
    made.add_row(
        f"{rates.reserved_local_first:,.1f}", "from reserved ports, if this end closes first: 512 / 60 s"
    )
    return made


def _settings(survey: Survey) -> Table:
    kernel = survey.kernel
    made = table("", "", "")
    made.add_row("tcp_tw_reuse", str(kernel.tw_reuse), _REUSE.get(kernel.tw_reuse, ""))
    made.add_row(
        "tcp_timestamps",
        "1" if kernel.timestamps else "0",
        "tcp_tw_reuse needs them" if kernel.timestamps else "so tcp_tw_reuse does nothing",
    )
    made.add_row(
        "tcp_fin_timeout", str(kernel.fin_timeout), "seconds in FIN_WAIT2; TIME_WAIT is 60 whatever it says"
    )
    made.add_row(
        "tcp_max_tw_buckets", number(kernel.max_tw_buckets), "most in TIME_WAIT at once; do not lower it"
    )
    if kernel.unread:
        made.add_row("", "", Text(f"could not be read, defaults are shown: {', '.join(kernel.unread)}"))
    return made
