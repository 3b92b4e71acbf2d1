"""The ending, to the byte."""

from __future__ import annotations

import pytest

from multirsh.events import Event, PortUse
from multirsh.model import ClosedBy, ErrorKind, Phase, Status
from multirsh.output.options import OutputOptions
from multirsh.output.printer import Outbox
from multirsh.output.summary import Summary

from .events import failure, host_finished, run_finished

PLAIN = OutputOptions()


def show(options: OutputOptions, *events: Event) -> str:
    summary = Summary(options)
    outbox = Outbox()
    for event in events:
        outbox.put(summary.feed(event))
    outbox.put(summary.close())
    batch = outbox.take()
    assert batch.stdout == b""
    return batch.stderr.decode()


def mixed() -> list[Event]:
    refused = failure(ErrorKind.REFUSED, Phase.CONNECT, "connection refused by port 22")
    return [
        host_finished("web07", Status.FAILED, exit_status=3),
        host_finished("sw2", Status.UNREACHABLE, error=refused),
        host_finished("web09"),
        host_finished("web02", Status.FAILED, exit_status=3),
        host_finished(
            "db1", Status.TIMEOUT, error=failure(ErrorKind.TIMEOUT, Phase.AUTH, "no answer within 10 s")
        ),
        host_finished("web01", Status.FAILED, exit_status=3),
        host_finished("web08", Status.FAILED, exit_status=1),
        host_finished("sw1", Status.UNREACHABLE, error=refused),
        host_finished("old", Status.SIGNALLED, signal="KILL"),
    ]


COUNTS = {
    Status.OK: 1,
    Status.UNREACHABLE: 2,
    Status.FAILED: 4,
    Status.TIMEOUT: 1,
    Status.SIGNALLED: 1,
}


def test_counts_then_lists_by_gravity_then_by_size() -> None:
    assert (
        show(PLAIN, *mixed(), run_finished(COUNTS))
        == """\
9 hosts: 1 ok, 4 failed, 1 signalled, 1 timeout, 2 unreachable in 3.2 s
failed (exit 3): web[01-02,07]
failed (exit 1): web08
signalled (KILL): old
timeout (auth): db1
  no answer within 10 s
unreachable (connect refused): sw[1-2]
  connection refused by port 22
"""
    )


def test_all_ok_is_one_line() -> None:
    assert show(PLAIN, host_finished("a"), run_finished({Status.OK: 1})) == "1 host: 1 ok in 3.2 s\n"


def test_quiet_leaves_the_lists_and_nothing_where_all_is_ok() -> None:
    quiet = OutputOptions(quiet=True)
    assert (
        show(
            quiet,
            run_finished(
                {Status.OK: 500}, ports=PortUse(peak=1, closed_by={ClosedBy.RESET: 3}, time_wait_left=0)
            ),
        )
        == ""
    )
    assert show(quiet, host_finished("a", Status.LOST), run_finished({Status.LOST: 1})) == "lost: a\n"


def test_messages_that_differ_are_represented_by_the_first() -> None:
    events = [
        host_finished(
            host, Status.HOSTKEY, error=failure(ErrorKind.HOSTKEY_CHANGED, Phase.HANDSHAKE, f"key of {host}")
        )
        for host in ("db2", "db1")
    ]
    assert show(PLAIN, *events, run_finished({Status.HOSTKEY: 2})).splitlines()[1:] == [
        "hostkey (changed): db[1-2]",
        "  db2: key of db2",
    ]


def test_the_status_is_not_said_twice() -> None:
    cases = [
        (Status.AUTH, ErrorKind.DENIED, Phase.AUTH, "auth (denied): h"),
        (Status.TIMEOUT, ErrorKind.TIMEOUT, Phase.RUN, "timeout (run): h"),
        (Status.UNREACHABLE, ErrorKind.NAME, Phase.RESOLVE, "unreachable (name): h"),
        (Status.UNREACHABLE, ErrorKind.RESET, Phase.HANDSHAKE, "unreachable (handshake reset): h"),
        (Status.LOST, ErrorKind.NO_EXIT_STATUS, Phase.RUN, "lost (no exit status): h"),
        (Status.LOCAL, ErrorKind.PORTS, Phase.CONNECT, "local (ports): h"),
        (Status.NOT_RUN, ErrorKind.STOPPED, Phase.RESOLVE, "not run (stopped): h"),
    ]
    for status, kind, phase, line in cases:
        event = host_finished("h", status, error=failure(kind, phase, ""))
        assert show(PLAIN, event, run_finished({status: 1})).splitlines()[1:] == [line]


def test_hostile_words_of_a_remote_are_escaped() -> None:
    event = host_finished(
        "h\x1b[A",
        Status.AUTH,
        error=failure(ErrorKind.DENIED, Phase.AUTH, "\x1b]52;c;eA==\x07\nweb: all ok\u202e"),
    )
    signalled = host_finished("g", Status.SIGNALLED, signal="K\nILL")
    assert show(PLAIN, event, signalled, run_finished({Status.AUTH: 1})).splitlines()[1:] == [
        r"signalled (K\x0aILL): g",
        r"auth (denied): h\x1b[A",
        r"  \x1b]52;c;eA==\x07\x0aweb: all ok\u202e",
    ]


@pytest.mark.parametrize(
    ("ports", "line"),
    [
        (
            PortUse(peak=64, closed_by={ClosedBy.REMOTE: 500}, time_wait_left=0),
            "local ports: 64 at once, 500 closed by the remote, in TIME_WAIT 0",
        ),
        (
            PortUse(peak=8, closed_by={ClosedBy.RESET: 2, ClosedBy.LOCAL: 1}, time_wait_left=7),
            (
                "local ports: 8 at once, 0 closed by the remote, 2 by a reset, 1 by this end first,"
                " in TIME_WAIT 7"
            ),
        ),
        (
            PortUse(
                peak=9, closed_by={ClosedBy.REMOTE: 9}, time_wait_left=None, waited=12, longest_wait=41.2
            ),
            (
                "local ports: 9 at once, 9 closed by the remote, in TIME_WAIT not known here,"
                " 12 waited for one, up to 41.2 s"
            ),
        ),
        (
            PortUse(peak=0, closed_by={}, time_wait_left=0, waited=3, longest_wait=120.0),
            (
                "local ports: 0 at once, 0 closed by the remote, in TIME_WAIT 0,"
                " 3 waited for one, up to 2 min 00 s"
            ),
        ),
    ],
)
def test_the_last_line_tells_what_became_of_the_ports(ports: PortUse, line: str) -> None:
    failed = host_finished("h", Status.FAILED, exit_status=2)
    assert show(PLAIN, failed, run_finished({Status.FAILED: 1}, ports=ports)).splitlines()[2:] == [line]


def test_a_run_without_a_port_has_no_line_of_them() -> None:
    assert show(PLAIN, run_finished({Status.OK: 1})) == "1 host: 1 ok in 3.2 s\n"


def test_a_run_that_breaks_off_still_names_its_hosts() -> None:
    assert show(PLAIN, host_finished("h", Status.FAILED, exit_status=2)) == "failed (exit 2): h\n"


def test_color() -> None:
    ending = show(
        OutputOptions(stderr_color=True),
        host_finished("h", Status.LOST),
        run_finished({Status.LOST: 1, Status.OK: 1}),
    )
    assert ending == (
        "2 hosts: \x1b[32m1 ok\x1b[0m, \x1b[31m1 lost\x1b[0m in 3.2 s\n\x1b[31mlost\x1b[0m: h\n"
    )
